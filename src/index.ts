export { detectAnomaly } from './autograd/anomaly.js';
export type { BackwardOptions } from './autograd/backward.js';
export { checkpoint } from './autograd/checkpoint.js';
export { type GradcheckOptions, gradcheck } from './autograd/gradcheck.js';
export * as autograd from './autograd/index.js';
export { noGrad } from './autograd/mode.js';
export type { Device, DeviceInfo, MemoryInfo } from './backends/backend.js';
export { getNumThreads, memory, setNumThreads, useDevice } from './backends/registry.js';
export { type CompiledStep, compile } from './compile.js';
export {
  arange,
  eye,
  full,
  linspace,
  type NestedArrayLike,
  ones,
  onesLike,
  rand,
  randLike,
  randn,
  randperm,
  type TensorOptions,
  type TensorValues,
  type TypedArray,
  tensor,
  zeros,
  zerosLike,
} from './create.js';
export * as data from './data/index.js';
export { type ErrorDetails, TapegradError } from './errors.js';
export { Tensor } from './methods.js';
export * as metrics from './metrics/index.js';
export * as nn from './nn/index.js';
export { Summary, type SummaryRow, summary } from './nn/summary.js';
export type { GeluOptions } from './ops/activations.js';
export { outer } from './ops/arrange.js';
export { bernoulli, type MultinomialOptions, multinomial } from './ops/draw.js';
export { einsum } from './ops/einsum.js';
export type { KeepdimOptions } from './ops/families.js';
export { cat, stack } from './ops/join.js';
export { where } from './ops/masks.js';
export type { SortOptions, TopkOptions, UniqueOptions } from './ops/order.js';
export type { SliceRange } from './ops/slice.js';
export type { SpreadOptions } from './ops/statistics.js';
export * as optim from './optim/index.js';
export { Profile, type ProfileRow, profile, type Trace, type TraceEvent } from './profile.js';
export { manualSeed } from './random.js';
export type { NestedArray, TensorJSON } from './tensor.js';
export type { Batches } from './train/batches.js';
export { fit, type History } from './train/fit.js';
export type {
  BatchReport,
  EpochReport,
  FitOptions,
  Metric,
  Metrics,
  MetricValue,
  ValidationReport,
} from './train/options.js';
export { warmUp } from './train/warm-up.js';
