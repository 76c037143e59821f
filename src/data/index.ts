/**
 * Datasets, batches, preprocessors and splits.
 *
 * @module
 */

export { type Baseline, type BaselineOptions, type ColumnBaseline, computeBaseline } from './baseline.js';
export { type Collated, defaultCollate } from './collate.js';
export { type BatchOf, type Dataset, TensorDataset } from './dataset.js';
export { oneHot, type SplitOptions, splitColumns, trainTestSplit } from './encode.js';
export type { EpochState } from './epochs.js';
export { type ImputeOptions, Imputer, type ImputerJSON, impute } from './imputer.js';
export {
  type BatchLoaderOptions,
  DataLoader,
  type DataLoaderOptions,
  type LoaderState,
  type LoadOptions,
} from './loader.js';
export type { Preprocessor } from './preprocessors.js';
export {
  type BatchOrder,
  BatchSampler,
  type BatchSamplerOptions,
  RandomSampler,
  type RandomSamplerOptions,
  type Sampler,
  SeededSampler,
  SequentialSampler,
  type Sized,
  SubsetRandomSampler,
  type SubsetRandomSamplerOptions,
  WeightedRandomSampler,
  type WeightedRandomSamplerOptions,
} from './samplers.js';
export { MinMaxScaler, type MinMaxScalerJSON, StandardScaler, type StandardScalerJSON } from './scalers.js';
export { ConcatDataset, type RandomSplitOptions, randomSplit, Subset } from './subset.js';
