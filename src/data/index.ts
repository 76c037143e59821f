export { TensorDataset } from './dataset.js';
export { oneHot, type SplitOptions, splitColumns, trainTestSplit } from './encode.js';
export { DataLoader, type DataLoaderOptions } from './loader.js';
export { type ImputeOptions, Imputer, impute, MinMaxScaler, StandardScaler } from './prepare.js';
