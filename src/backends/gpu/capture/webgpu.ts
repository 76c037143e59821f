import { type BufferPool, type GpuBuffer, RESULT } from '../pool.js';
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

/** A capture on WebGPU: the dispatches of kernels, and the buffers that they touch. */
export class WebGpuCapture implements RuntimeCapture {
  readonly #dispatches: Dispatch[] = [];
  readonly #buffers = new Set<GpuBuffer>();

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

  replay(
    copiesIn: readonly (readonly [BufferHandle, BufferHandle])[],
    results: readonly BufferHandle[],
    carried: readonly (readonly [BufferHandle, BufferHandle])[],
  ): Handle[] {
    const lost = this.lost();
    if (lost !== null) throw new Error(lost);
    const fresh = results.map((result) => this.#like(result));
    for (const [inside, outside] of copiesIn) this.#copy(outside.buffer, inside.buffer);
    for (const dispatch of this.#dispatches) this.device.dispatch(dispatch);
    for (const [i, { buffer }] of results.entries()) this.#copy(buffer, fresh[i].buffer);
    for (const [before, after] of carried) this.#copy(after.buffer, before.buffer);
    return fresh;
  }

  errorOf(handle: BufferHandle): Promise<Error | null> | null {
    return this.device.errorOf(handle.buffer);
  }

  #copy(from: GpuBuffer, to: GpuBuffer): void {
    if (from === to) return;
    this.device.copy(from, 0, to, 0, Math.min(from.size, to.size));
  }

  /** Another array of the same size. */
  #like(handle: BufferHandle): BufferHandle {
    const buffer = this.device.createBuffer({ size: handle.buffer.size, usage: RESULT });
    const Class = handle.constructor as new (settings: object) => BufferHandle;
    (buffer as { _refs?: number })._refs = 0;
    return new Class({ ...handle, buffer });
  }

  destroy(): void {
    this.#dispatches.length = 0;
    for (const buffer of this.#buffers) this.pool.release(buffer);
    this.#buffers.clear();
  }
}
