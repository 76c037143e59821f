import type { Backend, Floats } from '../backend.js';
import { Storage } from '../storage.js';
import type { Handle } from './runtime.js';
import type { Saved } from './snapshot.js';

/** Numbers that are on the device, or will be when it has come to them. They never change. */
export class Cell {
  /** Why they are those from before a change in place that failed; told once, to who reads them first. */
  unchanged: Error | null = null;
  /** The array, once its kernel has been queued. */
  now: Handle | null = null;
  #handle: Promise<Handle> | null = null;
  /** Operations that have been called and not yet queued, and holders. */
  #users = 1;

  /**
   * @param handle the array, or a promise of it
   * @param op what makes them, for errors
   */
  constructor(
    handle: Promise<Handle> | Handle,
    readonly op: string,
  ) {
    if (!(handle instanceof Promise)) {
      this.now = handle;
      return;
    }
    this.#handle = handle;
    handle.then(
      (h) => {
        this.now = h;
      },
      // Whoever reads it learns what went wrong.
      () => {},
    );
  }

  /** The array, when its kernel has been queued. */
  get handle(): Promise<Handle> {
    this.#handle ??= Promise.resolve(this.now!);
    return this.#handle;
  }

  use(): this {
    this.#users++;
    return this;
  }

  /** The last one to let go gives the buffer back. */
  release(): void {
    if (--this.#users > 0) return;
    if (this.now !== null) this.now.delete();
    else this.#handle!.then((h) => h.delete()).catch(() => {});
  }
}

/** What a storage of the gpu backend holds; not the storage itself, so that it can be given back after its collection. */
interface Held {
  cell: Cell | null;
  weak: WeakRef<GpuStorage> | null;
}

/** Gives back what tensors held that were collected. */
const collected = /* @__PURE__ */ new FinalizationRegistry<Held>((held) => {
  held.cell?.release();
  if (held.weak !== null) living.delete(held.weak);
});

/** The storages with numbers of their own: what was put in or changed in place, not what was computed. */
const living = /* @__PURE__ */ new Set<WeakRef<GpuStorage>>();

/** Numbers that the host has seen, as of the version. */
interface Seen {
  readonly values: Floats;
  readonly version: number;
}

/** A storage of the gpu backend; in-place changes put another cell in. */
export class GpuStorage extends Storage {
  seen: Seen | null = null;
  /** Its numbers in the last snapshot. */
  saved: Saved | null = null;
  freed = false;
  readonly #held: Held;

  constructor(
    readonly backend: Backend,
    readonly size: number,
    cell: Cell | null,
  ) {
    super();
    this.#held = { cell, weak: null };
    collected.register(this, this.#held);
  }

  /** null for numbers that only the host has so far. */
  get cell(): Cell | null {
    return this.#held.cell;
  }

  set cell(cell: Cell) {
    this.#held.cell = cell;
  }

  /** What the host knows of the present numbers. */
  get known(): Floats | null {
    return this.seen !== null && this.seen.version === this.version ? this.seen.values : null;
  }

  /** Another cell in place of the present one, as an in-place change. */
  replace(cell: Cell): void {
    this.#held.cell?.release();
    this.#held.cell = cell;
    this.version++;
    this.own();
  }

  /** Whether `ownStorages` lists it. */
  get isOwn(): boolean {
    return this.#held.weak !== null;
  }

  /** Makes `ownStorages` list it. */
  own(): void {
    if (this.#held.weak !== null) return;
    this.#held.weak = new WeakRef(this);
    living.add(this.#held.weak);
  }

  free(): void {
    this.freed = true;
    this.#held.cell?.release();
    this.#held.cell = null;
    this.seen = null;
    this.saved = null;
    if (this.#held.weak !== null) living.delete(this.#held.weak);
    this.#held.weak = null;
  }
}

/** The living storages with numbers of their own. */
export function ownStorages(backend: Backend): GpuStorage[] {
  const found: GpuStorage[] = [];
  for (const weak of living) {
    const storage = weak.deref();
    if (storage !== undefined && storage.backend === backend) found.push(storage);
  }
  return found;
}
