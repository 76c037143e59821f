import { checkInteger, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import type { Collated } from './collate.js';
import { commonRows, knownValues, takeRows } from './rows.js';

/**
 * A map from indices to samples, such as files or rows of a database. A {@link DataLoader} makes batches of it. Same as the map-style
 * [torch.utils.data.Dataset](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Dataset).
 *
 * @typeParam S one sample: a tensor, number, boolean, string or typed array, or an array or a plain object of these. A
 *   DataLoader with a `collate` of its own takes any other sample, too
 * @example
 * ```ts
 * import { data, type Tensor, tensor } from 'tapegrad';
 *
 * class Squares implements data.Dataset<[Tensor, number]> {
 *   readonly length = 100;
 *   async get(index: number): Promise<[Tensor, number]> {
 *     return [tensor([index, index + 1]), index ** 2]; // for example, of a file that it reads
 *   }
 * }
 * const loader = new data.DataLoader(new Squares(), { batchSize: 10, shuffle: true });
 * for await (const [x, y] of loader) console.log(x.shape, y.shape); // [10, 2] [10]
 * ```
 */
export interface Dataset<S> {
  /** The number of samples. */
  readonly length: number;
  /**
   * One sample.
   * @param index from 0 to length - 1
   * @returns the sample, or a promise of it
   */
  get(index: number): S | Promise<S>;
  /**
   * Optional: a whole batch, where that is faster than one sample after the other. A DataLoader without a `collate` of its own
   * calls it in place of `get`.
   * @param indices the indices of the samples, each from 0 to length - 1, in an array or an Int32Array
   * @returns what {@link defaultCollate} makes of the samples, or a promise of it
   */
  getBatch?(indices: ArrayLike<number>): Collated<S> | Promise<Collated<S>>;
}

/** One batch, or one sample, of a dataset with the tensors `T`: one tensor for each of them, in the same order. */
export type BatchOf<T extends readonly Tensor[]> = { -readonly [K in keyof T]: Tensor };

/**
 * A dataset whose samples lie along the first dimension of one or more tensors. Same as
 * [torch.utils.data.TensorDataset](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.TensorDataset).
 *
 * @typeParam T the tuple of tensors
 * @example
 * ```ts
 * import { data, tensor } from 'tapegrad';
 *
 * const dataset = new data.TensorDataset(tensor([[1, 2], [3, 4]]), tensor([0, 1]));
 * console.log(dataset.length); // 2
 * console.log(dataset.get(1)[0].toArraySync()); // [3, 4]
 * ```
 */
export class TensorDataset<T extends readonly Tensor[] = Tensor[]> implements Dataset<BatchOf<T>> {
  /** The tensors, each with shape [n, ..]. */
  readonly tensors: Readonly<T>;
  /** The number of samples, n. */
  readonly length: number;
  /** What the host knows of each tensor's values, as of a version of its storage. */
  readonly #host: { values: Float32Array | null; version: number }[] = [];

  /**
   * @param tensors one or more tensors with shapes [n, ..] and the same n
   * @throws TapegradError if there are no tensors, an argument is not a tensor, or the first dimensions differ
   */
  constructor(...tensors: T) {
    this.length = commonRows('TensorDataset', tensors);
    this.tensors = tensors;
  }

  /**
   * One sample.
   * @param index from 0 to n - 1
   * @returns for each tensor the view `select(0, index)`, of shape [..]
   * @throws TapegradError for an index that is not an integer from 0 to n - 1
   */
  get(index: number): BatchOf<T> {
    checkIndex('TensorDataset.get', 'index', index, this.length);
    return this.tensors.map((t) => t.select(0, index)) as BatchOf<T>;
  }

  /**
   * Several samples at once.
   * @param indices each from 0 to n - 1, in any order; repeated ones are allowed
   * @returns for each tensor a copy of these samples, of shape [indices.length, ..], without a history
   * @throws TapegradError for an index that is not an integer from 0 to n - 1, and where there are none
   */
  getBatch(indices: ArrayLike<number>): Collated<BatchOf<T>> {
    if (!(indices?.length > 0))
      fail('TensorDataset.getBatch', `indices are ${describe(indices)}`, 'pass at least one index in an array');
    return this.take(checkIndices('TensorDataset.getBatch', 'indices', indices, this.length), 0, indices.length);
  }

  /** Samples `from` to `to` of an order, which is not checked. @internal */
  take(order: Int32Array, from: number, to: number): Collated<BatchOf<T>> {
    const rows = this.tensors.map((t, i) => {
      // Read once and reused by all batches of all epochs, unless the tensor is changed in place.
      const { version } = t.storage;
      if (this.#host[i]?.version !== version) this.#host[i] = { values: knownValues(t), version };
      return takeRows('TensorDataset', t, this.#host[i].values, order, from, to);
    });
    return rows as Collated<BatchOf<T>>;
  }
}

/** Requires an object with a length and a function get. */
export function checkDataset(op: string, dataset: unknown): void {
  const { length, get } = (dataset ?? {}) as Partial<Dataset<unknown>>;
  if (typeof dataset !== 'object' || typeof get !== 'function')
    fail(op, `the dataset is ${describe(dataset)}`, 'pass a TensorDataset, or an object with length and get(index)');
  checkInteger(op, 'the length of the dataset', length, 0);
}

/** Requires the index of one of `length` samples. */
export function checkIndex(op: string, name: string, index: unknown, length: number): void {
  if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= length)
    fail(
      op,
      `${name} is ${describe(index)} for ${length} samples`,
      length === 0 ? 'use a dataset with samples' : `indices are integers from 0 to ${length - 1}`,
    );
}

/** Requires indices of `length` samples. Returns them as integers: the array itself if it is an Int32Array. */
export function checkIndices(op: string, name: string, indices: ArrayLike<number>, length: number): Int32Array {
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i];
    // The complete check, which makes a name, only for what is not obviously right.
    if (!(index >= 0 && index < length && Number.isInteger(index))) checkIndex(op, `${name}[${i}]`, index, length);
  }
  return indices instanceof Int32Array ? indices : Int32Array.from(indices);
}
