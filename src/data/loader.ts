import { checkBoolean, checkInteger, checkOptions, describe, fail, TapegradError } from '../errors.js';
import type { Tensor } from '../methods.js';
import { type Collated, collate } from './collate.js';
import { checkDataset, checkIndices, type Dataset, TensorDataset } from './dataset.js';
import { type EpochState, Epochs, inOrder } from './epochs.js';
import { type BatchOrder, BatchSampler, checkSampler, type Sampler } from './samplers.js';
import { Subset } from './subset.js';
import { turnIfDue } from './yield.js';

/**
 * What both kinds of options of {@link DataLoader} have in common.
 *
 * @typeParam S the type of one sample
 * @typeParam B the type of a batch
 */
export interface LoadOptions<S = never, B = unknown> {
  /** Makes a batch of samples. Default: {@link defaultCollate}. If it returns a promise, the loader needs `for await`. */
  collate?: (samples: S[]) => B | Promise<B>;
  /**
   * The number of batches to load ahead of the one in use, for a dataset that returns promises. Default 2; 0 loads a batch when
   * the loop asks for it.
   */
  prefetch?: number;
}

/**
 * Options of {@link DataLoader}.
 *
 * @typeParam S the type of one sample
 * @typeParam B the type of a batch
 */
export interface DataLoaderOptions<S = never, B = unknown> extends LoadOptions<S, B> {
  /** The number of samples in a batch, at least 1. */
  batchSize: number;
  /** Whether each epoch has a new random order. Default false. */
  shuffle?: boolean;
  /** Whether to skip the last batch if it has fewer than `batchSize` samples. Default false. */
  dropLast?: boolean;
  /** Seed of the orders of all epochs. Default: drawn from the global random stream (see manualSeed). */
  seed?: number;
  /** The order of the samples, in place of `shuffle` and `seed`. */
  sampler?: Sampler | readonly number[] | Int32Array;
}

/**
 * Options of a {@link DataLoader} whose batches have their own sampler.
 *
 * @typeParam S the type of one sample
 * @typeParam B the type of a batch
 */
export interface BatchLoaderOptions<S = never, B = unknown> extends LoadOptions<S, B> {
  /** The indices of each batch, in place of `batchSize`, `shuffle`, `dropLast`, `seed` and `sampler`. */
  batchSampler: BatchOrder | readonly ArrayLike<number>[];
}

/** The state of a {@link DataLoader}, serializable as JSON. */
export interface LoaderState extends EpochState {
  /** The state of the sampler, where it has one. */
  sampler?: unknown;
}

const OPTIONS = ['batchSize', 'shuffle', 'dropLast', 'seed', 'sampler', 'batchSampler', 'collate', 'prefetch'] as const;

/**
 * Iterates over the batches of a dataset, once per epoch. Same as
 * [torch.utils.data.DataLoader](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader). A `for … of` loop
 * runs synchronously; a `for await` loop lets timers, requests and frames run between batches, and waits for a dataset that
 * returns promises, of which it loads some batches ahead.
 *
 * @typeParam S the type of one sample; for a TensorDataset the tuple of its tensors
 * @typeParam B the type of a batch
 * @example
 * ```ts
 * import { data, randn } from 'tapegrad';
 *
 * const dataset = new data.TensorDataset(randn([10, 3]), randn([10, 1]));
 * const loader = new data.DataLoader(dataset, { batchSize: 4, shuffle: true, seed: 1 });
 * for (const [x, y] of loader) console.log(x.shape, y.shape); // twice [4, 3] [4, 1], then [2, 3] [2, 1]
 * ```
 */
export class DataLoader<S = Tensor[], B = Collated<S>> {
  /** The number of samples in a full batch; null where a batch sampler without a `batchSize` decides. */
  readonly batchSize: number | null;
  /** Whether batches never need waiting. @internal */
  readonly immediate: boolean;
  readonly #shuffle: boolean;
  readonly #dropLast: boolean;
  readonly #epochs: Epochs;
  readonly #batches: BatchOrder | null;
  readonly #prefetch: number;
  readonly #load: (indices: Int32Array, sync: boolean) => B | Promise<B>;

