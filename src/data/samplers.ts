import { checkBoolean, checkInteger, checkNumber, checkOptions, describe, fail } from '../errors.js';
import { Tensor } from '../methods.js';
import type { Generator as RandomStream } from '../random.js';
import { type EpochState, Epochs, inOrder } from './epochs.js';

/**
 * The order in which a {@link DataLoader} visits samples: an iterable of indices, iterated once per epoch. An array is one, too.
 * Same as [torch.utils.data.Sampler](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Sampler).
 */
export interface Sampler extends Iterable<number> {
  /** The number of indices in an epoch. */
  readonly length: number;
  /** Optional: what the orders of further epochs depend on, serializable as JSON. Checkpoints of `fit` store and restore it. */
  state?: unknown;
}

/** The same for whole batches of indices. A {@link BatchSampler} is one, and so is an array of arrays. */
export interface BatchOrder extends Iterable<ArrayLike<number>> {
  /** The number of batches in an epoch. */
  readonly length: number;
  /** Optional, as that of a {@link Sampler}. */
  state?: unknown;
}

/** The number of samples: a dataset, or anything else with a length. */
export interface Sized {
  /** The number of samples. */
  readonly length: number;
}

/**
 * All indices in order. Same as
 * [torch.utils.data.SequentialSampler](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.SequentialSampler).
 *
 * @example
 * ```ts
 * import { arange, data } from 'tapegrad';
 *
 * console.log([...new data.SequentialSampler(new data.TensorDataset(arange(3)))]); // [0, 1, 2]
 * ```
 */
export class SequentialSampler implements Sampler {
  readonly #dataset: Sized;

  /**
   * @param dataset the samples
   * @throws TapegradError for a value without a length
   */
  constructor(dataset: Sized) {
    this.#dataset = checkSized('SequentialSampler', dataset);
  }

  /** The number of samples. */
  get length(): number {
    return this.#dataset.length;
  }

  /** @returns the indices 0 … length - 1 */
  *[Symbol.iterator](): Generator<number, void, undefined> {
    for (let i = 0; i < this.#dataset.length; i++) yield i;
  }
}

/** A sampler whose order is random in each epoch. The seed and the number of the epoch determine it. */
export abstract class SeededSampler implements Sampler {
  readonly #epochs: Epochs;

  /** @internal */
  constructor(op: string, seed: number | undefined) {
    this.#epochs = new Epochs(op, seed);
  }

  /** The number of indices in an epoch. */
  abstract get length(): number;

  /** The indices of an epoch. @internal */
  abstract draw(stream: RandomStream): Iterable<number>;

  /**
   * The seed and the number of epochs started, which determine the orders of all further epochs.
   * @throws TapegradError on assigning a seed or an epoch that is not an integer of at least 0
   */
  get state(): EpochState {
    return this.#epochs.state;
  }

  /**
   * Continues after the epochs of a saved state.
   * @param state a state of a sampler of the same samples
   */
  set state(state: EpochState) {
    this.#epochs.state = state;
  }

  /** Starts an epoch. @returns its indices */
  *[Symbol.iterator](): Generator<number, void, undefined> {
    yield* this.draw(this.#epochs.next());
  }
}

/** Options of {@link RandomSampler}. */
export interface RandomSamplerOptions {
  /** Whether each index is drawn from all samples, so that some come several times and others not at all. Default false. */
  replacement?: boolean;
  /** The number of indices in an epoch. Default: the number of samples. Without replacement, more are several orders in turn. */
  numSamples?: number;
  /** Seed of the orders of all epochs. Default: drawn from the global random stream (see manualSeed). */
  seed?: number;
}

/**
 * All indices in a random order that is new in each epoch. Same as
 * [torch.utils.data.RandomSampler](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.RandomSampler). For the same seed
 * it has the orders of a DataLoader with `shuffle`.
 *
 * @example
 * ```ts
 * import { arange, data } from 'tapegrad';
 *
 * const dataset = new data.TensorDataset(arange(100));
 * const sampler = new data.RandomSampler(dataset, { replacement: true, numSamples: 32, seed: 1 });
 * const loader = new data.DataLoader(dataset, { batchSize: 8, sampler });
 * console.log(loader.length); // 4
 * ```
 */
export class RandomSampler extends SeededSampler {
  readonly #dataset: Sized;
  readonly #replacement: boolean;
  readonly #numSamples: number | undefined;

  /**
   * @param dataset the samples
   * @param options drawing with replacement, number of indices and seed
   * @throws TapegradError for a value without a length or without samples, and for unknown or invalid options
   */
  constructor(dataset: Sized, options: RandomSamplerOptions = {}) {
    const op = 'RandomSampler';
    checkOptions(op, options, ['replacement', 'numSamples', 'seed']);
    super(op, options.seed);
    this.#dataset = checkSized(op, dataset);
    this.#replacement = checkBoolean(op, 'replacement', options.replacement ?? false);
    this.#numSamples =
      options.numSamples === undefined ? undefined : checkInteger(op, 'numSamples', options.numSamples);
    if (dataset.length === 0) fail(op, 'the dataset has no samples', 'pass a dataset with samples');
  }

