export type { StateDict } from '../nn/module.js';
export { type CsvOptions, type CsvTable, parseCsv, readCsv } from './csv.js';
export { load, save } from './files.js';
export { parseIdx, readIdx } from './idx.js';
export { loadModel, saveModel } from './model.js';
export { fromSafetensors, toSafetensors } from './safetensors.js';
