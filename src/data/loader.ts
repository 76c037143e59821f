import { checkBoolean, checkInteger, checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { generator, Generator as RandomStream } from '../random.js';
import { type BatchOf, TensorDataset } from './dataset.js';
import { turnIfDue } from './yield.js';

/** Options of {@link DataLoader}. */
export interface DataLoaderOptions {
  /** The number of samples in a batch, at least 1. */
  batchSize: number;
  /** Whether each epoch has a new random order. Default false. */
  shuffle?: boolean;
  /** Whether to skip the last batch if it has fewer than `batchSize` samples. Default false. */
  dropLast?: boolean;
  /** Seed of the orders of all epochs. Default: drawn from the global random stream (see manualSeed). */
  seed?: number;
}

/** The state of a {@link DataLoader}, serializable as JSON. */
export interface LoaderState {
  /** The seed of the orders of all epochs. */
  seed: number;
  /** The number of epochs started. */
  epoch: number;
}

/**
 * Iterates over the batches of a dataset, once per epoch. Same as
 * [torch.utils.data.DataLoader](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader). A `for … of` loop
 * runs synchronously; a `for await` loop lets timers, requests and frames run between batches.
 *
 * @typeParam T the tuple of the dataset's tensors
 * @example
 * ```ts
 * import { data, randn } from 'tapegrad';
 *
 * const dataset = new data.TensorDataset(randn([10, 3]), randn([10, 1]));
 * const loader = new data.DataLoader(dataset, { batchSize: 4, shuffle: true, seed: 1 });
 * for (const [x, y] of loader) console.log(x.shape, y.shape); // twice [4, 3] [4, 1], then [2, 3] [2, 1]
 * ```
 */
export class DataLoader<T extends readonly Tensor[] = Tensor[]> {
  /** The number of samples in a full batch. */
  readonly batchSize: number;
  readonly #shuffle: boolean;
  readonly #dropLast: boolean;
  #seed: number;
  #epoch = 0;

  /**
   * @param dataset the samples
   * @param options batch size, shuffling, handling of an incomplete last batch and seed
   * @throws TapegradError if `dataset` is not a TensorDataset, for unknown options, a batch size that is not an integer of
   *   at least 1, a `shuffle` or `dropLast` that is not a boolean, and if `dropLast` would leave no batch
   */
  constructor(
    /** The samples. */
    readonly dataset: TensorDataset<T>,
    options: DataLoaderOptions,
  ) {
    if (!(dataset instanceof TensorDataset))
      fail('DataLoader', `the dataset is ${describe(dataset)}`, 'pass a TensorDataset');
    checkOptions('DataLoader', options, ['batchSize', 'shuffle', 'dropLast', 'seed']);
    this.batchSize = checkInteger('DataLoader', 'batchSize', options?.batchSize);
    const { shuffle = false, dropLast = false } = options;
    this.#shuffle = checkBoolean('DataLoader', 'shuffle', shuffle);
    this.#dropLast = checkBoolean('DataLoader', 'dropLast', dropLast);
    this.#seed = options.seed === undefined ? generator.word() : checkInteger('DataLoader', 'seed', options.seed, 0);
    if (this.length === 0)
      fail(
        'DataLoader',
        dataset.length === 0
          ? 'the dataset has no samples'
          : `${dataset.length} samples do not fill a batch of ${this.batchSize}, and dropLast is set`,
        'use a smaller batchSize',
      );
  }

  /** The number of batches in an epoch. */
  get length(): number {
    const batches = this.dataset.length / this.batchSize;
    return this.#dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  /**
   * The seed and the number of epochs started, which determine the orders of all further epochs. Checkpoints of `fit` store it.
   * @throws TapegradError on assigning a seed or an epoch that is not an integer of at least 0
   */
  get state(): LoaderState {
    return { seed: this.#seed, epoch: this.#epoch };
  }

  /**
   * Continues after the epochs of a saved state.
   * @param state a state of a loader of the same dataset
   */
  set state(state: LoaderState) {
    this.#seed = checkInteger('DataLoader', 'state.seed', state.seed, 0);
    this.#epoch = checkInteger('DataLoader', 'state.epoch', state.epoch, 0);
  }

  /** Starts an epoch. @returns its batches, each a tuple with one tensor for each tensor of the dataset */
  *[Symbol.iterator](): Generator<BatchOf<T>, void, undefined> {
    const order = this.#nextOrder();
    for (let i = 0; i < this.length; i++) yield this.#batch(order, i);
  }

  /** Starts an epoch whose batches let other tasks run between them. @returns its batches, as for the synchronous iterator */
  async *[Symbol.asyncIterator](): AsyncGenerator<BatchOf<T>, void, undefined> {
    for (const batch of this) {
      const turn = turnIfDue();
      if (turn !== null) await turn;
      yield batch;
    }
  }

  #nextOrder(): Int32Array {
    const epoch = this.#epoch++;
    if (!this.#shuffle) return Int32Array.from({ length: this.dataset.length }, (_, i) => i);
    // Each epoch has its own segment of the stream, so that an epoch can be resumed without running the ones before it.
    const stream = new RandomStream(this.#seed);
    stream.state = { seed: this.#seed, block: epoch * 2 ** 32 };
    return stream.permutation(this.dataset.length);
  }

  #batch(order: Int32Array, index: number): BatchOf<T> {
    const from = index * this.batchSize;
    return this.dataset.take(order, from, Math.min(from + this.batchSize, this.dataset.length));
  }
}
