import type { MemoryInfo } from '../backend.js';

// The engine collects garbage when JavaScript's heap has grown, and knows nothing of the device's memory. When much of that
// may wait for a collection, this makes one happen: a large array that nobody touches costs no memory, but counts.

/** How much may come to what was there after the last collection. */
const ALLOWANCE: MemoryInfo = { blocks: 1536, bytes: 2 ** 28 };
const ARRAY_BYTES = 2 ** 27;
const MOST_TRIES = 4;

export class Pressure {
  #floor: MemoryInfo = { blocks: 0, bytes: 0 };
  #relief: Promise<void> | null = null;

  /** @param memory what is on the device now */
  constructor(
    private readonly memory: () => MemoryInfo,
    private readonly allowance = ALLOWANCE,
  ) {}

  /** Something to wait for before more is put on the device, if there is too much. */
  get relief(): Promise<void> | null {
    if (this.#relief !== null) return this.#relief;
    const { blocks, bytes } = this.memory();
    const excess = Math.max(
      (blocks - this.#floor.blocks) / this.allowance.blocks,
      (bytes - this.#floor.bytes) / Math.max(this.allowance.bytes, this.#floor.bytes / 2),
    );
    if (excess > 1) this.#relief = this.#collect();
    return this.#relief;
  }

  async #collect(): Promise<void> {
    const { blocks } = this.memory();
    for (let tries = 0; tries < MOST_TRIES && this.memory().blocks >= blocks; tries++) {
      new ArrayBuffer(ARRAY_BYTES);
      // Not a microtask: the engine tells of what it has collected between tasks.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    this.#floor = this.memory();
    this.#relief = null;
  }
}
