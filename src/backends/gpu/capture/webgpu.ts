import { type BufferPool, type GpuBuffer, RESULT } from '../pool.js';
import type { Handle, RuntimeCapture } from '../runtime.js';
import type { CapturableDevice, CapturedPass } from './device.js';
import { type Copy, PassList } from './passes.js';

/** An array as gpu.js has it on WebGPU. */
export interface BufferHandle extends Handle {
  readonly buffer: GpuBuffer;
  /** How many numbers there are at each place. */
  componentCount: number;
}

/** A capture on WebGPU: the passes of kernels, and the buffers that they touch. */
export class WebGpuCapture implements RuntimeCapture {
  readonly #passes: CapturedPass[] = [];
  readonly #buffers = new Set<GpuBuffer>();
  #list: PassList | null = null;

  /** @param lost says why the device is gone, if it is */
  constructor(
    private readonly device: CapturableDevice,
    private readonly pool: BufferPool,
    private readonly lost: () => string | null,
  ) {}

  /** Captures what `queue` submits at once; the buffers that it touches are kept. */
  add<T>(queue: () => T): T {
    const before = this.#passes.length;
    const result = this.device.captureInto(this.#passes, queue);
    for (const { group, written } of this.#passes.slice(before)) {
      for (const { resource } of group.entries) {
        if (written.has(resource.buffer)) continue;
        this.pool.keep(resource.buffer);
        this.#buffers.add(resource.buffer);
      }
    }
    return result;
  }

  end(): void {
    this.#list = new PassList(this.device, this.#passes);
    this.#passes.length = 0;
  }

  replay(
    copiesIn: readonly (readonly [BufferHandle, BufferHandle])[],
    results: readonly BufferHandle[],
    carried: readonly (readonly [BufferHandle, BufferHandle])[],
  ): Handle[] {
    const lost = this.lost();
    if (lost !== null) throw new Error(lost);
    const fresh = results.map((result) => this.#like(result));
    this.#list!.submit(
      copiesIn.map(([inside, outside]) => [inside.buffer, outside.buffer]),
      [
        ...results.map((result, i): Copy => [result.buffer, fresh[i].buffer]),
        ...carried.map(([before, after]): Copy => [after.buffer, before.buffer]),
      ],
    );
    return fresh;
  }

  /** Another array of the same size. */
  #like(handle: BufferHandle): BufferHandle {
    const buffer = this.device.createBuffer({ size: handle.buffer.size, usage: RESULT });
    const Class = handle.constructor as new (settings: object) => BufferHandle;
    (buffer as { _refs?: number })._refs = 0;
    return new Class({ ...handle, buffer });
  }

  destroy(): void {
    this.#list?.destroy();
    for (const buffer of this.#buffers) this.pool.release(buffer);
    this.#buffers.clear();
  }
}
