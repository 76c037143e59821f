import type { Floats } from '../backend.js';
import type { GpuStorage } from './storage.js';
import { later } from './tasks.js';

// What is left of parameters and optimizer state should the device be lost: their numbers of one moment, on the host.

/** The numbers of a storage as of the last snapshot, which is the same for all storages. */
export interface Saved {
  readonly values: Floats;
  readonly version: number;
}

/** A snapshot may take this share of the time between two of them. */
const SHARE = 0.05;
/** Milliseconds after which a read of a result, such as a loss, takes one as well. */
const INTERVAL = 10_000;
/** More bytes are not copied without being asked: large models are saved by checkpoints. */
const MOST_BYTES = 2 ** 29;

/** Takes the snapshots of a backend. */
export class Snapshots {
  /** When the last one was taken, in milliseconds of performance.now(); null before the first one. */
  at: number | null = null;
  /** What the last one took. */
  #duration = 0;
  readonly #started = performance.now();
  #running: Promise<void> | null = null;

  /**
   * @param storages lists those with numbers of their own
   * @param read copies the numbers of one to the host
   * @param isLost whether the device is gone: then there is nothing to take
   */
  constructor(
    private readonly storages: () => readonly GpuStorage[],
    private readonly read: (x: GpuStorage) => Promise<Floats>,
    private readonly isLost: () => boolean,
  ) {}

  /** Takes a snapshot if one is due, at a read of a parameter or state (`own`) or of something else. */
  consider(own: boolean): void {
    if (this.#running !== null || this.isLost()) return;
    const since = performance.now() - (this.at ?? this.#started);
    if (!own && since < INTERVAL) return;
    if (this.at !== null && since * SHARE < this.#duration) return;
    const storages = this.storages();
    const copied = storages.reduce((bytes, x) => bytes + (x.known === null ? 4 * x.size : 0), 0);
    if (copied <= MOST_BYTES) void this.take(storages);
  }

  /** Takes a snapshot, of this moment. Without the numbers of all storages there is none. */
  take(storages = this.storages()): Promise<void> {
    const taken = this.#take(storages).finally(() => {
      if (this.#running === taken) this.#running = null;
    });
    this.#running = taken;
    return taken;
  }

  async #take(storages: readonly GpuStorage[]): Promise<void> {
    const at = performance.now();
    const copies = storages.map((x): Saved | Promise<Saved> => {
      const { version, known } = x;
      return known !== null ? { values: known, version } : this.read(x).then((values) => ({ values, version }));
    });
    const results = await Promise.allSettled(copies);
    this.#duration = performance.now() - at;
    const saved = results.map((r) => (r.status === 'fulfilled' ? r.value : null));
    // A storage whose numbers failed is no part of a training run that goes on. After a loss the last snapshot stays.
    if (saved.includes(null)) {
      // A device fails its reads a moment before it says that it is lost.
      for (let i = 0; i < 2; i++) await new Promise<void>(later);
      if (this.isLost()) return;
    }
    if (this.at !== null && this.at > at) return;
    for (const [i, x] of storages.entries()) x.saved = saved[i];
    this.at = at;
  }
}
