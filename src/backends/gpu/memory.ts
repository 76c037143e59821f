import { copy, fill, identity } from '../../../kernels/gpu/layout.js';
import type { GpuKernel } from '../../../kernels/gpu/source.js';
import { fail, TapegradError } from '../../errors.js';
import type { Backend, Capture, Floats, MemoryInfo } from '../backend.js';
import type { Storage } from '../storage.js';
import { type CaptureBackend, CaptureSession, refuse } from './capture/session.js';
import { Pressure } from './pressure.js';
import { REMEDY, type Runtime, type RuntimeCapture } from './runtime.js';
import { Cell, GpuStorage, ownStorages } from './storage.js';

/** What kernels take. */
export type Argument = Cell | Float32Array | number;

/**
 * What the gpu backend stores. Every call returns at once: a storage holds a promise of its numbers, and what needs them
 * waits for it. Reading is the only thing that anybody has to await.
 */
export abstract class GpuMemory implements CaptureBackend {
  readonly device = 'gpu';
  readonly type = 'float32';
  readonly capture?: NonNullable<Backend['capture']>;

  /** What went wrong in a place that nobody awaits. */
  #failed: TapegradError | null = null;
  readonly #pressure = new Pressure(() => this.memory());
  /** While a function is being captured. */
  #session: CaptureSession | null = null;

  protected constructor(protected readonly runtime: Runtime) {
    if (runtime.beginCapture !== undefined) {
      this.capture = (inputs, fn) => this.#capture(runtime.beginCapture!(), inputs, fn);
    }
  }

  /** The backend that this is part of. */
  protected abstract get self(): Backend;

  get lost(): string | null {
    return this.runtime.lost;
  }

  /** The bytes of the largest tensor. */
  get largest(): number {
    return this.runtime.largest;
  }

  /**
   * Queues a kernel and returns what will hold its result.
   * @param kept what stays in its place if that fails; whoever reads next learns why
   * @internal
   */
  launch(kernel: GpuKernel, threads: number | number[], args: readonly Argument[], kept?: Cell): Cell {
    const cells = args.filter((a) => a instanceof Cell);
    for (const cell of cells) cell.use();
    kept?.use();
    const dimensions = typeof threads === 'number' ? [Math.max(threads, 1)] : threads;
    const session = this.#session;
    const capture = session?.runtime;
    const launch = async () => {
      try {
        const ready = await Promise.all(args.map((a) => (a instanceof Cell ? a.handle : a)));
        await this.#pressure.relief;
        return await this.runtime.run(kernel, dimensions, ready, capture);
      } catch (cause) {
        const error = failure(kernel.op, cause);
        if (kept === undefined) throw error;
        this.#failed ??= error;
        return (await kept.handle).clone();
      } finally {
        for (const cell of cells) cell.release();
        kept?.release();
      }
    };
    const cell = new Cell(launch(), kernel.op);
    session?.cells.push(cell);
    return cell;
  }

  protected run(kernel: GpuKernel, size: number, ...args: (Storage | Argument)[]): GpuStorage {
    const ready = args.map((a) => (a instanceof GpuStorage ? this.present(a) : (a as Argument)));
    return this.make(size, this.launch(kernel, size, ready));
  }

  /** The numbers of a storage on the device, brought there if only the host had them. @internal */
  present(storage: Storage): Cell {
    return this.#session?.cellOf(storage as GpuStorage) ?? this.cellOf(storage);
  }

  cellOf(storage: Storage): Cell {
    const x = storage as GpuStorage;
    if (x.freed) fail('storage', 'this storage has been freed', 'do not use a tensor after dispose()');
    x.cell ??= this.uncaptured(() => this.launch(identity, x.size, [x.known as Float32Array]));
    return x.cell;
  }

  copyCell(cell: Cell, size: number): Cell {
    return this.uncaptured(() => this.launch(copy(1), size, [cell, 1, 0]));
  }

  make(size: number, cell: Cell): GpuStorage {
    const storage = new GpuStorage(this.self, size, cell);
    this.#session?.made.add(storage);
    return storage;
  }