  /**
   * @param dataset the samples
   * @param options batch size, shuffling, handling of an incomplete last batch and seed; or a sampler; making of batches
   * @throws TapegradError if `dataset` is not a dataset, for unknown or invalid options and those that exclude each other, and if
   *   there would be no batch
   */
  constructor(
    /** The samples. */
    readonly dataset: Dataset<S>,
    options: DataLoaderOptions<S, B> | BatchLoaderOptions<S, B>,
  ) {
    const op = 'DataLoader';
    checkDataset(op, dataset);
    checkOptions(op, options, OPTIONS);
    const { batchSampler, ...rest } = options as Partial<DataLoaderOptions<S, B> & BatchLoaderOptions<S, B>>;
    const { sampler, collate: make, prefetch = 2, shuffle = false, dropLast = false } = rest;
    this.#shuffle = checkBoolean(op, 'shuffle', shuffle);
    this.#dropLast = checkBoolean(op, 'dropLast', dropLast);
    this.#prefetch = checkInteger(op, 'prefetch', prefetch, 0);
    if (make !== undefined && typeof make !== 'function')
      fail(op, `collate is ${describe(make)}`, 'pass a function that makes a batch of an array of samples');
    this.#epochs = new Epochs(op, rest.seed);
    if (batchSampler !== undefined) {
      refuse(rest, 'batchSampler', ['batchSize', 'shuffle', 'dropLast', 'seed', 'sampler']);
      this.#batches = checkSampler(op, 'batchSampler', batchSampler) as BatchOrder;
      this.batchSize = (batchSampler as Partial<BatchSampler>).batchSize ?? null;
    } else {
      this.batchSize = checkInteger(op, 'batchSize', rest.batchSize);
      if (sampler !== undefined) {
        refuse(rest, 'sampler', ['shuffle', 'seed']);
        checkSampler(op, 'sampler', sampler);
      }
      this.#batches = sampler === undefined ? null : new BatchSampler(sampler, this.batchSize, { dropLast });
    }
    this.immediate = make === undefined && isImmediate(dataset);
    this.#load = (indices, sync) => load(dataset, make, indices, sync);
    if (this.length === 0) this.#failEmpty(sampler?.length ?? dataset.length);
  }

