import type { Room } from './protocol.js';

/** Numbers up to this many are kept between requests. */
const MOST = 16 * 2 ** 20;

/** Memory that is used again after every clear, so that requests leave no garbage for the collector. */
export class Scratch implements Room {
  #memory = new Float32Array(2 ** 16);
  #used = 0;
  /** What would have been needed since the last clear. */
  #wanted = 0;

  take(size: number): Float32Array {
    this.#wanted += size;
    if (this.#used + size > this.#memory.length) return new Float32Array(size);
    this.#used += size;
    return this.#memory.subarray(this.#used - size, this.#used);
  }

  clear(): void {
    if (this.#wanted > this.#memory.length && this.#memory.length < MOST)
      this.#memory = new Float32Array(Math.min(MOST, 2 ** Math.ceil(Math.log2(this.#wanted))));
    this.#used = 0;
    this.#wanted = 0;
  }
}
