/**
 * Modules, layers, losses, and their functions, initializers and utilities.
 *
 * @module
 */

export { ELU, GELU, LeakyReLU, LogSoftmax, Mish, ReLU6, SiLU, Softmax, Softplus } from './activation-layers.js';
export { BatchNorm1d, BatchNorm2d, type BatchNormLayerOptions } from './batch-norm.js';
export { CrossEntropyLoss, NLLLoss } from './class-losses.js';
export { ModuleDict, ModuleList } from './containers.js';
export { Dropout } from './dropout.js';
export { Embedding } from './embedding.js';
export type { LossOptions, Reduction } from './functional.js';
export * as functional from './functional.js';
export type { ForwardHook, HookHandle } from './hooks.js';
export * as init from './init.js';
export { Linear, ReLU, Sequential, Sigmoid, Tanh } from './layers.js';
export { BCELoss, BCEWithLogitsLoss, HuberLoss, KLDivLoss, L1Loss, MSELoss, SmoothL1Loss } from './losses.js';
export { type LoadResult, Module, type StateDict, type TensorModule } from './module.js';
export { GroupNorm, LayerNorm, RMSNorm } from './norm.js';
export type { PadMode, PadOptions } from './pad.js';
export { Buffer, Parameter } from './parameter.js';
export { Flatten, Identity } from './shape-layers.js';
export * as utils from './utils.js';
