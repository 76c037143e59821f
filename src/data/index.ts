export { type BatchOf, TensorDataset } from './dataset.js';
export { oneHot, type SplitOptions, splitColumns, trainTestSplit } from './encode.js';
export { DataLoader, type DataLoaderOptions } from './loader.js';
export { type ImputeOptions, Imputer, impute, MinMaxScaler, type Preparation, StandardScaler } from './prepare.js';
export { type ColumnProfile, type ProfileOptions, type TrainingProfile, trainingProfile } from './profile.js';
