import { checkInteger, checkNumber, checkOptions, describe, fail } from '../errors.js';
import { Generator, generator } from '../random.js';
import { checkDataset, checkIndex, checkIndices, type Dataset } from './dataset.js';

/**
 * Some samples of a dataset. Same as
 * [torch.utils.data.Subset](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Subset).
 *
 * @typeParam S the type of one sample
 * @example
 * ```ts
 * import { arange, data } from 'tapegrad';
 *
 * const dataset = new data.TensorDataset(arange(10));
 * const some = new data.Subset(dataset, [8, 1, 5]);
 * console.log(some.length, (await some.get(0))[0].itemSync()); // 3 8
 * ```
 */
export class Subset<S> implements Dataset<S> {
  /** The indices of the samples in `dataset`. */
  readonly indices: Int32Array;
  /** As that of `dataset`, where it has one. */
  readonly getBatch?: Dataset<S>['getBatch'];

  /**
   * @param dataset all samples
   * @param indices those of the subset, in its order; repeated ones are allowed
   * @throws TapegradError for a value that is not a dataset, and for an index that is not an integer from 0 to
   *   dataset.length - 1
   */
  constructor(
    /** All samples. */
    readonly dataset: Dataset<S>,
    indices: ArrayLike<number>,
  ) {
    checkDataset('Subset', dataset);
    if (!isArrayLike(indices)) fail('Subset', `indices are ${describe(indices)}`, 'pass an array of indices');
    this.indices = checkIndices('Subset', 'indices', indices, dataset.length).slice();
    if (dataset.getBatch !== undefined)
      this.getBatch = (chosen) => {
        const own = checkIndices('Subset.getBatch', 'indices', chosen, this.length);
        return dataset.getBatch!(own.map((i) => this.indices[i]));
      };
  }

  /** The number of samples in the subset. */
  get length(): number {
    return this.indices.length;
  }

  /**
   * One sample.
   * @param index from 0 to length - 1
   * @returns what `dataset.get(indices[index])` returns
   * @throws TapegradError for an index that is not an integer from 0 to length - 1
   */
  get(index: number): S | Promise<S> {
    checkIndex('Subset.get', 'index', index, this.length);
    return this.dataset.get(this.indices[index]);
  }
}

/**
 * Several datasets, one after the other. Same as
 * [torch.utils.data.ConcatDataset](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.ConcatDataset).
 *
 * @typeParam S the type of one sample
 * @example
 * ```ts
 * import { arange, data } from 'tapegrad';
 *
 * const both = new data.ConcatDataset([new data.TensorDataset(arange(3)), new data.TensorDataset(arange(10))]);
 * console.log(both.length, (await both.get(5))[0].itemSync()); // 13 2
 * ```
 */
export class ConcatDataset<S> implements Dataset<S> {
  /** The datasets. */
  readonly datasets: readonly Dataset<S>[];
  /** The number of samples in all datasets. */
  readonly length: number;
  /** The index of the first sample of each dataset. */
  readonly #starts: number[] = [];

  /**
   * @param datasets at least one dataset
   * @throws TapegradError for a value that is not an array of datasets, and for an empty array
   */
  constructor(datasets: readonly Dataset<S>[]) {
    if (!Array.isArray(datasets) || datasets.length === 0)
      fail('ConcatDataset', `the datasets are ${describe(datasets)}`, 'pass an array of at least one dataset');
    this.datasets = [...(datasets as readonly Dataset<S>[])];
    let length = 0;
    for (const dataset of this.datasets) {
      checkDataset('ConcatDataset', dataset);
      this.#starts.push(length);
      length += dataset.length;
    }
    this.length = length;
  }

  /**
   * One sample.
   * @param index from 0 to length - 1, counted over all datasets
   * @returns the sample of the dataset that it belongs to
   * @throws TapegradError for an index that is not an integer from 0 to length - 1
   */
  get(index: number): S | Promise<S> {
    checkIndex('ConcatDataset.get', 'index', index, this.length);
    const which = this.#starts.findLastIndex((start) => start <= index); // never an empty one: the next has its start
    return this.datasets[which].get(index - this.#starts[which]);
  }
}

/** Options of {@link randomSplit}. */
export interface RandomSplitOptions {
  /** Seed of the order. Default: drawn from the global random stream (see manualSeed). */
  seed?: number;
}

/**
 * Divides the samples of a dataset at random among subsets. Same as
 * [torch.utils.data.random_split](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.random_split).
 *
 * @typeParam S the type of one sample
 * @param dataset the samples
 * @param lengths the numbers of samples of the subsets, which add up to the length of the dataset; or fractions from 0 to 1
 *   that add up to 1. A fraction gives ⌊fraction · n⌋ samples; those that remain go one by one to the first subsets
 * @param options seed of the order
 * @returns one subset for each length; each sample is in one of them
 * @throws TapegradError for lengths that are neither, for a value that is not a dataset, and for unknown options
 * @example
 * ```ts
 * import { arange, data } from 'tapegrad';
 *
 * const dataset = new data.TensorDataset(arange(10));
 * const [train, validation, test] = data.randomSplit(dataset, [0.7, 0.2, 0.1], { seed: 1 });
 * console.log(train.length, validation.length, test.length); // 7 2 1
 * ```
 */
export function randomSplit<S>(
  dataset: Dataset<S>,
  lengths: readonly number[],
  options: RandomSplitOptions = {},
): Subset<S>[] {
  checkDataset('randomSplit', dataset);
  checkOptions('randomSplit', options, ['seed']);
  const counts = countsOf(lengths, dataset.length);
  const stream =
    options.seed === undefined ? generator : new Generator(checkInteger('randomSplit', 'seed', options.seed, 0));
  const order = stream.permutation(dataset.length);
  let from = 0;
  return counts.map((count) => {
    from += count;
    return new Subset(dataset, order.subarray(from - count, from));
  });
}

/** How far a sum of fractions may be from 1, because of rounding. */
const TOLERANCE = 1e-9;

/** The numbers of samples of the subsets. */
function countsOf(lengths: readonly number[], n: number): readonly number[] {
  if (!Array.isArray(lengths) || lengths.length === 0)
    fail('randomSplit', `lengths are ${describe(lengths)}`, 'pass an array of numbers of samples, or of fractions');
  const sum = (lengths as readonly number[]).reduce(
    (total, length, i) => total + checkNumber('randomSplit', `lengths[${i}]`, length, 0),
    0,
  );
  if (Math.abs(sum - 1) <= TOLERANCE) {
    let rest = n;
    const counts = (lengths as readonly number[]).map((fraction) => {
      const count = Math.min(rest, Math.floor(n * fraction));
      rest -= count;
      return count;
    });
    for (let i = 0; i < rest; i++) counts[i % counts.length]++;
    return counts;
  }
  if (sum !== n || !lengths.every(Number.isInteger))
    fail(
      'randomSplit',
      `lengths are ${describe(lengths)} for ${n} samples`,
      `pass integers that add up to ${n}, or fractions that add up to 1`,
    );
  return lengths;
}

const isArrayLike = (value: unknown): value is ArrayLike<number> =>
  typeof value === 'object' && value !== null && typeof (value as ArrayLike<number>).length === 'number';
