/**
 * Reading and writing of tensors, models and data files.
 *
 * @module
 */

export type { StateDict } from '../nn/module.js';
export { type CsvOptions, type CsvTable, parseCsv, readCsv } from './csv.js';
export { load, save } from './files.js';
export { parseIdx, readIdx } from './idx.js';
export { loadModel, loadModelFile, type ModelExtras, type ModelFile, saveModel } from './model.js';
export { exportOnnx } from './onnx.js';
export { fromSafetensors, toSafetensors } from './safetensors.js';
