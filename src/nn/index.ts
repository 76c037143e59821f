export type { LossOptions, Reduction } from './functional.js';
export * as functional from './functional.js';
export * as init from './init.js';
export { Linear, ReLU, Sequential, Sigmoid, Tanh } from './layers.js';
export { BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, MSELoss } from './losses.js';
export { Module, type StateDict } from './module.js';
export * as utils from './utils.js';
