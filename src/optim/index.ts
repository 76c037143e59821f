export { finiteGuard } from './guard.js';
export {
  type AnyOptimizer,
  type CheckRule,
  type LearningRate,
  Optimizer,
  type ParameterState,
  type ParamGroup,
  type ParamGroupOptions,
  type StateNames,
  type StepOptions,
} from './optimizer.js';
export { SGD, type SGDOptions, type SGDState } from './sgd.js';
