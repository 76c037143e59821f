import { copy, fill, identity } from '../../../kernels/gpu/layout.js';
import type { GpuKernel } from '../../../kernels/gpu/source.js';
import { fail, show, TapegradError } from '../../errors.js';
import type { Backend, Capture, Floats, MemoryInfo } from '../backend.js';
import type { Storage } from '../storage.js';
import { type CaptureBackend, CaptureSession, refuse } from './capture/session.js';
import { Pressure } from './pressure.js';
import { type Handle, REMEDY, type Runtime, type Argument as RuntimeArgument, type RuntimeCapture } from './runtime.js';
import { Snapshots } from './snapshot.js';
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

  readonly #pressure = new Pressure(() => this.runtime.memory);
  readonly #snapshots = new Snapshots(
    () => ownStorages(this.self).filter((x) => x.known !== null || x.cell !== null),
    (x) => this.#read(x, false),
    () => this.runtime.lost !== null,
  );
  /** Whether it was said that the numbers are old. */
  #warned = false;
  /** While a function is being captured. */
  #session: CaptureSession | null = null;

  protected constructor(protected readonly runtime: Runtime) {
    if (runtime.beginCapture !== undefined) {
      this.capture = (inputs, fn) => this.#capture(runtime.beginCapture!(), inputs, fn);
    }
  }

  /** The backend that this is part of. */
  protected abstract get self(): Backend;

  /** What checks on the device have found and nobody was told; null at once if there was no check. */
  protected abstract complaint(): Promise<TapegradError | null> | null;
  /** Notes that it was told. */
  protected abstract complained(): void;

  get lost(): string | null {
    return this.runtime.lost;
  }

  /** The bytes of the largest tensor. */
  get largest(): number {
    return this.runtime.largest;
  }

  /**
   * Queues a kernel and returns what will hold its result.
   * @param kept what stays in its place if that fails; who reads it next learns why
   * @internal
   */
  launch(kernel: GpuKernel, threads: number | number[], args: readonly Argument[], kept?: Cell): Cell {
    const dimensions = typeof threads === 'number' ? [Math.max(threads, 1)] : threads;
    const queued = this.#queueNow(kernel, dimensions, args);
    if (queued !== null && (kept === undefined || this.runtime.errorOf(queued) === null)) {
      const cell = new Cell(queued, kernel.op);
      cell.unchanged = kept?.unchanged ?? null;
      return cell;
    }
    // All kernels of a first step are compiled at a time, although they wait for each other's results.
    this.runtime.prepare?.(kernel);
    const cells = args.filter((a) => a instanceof Cell);
    for (const cell of cells) cell.use();
    kept?.use();
    const session = this.#session;
    const capture = session?.runtime;
    const queue = async () => {
      const ready = await Promise.all(args.map((a) => (a instanceof Cell ? a.handle : a)));
      await this.#pressure.relief;
      return this.runtime.run(kernel, dimensions, ready, capture);
    };
    const launch = async () => {
      try {
        const handle = queued ?? (await queue());
        // What is to replace other numbers must be known to be good before those are given back.
        const error = kept === undefined ? null : await this.runtime.errorOf(handle);
        if (error === null) {
          // What nobody was told yet is told of what follows from it.
          cell.unchanged = kept?.unchanged ?? null;
          return handle;
        }
        handle.delete();
        throw error;
      } catch (cause) {
        const error = failure(kernel.op, cause);
        if (kept === undefined) throw error;
        const handle = (await kept.handle).clone();
        cell.unchanged = error;
        if (this.runtime.lost === null) console.warn(`tapegrad: ${error.message}; what was to change kept its numbers`);
        return handle;
      } finally {
        for (const cell of cells) cell.release();
        kept?.release();
      }
    };
    const cell: Cell = new Cell(launch(), kernel.op);
    session?.cells.push(cell);
    session?.launched.push({ kernel, threads: dimensions, args, cell });
    return cell;
  }

  runIn(capture: RuntimeCapture, kernel: GpuKernel, threads: number, args: readonly Handle[]): Promise<Handle> {
    return this.runtime.run(kernel, [threads], [...args], capture);
  }

  /** Queues a kernel at once; null if it must wait for something, or was never called like this. */
  #queueNow(kernel: GpuKernel, threads: readonly number[], args: readonly Argument[]): Handle | null {
    if (this.runtime.again === undefined || this.#session !== null) return null;
    const ready: RuntimeArgument[] = [];
    for (const a of args) {
      const known = a instanceof Cell ? a.now : a;
      if (known === null) return null;
      ready.push(known);
    }
    return this.#pressure.relief === null ? this.runtime.again(kernel, threads, ready) : null;
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

  /** The numbers of a cell, or those from before if they turn out to have failed. @internal */
  orBefore(next: Cell, before: Cell): Cell {
    if (this.#session === null && next.now !== null && this.runtime.errorOf(next.now) === null) {
      return new Cell(next.now.clone(), next.op);
    }
    next.use();
    before.use();
    const settle = async () => {
      try {
        const handle = await next.handle;
        const error = await this.runtime.errorOf(handle);
        if (error !== null) throw error;
        return handle.clone();
      } catch (cause) {
        cell.unchanged = failure(next.op, cause);
        return (await before.handle).clone();
      } finally {
        next.release();
        before.release();
      }
    };
    const cell: Cell = new Cell(settle(), next.op);
    this.#session?.cells.push(cell);
    return cell;
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
    x.replace(this.launch(identity, x.size, [numbers], x.cell ?? undefined));
    x.seen = { values: numbers, version: x.version };
  }

  read(x: Storage): Promise<Float32Array> {
    this.#session?.addRead();
    const reading = this.#read(x as GpuStorage, this.#session === null);
    if (this.#session === null) this.#snapshots.consider(x.version > 0);
    return reading;
  }

  /** @param tell whether what is told once is told to this reader */
  async #read(storage: GpuStorage, tell: boolean): Promise<Float32Array> {
    if (storage.size === 0) return new Float32Array(0);
    const { version } = storage;
    const cell = this.present(storage).use();
    try {
      const complaint = tell ? this.complaint() : null;
      const handle = await cell.handle;
      const report = this.runtime.errorOf(handle);
      const values = await this.runtime.read(handle);
      // A device that was lost meanwhile can have given zeros.
      if (this.runtime.lost !== null) throw new Error(this.runtime.lost);
      const error = (await report) ?? (tell ? cell.unchanged : null);
      if (tell) cell.unchanged = null;
      if (error !== null) throw error;
      const found = await complaint;
      if (found !== null) {
        this.complained();
        throw found;
      }
      const other = tell ? this.runtime.takeFailure() : null;
      if (other !== null) throw other;
      const numbers = storage.size === values.length ? values : values.slice(0, storage.size);
      // With this, to(device) works once a tensor has been read.
      if ((storage.seen?.version ?? 0) <= version) storage.seen = { values: numbers.slice(), version };
      return numbers;
    } catch (cause) {
      throw failure(cell.op, this.runtime.lost ?? cause);
    } finally {
      cell.release();
    }
  }

  hostCopy(x: Storage): Floats | null {
    const storage = x as GpuStorage;
    const { version, saved } = storage;
    const current = storage.known ?? (saved?.version === version ? saved.values : null);
    if (this.runtime.lost === null) return current;
    // Results are of any moment. What was changed since a snapshot is given as of that moment only, also where the host has
    // later numbers of some of it.
    if (!storage.isOwn) return null;
    if (saved === null || saved.version === version) return current;
    if (!this.#warned) {
      this.#warned = true;
      const age = ((performance.now() - this.#snapshots.at!) / 1000).toFixed(1);
      console.warn(
        `tapegrad: the numbers on the GPU were lost (${this.runtime.lost}). Parameters and optimizer state go on as of the last snapshot, which is ${age} s old: ${version - saved.version} updates are lost. A checkpoint may be newer.`,
      );
    }
    return saved.values;
  }

  unreadable(op: string, shape: readonly number[]): never {
    const what = `the tensor of shape ${show(shape)} was computed or changed on the device 'gpu'`;
    if (this.runtime.lost !== null)
      fail(op, `${what}, which was lost`, 'load a checkpoint: no snapshot has its numbers', { shapes: [shape] });
    const remedy = "await x.data() first; for parameters, await useDevice('cpu')";
    fail(op, `${what}, which the host cannot read without waiting`, remedy, { shapes: [shape] });
  }

  async fetchAll(): Promise<void> {
    if (this.runtime.lost === null) await this.#snapshots.take();
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
