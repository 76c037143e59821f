export type { BackwardOptions } from './autograd/backward.js';
export { noGrad } from './autograd/mode.js';
export type { Device, DeviceInfo } from './backends/backend.js';
export { useDevice } from './backends/registry.js';
export { arange, full, ones, rand, randn, type TensorOptions, type TensorValues, tensor, zeros } from './create.js';
export { TapegradError } from './errors.js';
export { Tensor } from './methods.js';
export { manualSeed } from './random.js';
export type { NestedArray } from './tensor.js';