  override get length(): number {
    return this.#numSamples ?? this.#dataset.length;
  }

  /** @internal */
  *draw(stream: RandomStream): Generator<number, void, undefined> {
    const n = this.#dataset.length;
    if (this.#replacement) {
      for (let i = this.length; i > 0; i--) yield Math.floor(fraction(stream) * n);
      return;
    }
    for (let rest = this.length; rest > 0; rest -= n) yield* stream.permutation(n).subarray(0, Math.min(n, rest));
  }
}

/** Options of {@link SubsetRandomSampler}. */
export interface SubsetRandomSamplerOptions {
  /** Seed of the orders of all epochs. Default: drawn from the global random stream (see manualSeed). */
  seed?: number;
}

/**
 * Given indices in a random order that is new in each epoch. Same as
 * [torch.utils.data.SubsetRandomSampler](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.SubsetRandomSampler).
 *
 * @example
 * ```ts
 * import { data } from 'tapegrad';
 *
 * console.log([...new data.SubsetRandomSampler([2, 4, 8])].toSorted()); // [2, 4, 8]
 * ```
 */
export class SubsetRandomSampler extends SeededSampler {
  readonly #indices: number[];

  /**
   * @param indices integers of at least 0
   * @param options seed of the orders
   * @throws TapegradError for a value that is not an array of integers of at least 0, and for unknown options
   */
  constructor(indices: ArrayLike<number>, options: SubsetRandomSamplerOptions = {}) {
    const op = 'SubsetRandomSampler';
    checkOptions(op, options, ['seed']);
    super(op, options.seed);
    if (typeof checkSized(op, indices, 'indices') !== 'object')
      fail(op, `indices are ${describe(indices)}`, 'pass an array of indices');
    this.#indices = Array.from(indices, (index, i) => checkInteger(op, `indices[${i}]`, index, 0));
  }

  override get length(): number {
    return this.#indices.length;
  }

  /** @internal */
  *draw(stream: RandomStream): Generator<number, void, undefined> {
    for (const i of stream.permutation(this.length)) yield this.#indices[i];
  }
}

/** Options of {@link WeightedRandomSampler}. */
export interface WeightedRandomSamplerOptions {
  /** Whether an index can be drawn several times. Default true. */
  replacement?: boolean;
  /** Seed of the draws of all epochs. Default: drawn from the global random stream (see manualSeed). */
  seed?: number;
}

/**
 * Indices drawn with given probabilities, for example to see rare classes more often. Same as
 * [torch.utils.data.WeightedRandomSampler](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.WeightedRandomSampler). Without
 * replacement it takes the smallest of exponential random numbers with the weights as rates (Efraimidis and Spirakis, "Weighted
 * random sampling with a reservoir", 2006).
 *
 * @example
 * ```ts
 * import { data } from 'tapegrad';
 *
 * const labels = [0, 0, 0, 1];
 * const weights = labels.map((label) => 1 / labels.filter((other) => other === label).length);
 * const sampler = new data.WeightedRandomSampler(weights, 100, { seed: 1 });
 * console.log([...sampler].filter((i) => labels[i] === 1).length); // about 50
 * ```
 */
export class WeightedRandomSampler extends SeededSampler {
  /** The number of indices in an epoch. */
  readonly length: number;
  readonly #weights: Float64Array;
  readonly #replacement: boolean;

