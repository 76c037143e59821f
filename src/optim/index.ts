export { Adagrad, type AdagradOptions } from './adagrad.js';
export { Adam, type AdamOptions, AdamW } from './adam.js';
export { ExponentialMovingAverage, type ExponentialMovingAverageOptions } from './averaging.js';
export { CountingOptimizer } from './counting.js';
export { finiteGuard } from './guard.js';
export * as lrScheduler from './lr-scheduler/index.js';
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
export { RMSprop, type RMSpropOptions } from './rmsprop.js';
export { SGD, type SGDOptions, type SGDState } from './sgd.js';