  /** Puts other numbers into a storage. @internal */
  replace(storage: Storage, cell: Cell): void {
    if (this.#session === null) (storage as GpuStorage).replace(cell);
    else this.#session.replace(storage as GpuStorage, cell);
  }

  /** Runs a function whose storages outlive a running capture, such as an optimizer's state. */
  uncaptured<T>(fn: () => T): T {
    const session = this.#session;
    this.#session = null;
    try {
      return fn();
    } finally {
      this.#session = session;
    }
  }

  #capture(
    runtime: RuntimeCapture,
    inputs: readonly Storage[],
    fn: (inputs: readonly Storage[]) => readonly Storage[],
  ): Capture {
    const own = inputs.map((x) => this.make(x.size, this.copyCell(this.cellOf(x), x.size)));
    const session = new CaptureSession(runtime, this, own);
    this.#session = session;
    let results: readonly GpuStorage[];
    try {
      results = fn(own) as readonly GpuStorage[];
    } catch (error) {
      session.abandon();
      throw error;
    } finally {
      this.#session = null;
    }
    return session.end(results);
  }

  upload(values: ArrayLike<number>): Storage {
    if (this.#session !== null) {
      refuse('makes a tensor from numbers of the host', 'make it before, or pass it to the step as an input');
    }
    // They go to the device when an operation first needs them there.
    const storage = new GpuStorage(this.self, values.length, null);
    storage.seen = { values: Float32Array.from(values), version: 0 };
    storage.own();
    return storage;
  }

  fill(size: number, value: number): Storage {
    const storage = this.run(fill, size, value);
    storage.own();
    return storage;
  }

  write(target: Storage, values: ArrayLike<number>): void {
    if (this.#session !== null) refuse('changes a tensor from the host', 'do it between two calls');
    const x = target as GpuStorage;
    const numbers = Float32Array.from(values);
    x.replace(this.launch(identity, x.size, [numbers]));
    x.seen = { values: numbers, version: x.version };
  }

  async read(x: Storage): Promise<Float32Array> {
    if (x.size === 0) return new Float32Array(0);
    this.#session?.addRead();
    const storage = x as GpuStorage;
    const { version } = storage;
    const cell = this.present(storage).use();
    try {
      const values = await (await cell.handle).toArray();
      const error = this.#failed ?? (await this.runtime.takeFailure());
      this.#failed = null;
      if (error !== null) throw error;
      const numbers = x.size === values.length ? values : values.slice(0, x.size);
      // What can change in place is kept in mind: it is what is left of it should the device be lost.
      if (version > 0) storage.seen = { values: numbers.slice(), version };
      return numbers;
    } catch (cause) {
      throw failure(cell.op, this.runtime.lost ?? cause);
    } finally {
      cell.release();
    }
  }

  hostCopy(x: Storage): Floats | null {
    const storage = x as GpuStorage;
    if (storage.known !== null || this.runtime.lost === null || storage.seen === null) return storage.known;
    console.warn(
      `tapegrad: ${x.size} numbers were lost with the GPU (${this.runtime.lost}); going on with those that the host saw last`,
    );
    return storage.seen.values;
  }

  async fetchAll(): Promise<void> {
    const unknown = ownStorages(this.self).filter((x) => x.known === null && x.cell !== null);
    await Promise.all(
      unknown.map(async (x) => {
        const { version } = x;
        try {
          const values = await this.read(x);
          x.seen = { values, version };
        } catch {
          // It says so when it is asked for.
        }
      }),
    );
  }

  free(x: Storage): void {
    if (this.#session === null) (x as GpuStorage).free();
    else this.#session.free(x as GpuStorage);
  }

  memory(): MemoryInfo {
    const { memory, compilations } = this.runtime;
    return { ...memory, compilations };
  }
}

/** An error of the device as one that names the operation; what was named before stays. */
function failure(op: string, cause: unknown): TapegradError {
  if (cause instanceof TapegradError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new TapegradError(op, `the GPU failed: ${message}`, REMEDY, { cause });
}