  /**
   * @param weights for each sample a number of at least 0, in an array or a tensor [n]; they need not add up to 1
   * @param numSamples the number of indices in an epoch
   * @param options drawing with replacement, and seed
   * @throws TapegradError for weights that are negative, not finite or all 0, for more samples without replacement than there are
   *   positive weights, and for unknown or invalid options
   */
  constructor(weights: ArrayLike<number> | Tensor, numSamples: number, options: WeightedRandomSamplerOptions = {}) {
    const op = 'WeightedRandomSampler';
    checkOptions(op, options, ['replacement', 'seed']);
    super(op, options.seed);
    const isTensor = weights instanceof Tensor;
    if (isTensor ? weights.ndim !== 1 : typeof weights !== 'object' || typeof weights?.length !== 'number')
      fail(op, `the weights are ${isTensor ? `a tensor with ${weights.ndim} dimensions` : describe(weights)}`, 'pass an array or a tensor [n] with a weight for each sample'); // biome-ignore format: one line
    const values: ArrayLike<number> = isTensor ? weights.hostValues(op) : (weights as ArrayLike<number>);
    this.#weights = Float64Array.from(values, (w, i) => checkNumber(op, `weights[${i}]`, w, 0));
    this.length = checkInteger(op, 'numSamples', numSamples);
    this.#replacement = checkBoolean(op, 'replacement', options.replacement ?? true);
    const sum = this.#weights.reduce((total, w) => total + w, 0);
    if (!(sum > 0 && sum < Infinity))
      fail(op, `the ${values.length} weights add up to ${sum}`, 'pass weights of which one at least is positive, with a finite sum'); // biome-ignore format: one line
    const positive = this.#weights.filter((w) => w > 0).length;
    if (!this.#replacement && numSamples > positive)
      fail(op, `numSamples is ${numSamples} for ${positive} positive weights without replacement`, `pass at most ${positive}, or { replacement: true }`); // biome-ignore format: one line
  }

  /** @internal */
  *draw(stream: RandomStream): Generator<number, void, undefined> {
    const weights = this.#weights;
    if (!this.#replacement) {
      const times = weights.map((w) => -Math.log(1 - fraction(stream)) / w); // infinite or NaN where w is 0
      const candidates = inOrder(weights.length).filter((i) => weights[i] > 0);
      yield* candidates.sort((a, b) => times[a] - times[b]).subarray(0, this.length);
      return;
    }
    let sum = 0;
    const sums = weights.map((w) => (sum += w));
    const last = weights.findLastIndex((w) => w > 0);
    for (let i = 0; i < this.length; i++) yield Math.min(last, above(sums, fraction(stream) * sum));
  }
}

/** Options of {@link BatchSampler}. */
export interface BatchSamplerOptions {
  /** Whether to skip the last batch if it has fewer than `batchSize` indices. Default false. */
  dropLast?: boolean;
}

/**
 * Groups the indices of a sampler. Same as
 * [torch.utils.data.BatchSampler](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.BatchSampler).
 *
 * @example
 * ```ts
 * import { data } from 'tapegrad';
 *
 * console.log([...new data.BatchSampler([5, 6, 7], 2)]); // [[5, 6], [7]]
 * ```
 */
export class BatchSampler implements BatchOrder {
  /** The number of indices in a full batch. */
  readonly batchSize: number;
  readonly #sampler: Sampler;
  readonly #dropLast: boolean;

  /**
   * @param sampler the indices
   * @param batchSize the number of indices in a batch
   * @param options handling of an incomplete last batch
   * @throws TapegradError for a sampler that is not an iterable with a length, a batch size that is not an integer of at least
   *   1, and for unknown or invalid options
   */
  constructor(sampler: Sampler | readonly number[] | Int32Array, batchSize: number, options: BatchSamplerOptions = {}) {
    const op = 'BatchSampler';
    checkOptions(op, options, ['dropLast']);
    this.#sampler = checkSampler(op, 'sampler', sampler) as Sampler;
    this.batchSize = checkInteger(op, 'batchSize', batchSize);
    this.#dropLast = checkBoolean(op, 'dropLast', options.dropLast ?? false);
  }

  /** The number of batches in an epoch. */
  get length(): number {
    const batches = this.#sampler.length / this.batchSize;
    return this.#dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  /** The state of the sampler; undefined if it has none. */
  get state(): unknown {
    return this.#sampler.state;
  }

  /**
   * Restores the state of the sampler.
   * @param state a state of such a sampler
   */
  set state(state: unknown) {
    this.#sampler.state = state;
  }

  /** Starts an epoch. @returns its batches of indices */
  *[Symbol.iterator](): Generator<number[], void, undefined> {
    let batch: number[] = [];
    for (const index of this.#sampler) {
      batch.push(index);
      if (batch.length === this.batchSize) {
        yield batch;
        batch = [];
      }
    }
    if (batch.length > 0 && !this.#dropLast) yield batch;
  }
}

/** Requires an iterable with a length. */
export function checkSampler<T extends Sized>(op: string, name: string, sampler: T): T {
  if (typeof sampler !== 'object' || sampler === null || !(Symbol.iterator in sampler) || !('length' in sampler))
    fail(op, `${name} is ${describe(sampler)}`, 'pass an iterable of indices with a length, such as a RandomSampler');
  checkInteger(op, `the length of ${name}`, sampler.length, 0);
  return sampler;
}

function checkSized<T extends Sized>(op: string, sized: T, name = 'the dataset'): T {
  checkInteger(op, `the length of ${name}`, sized?.length, 0);
  return sized;
}

/** Uniform in [0, 1), a multiple of 2^-53. */
const fraction = (stream: RandomStream): number => ((stream.word() >>> 5) * 2 ** 26 + (stream.word() >>> 6)) * 2 ** -53;

/** The first index whose sum is above x. The sums ascend. */
function above(sums: Float64Array, x: number): number {
  let [low, high] = [0, sums.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sums[middle] > x) high = middle;
    else low = middle + 1;
  }
  return low;
}
