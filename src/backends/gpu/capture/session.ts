import type { GpuKernel } from '../../../../kernels/gpu/source.js';
import { fail } from '../../../errors.js';
import type { Capture } from '../../backend.js';
import type { Storage } from '../../storage.js';
import type { Handle, RuntimeCapture } from '../runtime.js';
import type { Cell, GpuStorage } from '../storage.js';
import type { Launched } from './fuse.js';
import { GpuCapture } from './replay.js';

/** What a capture needs of its backend. */
export interface CaptureBackend {
  /** A copy of its own, which is not captured. */
  copyCell(cell: Cell, size: number): Cell;
  make(size: number, cell: Cell): GpuStorage;
  cellOf(storage: Storage): Cell;
  /** Runs a kernel as a part of a capture. */
  runIn(capture: RuntimeCapture, kernel: GpuKernel, threads: number, args: readonly Handle[]): Promise<Handle>;
}

/** Refuses what cannot be captured. */
export function refuse(what: string, remedy: string): never {
  fail('compile', `the step ${what}, which cannot be captured`, remedy);
}

/** What a function does while it is captured. */
export class CaptureSession {
  readonly made = new Set<GpuStorage>();
  /** The storages from outside that the function used, with copies that stand for them in the capture. */
  readonly outer = new Map<GpuStorage, Cell>();
  /** The numbers that storages from outside have now, as far as the function has changed them. */
  readonly changed = new Map<GpuStorage, Cell>();
  readonly cells: Cell[] = [];
  /** The kernels of the function. */
  readonly launched: Launched[] = [];

  #reads = false;

  /** @param inputs the function's own copies of its inputs */
  constructor(
    readonly runtime: RuntimeCapture,
    private readonly backend: CaptureBackend,
    private readonly inputs: readonly GpuStorage[],
  ) {
    for (const x of inputs) this.made.add(x);
  }

  /** The numbers of a storage as the function sees them. */
  cellOf(x: GpuStorage): Cell | null {
    if (this.made.has(x)) return null;
    const changed = this.changed.get(x);
    if (changed !== undefined) return changed;
    let own = this.outer.get(x);
    if (own === undefined) {
      own = this.backend.copyCell(this.backend.cellOf(x), x.size);
      this.outer.set(x, own);
    }
    return own;
  }

  /** A read is a promise, so what is wrong with it is said at the end. */
  addRead(): void {
    this.#reads = true;
  }

  replace(x: GpuStorage, cell: Cell): void {
    if (this.inputs.includes(x)) refuse('changes an input in place', 'clone() it first');
    if (this.made.has(x)) {
      x.replace(cell);
      return;
    }
    x.version++;
    this.changed.get(x)?.release();
    this.changed.set(x, cell);
  }

  free(x: GpuStorage): void {
    if (this.outer.has(x)) {
      refuse('drops a tensor from before', 'do that outside of it');
    }
    x.free();
  }

  /** Ends the session; `results` are the storages that the function returned. */
  end(results: readonly GpuStorage[]): Capture {
    if (this.#reads) {
      this.abandon();
      refuse('reads a tensor', 'read what it returns, outside of it');
    }
    return new GpuCapture(this, this.backend, this.inputs, results);
  }

  /** Gives everything back; storages from outside keep the numbers that they had. */
  abandon(): void {
    for (const x of this.made) x.free();
    for (const cell of this.changed.values()) cell.release();
    for (const own of this.outer.values()) own.release();
    void this.queued().then(() => this.runtime.destroy());
  }

  /** Ends when all that was called has been queued, or has failed. */
  async queued(): Promise<void> {
    await Promise.allSettled(this.cells.map((cell) => cell.handle));
  }
}
