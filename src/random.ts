import type { Storage } from './backends/storage.js';
import { checkNumber, fail } from './errors.js';

// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011): four 32-bit words from a key and a counter, so that any part of a stream can be
// computed independently.

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** High 32 bits of the 64-bit product of two unsigned 32-bit numbers: each partial product is exact in a double. */
function mulHigh(a: number, b: number): number {
  const low = (a * (b & 0xffff)) / 65536;
  return (a * (b >>> 16) + (low >>> 0)) / 65536;
}

/**
 * The ten rounds: writes four words for the counter (c0, c1, c2, c3) and the key (k0, k1) to out[at …]. The words are
 * signed between the rounds, since V8 allocates an object for each number beyond 2^31 while a function is new.
 */
export function philox(
  out: Uint32Array,
  at: number,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
): void {
  for (let round = 0; round < 10; round++) {
    const h0 = mulHigh(M0, c0);
    const h1 = mulHigh(M1, c2);
    const l0 = Math.imul(M0, c0);
    const l1 = Math.imul(M1, c2);
    c0 = h1 ^ c1 ^ k0;
    c1 = l1;
    c2 = h0 ^ c3 ^ k1;
    c3 = l0;
    k0 = (k0 + W0) | 0;
    k1 = (k1 + W1) | 0;
  }
  out[at] = c0;
  out[at + 1] = c1;
  out[at + 2] = c2;
  out[at + 3] = c3;
}

/** What a recorded step draws on the device, so that it draws other numbers each time it is replayed. */
export interface RecordedDraws {
  /** The words of the stream at the beginning of the step, in halves of 16 bits, on the device. */
  readonly position: Storage;
  /** How many blocks the step has drawn there. */
  blocks: number;
}

const MULTIPLIERS_AND_STEPS = [M0, M1, W0, W1];

/**
 * The words of a position of the stream and the constants, in halves of 16 bits: a float32 has 24 digits, and the kernel of the
 * GPU must not contain constants that overflow 31 bits.
 */
export function halves(words: readonly number[]): number[] {
  return [...words, ...MULTIPLIERS_AND_STEPS].flatMap((w) => [w & 0xffff, w >>> 16]);
}

/** A seeded stream of random numbers; its state is the seed and the position. */
export class Generator {
  /** Set while a step is recorded whose operations will be replayed. */
  recorded: RecordedDraws | null = null;
  readonly #words = new Uint32Array(4);
  #seed = 0;
  /** The number of blocks of four words drawn so far. */
  #block = 0;

  constructor(seed: number) {
    this.seed(seed);
  }

  /** Starts the stream of `seed` (an integer of magnitude less than 2^53) from its beginning. */
  seed(seed: number): void {
    if (!Number.isSafeInteger(seed))
      fail('manualSeed', `seed is ${String(seed)}`, 'pass an integer of magnitude less than 2^53');
    this.#seed = seed;
    this.#block = 0;
  }

  /** The seed and the position, from which another generator continues the stream; serializable as JSON. */
  get state(): { seed: number; block: number } {
    return { seed: this.#seed, block: this.#block };
  }

  set state(state: { seed: number; block: number }) {
    this.seed(checkNumber('random state', 'seed', state.seed));
    this.#block = checkNumber('random state', 'block', state.block, 0);
  }

  /** The two words of the key, and the two of the counter that can differ from 0. */
  get words(): [number, number, number, number] {
    const [seed, block] = [this.#seed, this.#block];
    return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, block >>> 0, Math.floor(block / 2 ** 32) >>> 0];
  }

  /** Passes over blocks that were computed elsewhere. */
  skip(blocks: number): void {
    this.#block += blocks;
  }

  #next(): Uint32Array {
    const low = this.#seed >>> 0;
    const high = Math.floor(this.#seed / 2 ** 32) >>> 0;
    philox(this.#words, 0, this.#block >>> 0, Math.floor(this.#block / 2 ** 32) >>> 0, 0, 0, low, high);
    this.#block++;
    return this.#words;
  }

  /** Fills `out` with numbers uniform in [0, 1), multiples of 2^-24. */
  uniform<T extends Float32Array | Float64Array>(out: T): T {
    for (let i = 0; i < out.length; i += 4) {
      const w = this.#next();
      for (let j = 0; j < 4 && i + j < out.length; j++) out[i + j] = (w[j] >>> 8) * 2 ** -24;
    }
    return out;
  }

  /** Fills `out` with standard normal numbers (Box and Muller's transform). */
  normal<T extends Float32Array | Float64Array>(out: T): T {
    for (let i = 0; i < out.length; i += 4) {
      const w = this.#next();
      for (let j = 0; j < 4 && i + j < out.length; j += 2) {
        const radius = Math.sqrt(-2 * Math.log((w[j] + 1) * 2 ** -32));
        const angle = 2 * Math.PI * w[j + 1] * 2 ** -32;
        out[i + j] = radius * Math.cos(angle);
        if (i + j + 1 < out.length) out[i + j + 1] = radius * Math.sin(angle);
      }
    }
    return out;
  }

  /** A random order of 0 … n - 1 (Fisher and Yates). */
  permutation(n: number): Int32Array {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const w = this.#next();
      const j = Math.floor(((w[0] >>> 5) * 2 ** 26 + (w[1] >>> 6)) * 2 ** -53 * (i + 1));
      const held = order[i];
      order[i] = order[j];
      order[j] = held;
    }
    return order;
  }

  /** A random integer, uniform in [0, 2^32). */
  word(): number {
    return this.#next()[0];
  }
}

/** The generator of rand, randn, initial weights and shuffles without a seed. */
export const generator = /* @__PURE__ */ new Generator(/* @__PURE__ */ Math.floor(Math.random() * 2 ** 32));

/**
 * Seeds the global random stream. The same seed leads to the same numbers on every device and for any number of threads. As
 * [torch.manual_seed](https://docs.pytorch.org/docs/stable/generated/torch.manual_seed.html).
 * @param seed an integer of magnitude less than 2^53
 * @throws TapegradError for a seed that is not such an integer
 * @example
 * ```ts
 * import { manualSeed, randn } from 'tapegrad';
 *
 * manualSeed(7);
 * console.log(String(randn([3]))); // the same in every run
 * ```
 */
export function manualSeed(seed: number): void {
  generator.seed(seed);
}
