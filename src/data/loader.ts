import { checkBoolean, checkInteger, checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { generator, Generator as RandomStream } from '../random.js';
import { type BatchOf, TensorDataset } from './dataset.js';
import { turnIfDue } from './yield.js';

export interface DataLoaderOptions {
  /** Samples a batch. */
  batchSize: number;
  /** A new random order in every epoch. Default false. */
  shuffle?: boolean;
  /** Leave out the last batch if it is not full. Default false. */
  dropLast?: boolean;
  /** Fixes the orders of all epochs; drawn from the global random stream by default. */
  seed?: number;
}

/**
 * Batches of a dataset, as torch.utils.data.DataLoader: `for (const [x, y] of loader)`, or `for await`, which lets timers,
 * requests and frames run between batches.
 */
export class DataLoader<T extends readonly Tensor[] = Tensor[]> {
  readonly batchSize: number;
  readonly #shuffle: boolean;
  readonly #dropLast: boolean;
  #seed: number;
  #epoch = 0;

  /** @throws TapegradError for unknown options, a batch size that is no whole number of at least 1, and a shuffle or dropLast that is not true or false */
  constructor(
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
        `${dataset.length} samples make no batch of ${this.batchSize} with dropLast`,
        'use a smaller batchSize',
      );
  }

  /** The number of batches. */
  get length(): number {
    const batches = this.dataset.length / this.batchSize;
    return this.#dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  /** What decides the orders of the epochs to come. JSON-safe. */
  get state(): { seed: number; epoch: number } {
    return { seed: this.#seed, epoch: this.#epoch };
  }

  set state(state: { seed: number; epoch: number }) {
    this.#seed = checkInteger('DataLoader', 'state.seed', state.seed, 0);
    this.#epoch = checkInteger('DataLoader', 'state.epoch', state.epoch, 0);
  }

  *[Symbol.iterator](): Generator<BatchOf<T>, void, undefined> {
    const order = this.#nextOrder();
    for (let i = 0; i < this.length; i++) yield this.#batch(order, i);
  }

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
    // A stretch of the stream of its own for each epoch, so that any epoch can be resumed without the ones before.
    const stream = new RandomStream(this.#seed);
    stream.state = { seed: this.#seed, block: epoch * 2 ** 32 };
    return stream.permutation(this.dataset.length);
  }

  #batch(order: Int32Array, index: number): BatchOf<T> {
    const from = index * this.batchSize;
    return this.dataset.take(order, from, Math.min(from + this.batchSize, this.dataset.length));
  }
}
