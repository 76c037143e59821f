export { detectAnomaly } from './anomaly.js';
export { type CheckpointResult, checkpoint } from './checkpoint.js';
export {
  type BackwardContext,
  type CustomFunctionOptions,
  customFunction,
  type ForwardContext,
  type FunctionForward,
  type FunctionGradients,
  type FunctionInputs,
  type FunctionOutputs,
  type FunctionResult,
  type FunctionTensors,
} from './custom.js';
export { type GradcheckOptions, gradcheck } from './gradcheck.js';
export { noGrad } from './mode.js';
