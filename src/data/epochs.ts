import { checkInteger } from '../errors.js';
import { generator, Generator as RandomStream } from '../random.js';

/** The state of a {@link DataLoader} or of a random sampler, serializable as JSON. */
export interface EpochState {
  /** The seed of the orders of all epochs. */
  seed: number;
  /** The number of epochs started. */
  epoch: number;
}

/** A seed and the number of epochs started, which determine the random orders of all further epochs. */
export class Epochs {
  readonly #op: string;
  #seed: number;
  #epoch = 0;

  /** Without a seed, one is drawn from the global random stream. */
  constructor(op: string, seed: number | undefined) {
    this.#op = op;
    this.#seed = seed === undefined ? generator.word() : checkInteger(op, 'seed', seed, 0);
  }

  /** Starts an epoch. Returns its random stream. */
  next(): RandomStream {
    // Each epoch has its own segment of the stream, so that an epoch can be resumed without running the ones before it.
    const stream = new RandomStream(this.#seed);
    stream.state = { seed: this.#seed, block: this.#epoch++ * 2 ** 32 };
    return stream;
  }

  get state(): EpochState {
    return { seed: this.#seed, epoch: this.#epoch };
  }

  set state(state: EpochState) {
    const seed = checkInteger(this.#op, 'state.seed', state?.seed, 0);
    this.#epoch = checkInteger(this.#op, 'state.epoch', state?.epoch, 0);
    this.#seed = seed;
  }
}

/** The indices 0 … n - 1. */
export const inOrder = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i);
