export { finiteGuard } from './guard.js';
export { Optimizer, type ParamGroup, type ParamGroupOptions } from './optimizer.js';
export { SGD, type SGDOptions, type SGDState } from './sgd.js';
