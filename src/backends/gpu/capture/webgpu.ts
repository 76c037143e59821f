import type { BufferPool, GpuBuffer } from '../pool.js';
import type { Handle, RuntimeCapture } from '../runtime.js';
import type { CapturableDevice, Dispatch } from './device.js';

/** An array as gpu.js has it on WebGPU. */
export interface BufferHandle extends Handle {
  readonly buffer: GpuBuffer;
  /** How many numbers there are at each place. */
  componentCount: number;
  /** The kernel that made it, and the buffers that gpu.js reads its results by. */
  readonly kernel: { stagingPool: { readonly buffer: GpuBuffer }[] };
}

/** How many of the buffers that a result had are remembered. */
const MOST_LAST = 4;

/** A buffer that is made for every replay, for a result of an operation. */
interface Made {
  readonly op: string;
  readonly size: number;
  /** The last ones. */
  readonly last: GpuBuffer[];
}

/** A captured dispatch with its buffers, or with the numbers of those that every replay has anew. */
interface Planned {
  readonly dispatch: Dispatch;
  readonly buffers: readonly (GpuBuffer | number)[];
}

/**
 * A capture on WebGPU: the dispatches of kernels, and the buffers that they touch. Those that hold what is given, and those of
 * results, are other ones in every replay, so that nothing is copied. The rest belongs to the capture.
 */
export class WebGpuCapture implements RuntimeCapture {
  readonly #dispatches: Dispatch[] = [];
  readonly #buffers = new Set<GpuBuffer>();
  #plan: readonly Planned[] = [];
  /** The sizes of the buffers that are made for a replay. */
  #made: readonly Made[] = [];
  /** The results, each with the number of its buffer: those that are given come first, then those that are made. */
  #results: readonly (readonly [like: BufferHandle, number: number])[] = [];

  /** @param lost says why the device is gone, if it is */
  constructor(
    private readonly device: CapturableDevice,
    private readonly pool: BufferPool,
    private readonly lost: () => string | null,
  ) {}

  /** Captures what `queue` submits at once; the buffers that it touches are kept. */
  add<T>(queue: () => T): T {
    const before = this.#dispatches.length;
    const result = this.device.captureInto(this.#dispatches, queue);
    for (const { buffers } of this.#dispatches.slice(before)) {
      for (const buffer of buffers) {
        this.pool.keep(buffer);
        this.#buffers.add(buffer);
      }
    }
    return result;
  }

  finish(given: readonly BufferHandle[], results: readonly BufferHandle[]): void {
    const numbers = new Map(given.map(({ buffer }, i) => [buffer, i]));
    const made: Made[] = [];
    for (const { buffer } of results) {
      if (numbers.has(buffer)) continue;
      numbers.set(buffer, given.length + made.length);
      const op = this.#dispatches.find((d) => d.buffers[d.output] === buffer)?.op ?? '';
      made.push({ op, size: buffer.size, last: [] });
    }
    this.#made = made;
    this.#results = results.map((result) => [result, numbers.get(result.buffer)!]);
    this.#plan = this.#dispatches.map((dispatch) => ({
      dispatch,
      buffers: dispatch.buffers.map((buffer) => numbers.get(buffer) ?? buffer),
    }));
    const own = new Set(this.#plan.flatMap((p) => p.buffers));
    for (const buffer of this.#buffers) {
      if (own.has(buffer)) continue;
      // It belongs to others from now on.
      this.#buffers.delete(buffer);
      this.pool.release(buffer);
    }
  }

  substitute(fresh: BufferHandle, outputs: readonly BufferHandle[]): void {
    const at = this.#dispatches.findLastIndex((d) => d.buffers[d.output] === fresh.buffer);
    const [dispatch] = this.#dispatches.splice(at, 1);
    const replaced = outputs.map(({ buffer }) => buffer);
    const last = replaced.at(-1);
    const kept = this.#dispatches.flatMap((d) => {
      const output = d.buffers[d.output];
      if (!replaced.includes(output)) return [d];
      if (output !== last) return [];
      return [{ ...dispatch, buffers: dispatch.buffers.map((b) => (b === fresh.buffer ? output : b)), bound: [] }];
    });
    this.#dispatches.splice(0, Infinity, ...kept);
  }

  replay(given: readonly BufferHandle[]): Handle[] {
    const lost = this.lost();
    if (lost !== null) throw new Error(lost);
    // Parameters go to and fro between two buffers. Other results must not take these.
    const claimed = this.#made.map(({ last }) => this.device.claim(last));
    const anew = given.map(({ buffer }) => buffer);
    for (const [i, made] of this.#made.entries()) {
      const buffer = claimed[i] ?? this.device.createResult(made.size, made, made.op);
      anew.push(buffer);
      if (claimed[i] !== undefined) continue;
      made.last.push(buffer);
      if (made.last.length > MOST_LAST) made.last.shift();
    }
    for (const { dispatch, buffers } of this.#plan) {
      this.device.dispatch(
        dispatch,
        buffers.map((b) => (typeof b === 'number' ? anew[b] : b)),
      );
    }
    return this.#results.map(([result, i]) => (i < given.length ? given[i].clone() : like(result, anew[i])));
  }

  errorOf(handle: BufferHandle): Promise<Error | null> | null {
    return this.device.errorOf(handle.buffer);
  }

  destroy(): void {
    this.#dispatches.length = 0;
    this.#plan = [];
    for (const buffer of this.#buffers) this.pool.release(buffer);
    this.#buffers.clear();
  }
}

/** An array as another one, in a buffer of its size. */
function like(handle: BufferHandle, buffer: GpuBuffer): BufferHandle {
  const Class = handle.constructor as new (settings: object) => BufferHandle;
  return new Class({ ...handle, buffer });
}
