/**
 * Modules, layers, losses, and their functions, initializers and utilities.
 *
 * @module
 */

export type { LossOptions, Reduction } from './functional.js';
export * as functional from './functional.js';
export type { ForwardHook, HookHandle } from './hooks.js';
export * as init from './init.js';
export { Linear, ReLU, Sequential, Sigmoid, Tanh } from './layers.js';
export { BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, MSELoss } from './losses.js';
export { type LoadResult, Module, type StateDict, type TensorModule } from './module.js';
export type { PadMode, PadOptions } from './pad.js';
export { Buffer, Parameter } from './parameter.js';
export * as utils from './utils.js';