  /** The number of batches in an epoch. */
  get length(): number {
    if (this.#batches !== null) return this.#batches.length;
    const batches = this.dataset.length / this.batchSize!;
    return this.#dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  /**
   * The seed and the number of epochs started, and the state of a sampler that has one, which determine the orders of all further
   * epochs. Checkpoints of `fit` store it.
   * @throws TapegradError on assigning a seed or an epoch that is not an integer of at least 0
   */
  get state(): LoaderState {
    const sampler = this.#batches?.state;
    return { ...this.#epochs.state, ...(sampler === undefined ? {} : { sampler }) };
  }

  /**
   * Continues after the epochs of a saved state.
   * @param state a state of a loader of the same dataset
   */
  set state(state: LoaderState) {
    const before = this.#epochs.state;
    this.#epochs.state = state;
    try {
      if (state.sampler !== undefined && this.#batches?.state !== undefined) this.#batches.state = state.sampler;
    } catch (error) {
      this.#epochs.state = before;
      throw error;
    }
  }

  /**
   * Starts an epoch.
   * @returns its batches; of a TensorDataset, each a tuple with one tensor for each tensor of the dataset
   * @throws TapegradError for a dataset or `collate` that returns a promise, for an error of the dataset, naming the index, and for
   *   an index of a sampler that no sample has
   */
  *[Symbol.iterator](): Generator<B, void, undefined> {
    const { dataset } = this;
    if (!this.immediate || this.#batches !== null || !(dataset instanceof TensorDataset)) {
      for (const indices of this.#indices()) yield this.#load(indices, true) as B;
      return;
    }
    // The common case, without what others need: small batches take a few microseconds.
    const order = this.#nextOrder();
    const size = this.batchSize!;
    for (let i = 0; i < this.length; i++)
      yield dataset.take(order, i * size, Math.min((i + 1) * size, dataset.length)) as B;
  }

  /**
   * Starts an epoch whose batches let other tasks run between them. Batches come in order, also where a later one is loaded
   * first; an error comes in place of its batch. A loop that ends early loads nothing more.
   * @returns its batches, as for the synchronous iterator
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<B, void, undefined> {
    if (this.immediate) {
      for (const batch of this) {
        const turn = turnIfDue();
        if (turn !== null) await turn;
        yield batch;
      }
      return;
    }
    const indices = this.#indices();
    const queue: (B | Promise<B>)[] = [];
    let done = false;
    const start = (): B | Promise<B> | undefined => {
      try {
        const next = indices.next();
        if (!next.done) return this.#load(next.value, false);
        done = true;
        return undefined;
      } catch (error) {
        done = true;
        return Promise.reject(error);
      }
    };
    try {
      for (;;) {
        // Loading ahead is worth it only where there is something to wait for.
        while (!done && (queue.length === 0 || (queue.length <= this.#prefetch && isThenable(queue.at(-1))))) {
          const batch = start();
          if (batch === undefined) break;
          queue.push(batch);
          if (isThenable(batch)) batch.then(undefined, () => {}); // reported when it is its turn
        }
        if (queue.length === 0) return;
        const batch = await queue.shift()!;
        const turn = turnIfDue();
        if (turn !== null) await turn;
        yield batch;
      }
    } finally {
      indices.return();
    }
  }

  /** Starts an epoch: the indices of each batch. */
  *#indices(): Generator<Int32Array, void, undefined> {
    const { length } = this.dataset;
    const order = this.#nextOrder();
    if (this.#batches === null) {
      const size = this.batchSize!;
      for (let i = 0; i < this.length; i++) yield order.subarray(i * size, Math.min((i + 1) * size, length));
      return;
    }
    let count = 0;
    for (const batch of this.#batches) {
      const name = `batch ${count++} of the sampler`;
      if (!(batch?.length > 0))
        fail('DataLoader', `${name} is ${describe(batch)}`, 'yield at least one index for each batch, in an array');
      yield checkIndices('DataLoader', name, batch, length);
    }
  }

  /** Starts an epoch: the order of the samples, where no sampler decides. */
  #nextOrder(): Int32Array {
    const stream = this.#epochs.next();
    if (this.#batches !== null) return new Int32Array(0);
    return this.#shuffle ? stream.permutation(this.dataset.length) : inOrder(this.dataset.length);
  }

  #failEmpty(samples: number): never {
    return fail(
      'DataLoader',
      this.batchSize === null || samples === 0
        ? `the ${this.#batches === null ? 'dataset has no samples' : 'sampler has no indices'}`
        : `${samples} samples do not fill a batch of ${this.batchSize}, and dropLast is set`,
      'use a smaller batchSize',
    );
  }
}

/** Refuses options that another one replaces. */
function refuse(options: object, by: string, names: readonly string[]): void {
  const values = options as Record<string, unknown>;
  const name = names.find((key) => values[key] !== undefined && values[key] !== false);
  if (name !== undefined)
    fail(
      'DataLoader',
      `${name} is ${describe(values[name])}, and there is a ${by}`,
      `leave ${name} out; the ${by} decides`,
    );
}

/** Whether the batches of a dataset are never promises. */
const isImmediate = (dataset: Dataset<unknown>): boolean =>
  dataset instanceof TensorDataset || (dataset instanceof Subset && isImmediate(dataset.dataset));

/** The batch of some samples; a promise where the dataset or `make` returns one, which is refused if `sync`. */
function load<S, B>(
  dataset: Dataset<S>,
  make: ((samples: S[]) => B | Promise<B>) | undefined,
  indices: Int32Array,
  sync: boolean,
): B | Promise<B> {
  const wait = <V>(value: V | Promise<V>, what: string): V | Promise<V> => {
    if (!isThenable(value)) return value;
    value.then(undefined, () => {}); // reported below, or not asked for any more
    return sync ? fail('DataLoader', `${what} returned a promise`, 'use for await (… of loader)') : value;
  };
  if (make === undefined && dataset.getBatch !== undefined) {
    const name = () => `getBatch(${describe([...indices.subarray(0, 9)])}) of the dataset`;
    const batch = guard(() => dataset.getBatch!(indices), name);
    return wait(batch, 'getBatch of the dataset') as B | Promise<B>;
  }
  const together = (samples: S[]): B | Promise<B> =>
    make === undefined
      ? (collate('DataLoader', samples, (i) => `sample ${indices[i]} of the dataset`) as B)
      : wait(make(samples), 'collate');
  const samples = Array.from(indices, (index) => {
    const name = () => `get(${index}) of the dataset`;
    return wait(guard(() => dataset.get(index), name), name()); // biome-ignore format: one line
  });
  return samples.some(isThenable) ? Promise.all(samples).then(together) : together(samples as S[]);
}

/** What a function of the dataset returns; an error, also a later one, names the call. Errors of this library name theirs. */
function guard<V>(call: () => V | Promise<V>, name: () => string): V | Promise<V> {
  const failed = (cause: unknown): never => {
    if (cause instanceof TapegradError && cause.op.startsWith('TensorDataset')) throw cause;
    const message = cause instanceof Error ? cause.message : describe(cause);
    return fail('DataLoader', `${name()} failed: ${message}`, 'see the cause of this error', {
      cause,
    });
  };
  try {
    const value = call();
    return isThenable(value) ? Promise.resolve(value).catch(failed) : value;
  } catch (error) {
    return failed(error);
  }
}

const isThenable = (value: unknown): value is Promise<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function';
