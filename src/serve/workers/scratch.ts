import type { Allocator } from '../protocol/values.js';

/** The limit on numbers of memory kept between requests. */
const MAX_LENGTH = 16 * 2 ** 20;

/** Scratch memory that is reused after every clear, so that requests do not create garbage. */
export class Scratch implements Allocator {
  #memory = new Float32Array(2 ** 16);
  #used = 0;
  /** The numbers requested since the last clear. */
  #requested = 0;

  take(size: number): Float32Array {
    this.#requested += size;
    if (this.#used + size > this.#memory.length) return new Float32Array(size);
    this.#used += size;
    return this.#memory.subarray(this.#used - size, this.#used);
  }

  clear(): void {
    if (this.#requested > this.#memory.length && this.#memory.length < MAX_LENGTH)
      this.#memory = new Float32Array(Math.min(MAX_LENGTH, 2 ** Math.ceil(Math.log2(this.#requested))));
    this.#used = 0;
    this.#requested = 0;
  }
}
