// What a model takes and gives, as a list of tensors with names, in the terms of the Open Inference Protocol.

/** One input or output of a model. */
export interface TensorSpec {
  readonly name: string;
  /** The element type. */
  readonly datatype: 'FP32';
  /** The shape; -1 for a dimension of variable size. The first dimension counts the samples, and is variable. */
  readonly shape: readonly number[];
}

/** The properties of a model that its requests must match. */
export interface Signature {
  readonly name: string;
  readonly version: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Whether NaN is allowed as a missing value, because a preprocessor replaces it. */
  readonly allowsMissing: boolean;
}

/** A matrix of samples; null for any number of columns. */
export const matrixSpec = (name: string, columns: number | null): TensorSpec => ({
  name,
  datatype: 'FP32',
  shape: [-1, columns ?? -1],
});

/** The columns of the only input, of a model that takes one matrix: null for any number; undefined for other models. */
export function columnsOf({ inputs }: Pick<Signature, 'inputs'>): number | null | undefined {
  const [{ shape }] = inputs;
  if (inputs.length !== 1 || shape.length !== 2) return undefined;
  return shape[1] < 0 ? null : shape[1];
}

/** Whether a shape is one that a spec describes. */
export const fits = (shape: readonly number[], spec: TensorSpec): boolean =>
  shape.length === spec.shape.length && shape.every((d, i) => d >= 1 && (spec.shape[i] < 0 || d === spec.shape[i]));

/** A tensor of a request or response, in row-major order. */
export interface TensorValues {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}

/** The numbers of one sample. */
export function rowSize(shape: readonly number[]): number {
  let size = 1;
  for (let i = 1; i < shape.length; i++) size *= shape[i];
  return size;
}

/** Whether tensors have the same shapes but for the number of samples. */
export const sameRows = (a: readonly TensorValues[], b: readonly TensorValues[]): boolean =>
  a.every(({ shape }, i) => shape.every((d, j) => j === 0 || d === b[i].shape[j]));
