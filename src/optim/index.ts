export { SGD, type SGDOptions, type SGDState } from './sgd.js';
