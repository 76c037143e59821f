/**
 * Datasets, batches, preprocessors and splits.
 *
 * @module
 */

export { type Baseline, type BaselineOptions, type ColumnBaseline, computeBaseline } from './baseline.js';
export { type BatchOf, TensorDataset } from './dataset.js';
export { oneHot, type SplitOptions, splitColumns, trainTestSplit } from './encode.js';
export { type ImputeOptions, Imputer, type ImputerJSON, impute } from './imputer.js';
export { DataLoader, type DataLoaderOptions, type LoaderState } from './loader.js';
export type { Preprocessor } from './preprocessors.js';
export { MinMaxScaler, type MinMaxScalerJSON, StandardScaler, type StandardScalerJSON } from './scalers.js';
