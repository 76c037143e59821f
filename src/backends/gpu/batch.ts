import type { ComputePass, Device, Encoder } from './capture/interfaces.js';
import type { GpuBuffer } from './pool.js';
import { later } from './tasks.js';

/** The limit on dispatches in one submission: the device begins with them while the host goes on. */
const MOST = 128;

/** Collects dispatches and copies, and submits those of one turn of the event loop together, in order. */
export class Batch {
  #encoder: Encoder | null = null;
  #pass: ComputePass | null = null;
  #count = 0;
  #pipeline: object | null = null;
  /** What the collected work reads or writes. */
  readonly #buffers = new Set<GpuBuffer>();
  #scheduled = false;

  constructor(private readonly device: Device) {}

  /** Whether work that has not been submitted reads or writes a buffer. */
  touches(buffer: GpuBuffer): boolean {
    return this.#buffers.has(buffer);
  }

  dispatch(pipeline: object, group: object, buffers: readonly GpuBuffer[], groups: readonly [number, number, number]) {
    this.#pass ??= this.#begin().beginComputePass();
    if (pipeline !== this.#pipeline) this.#pass.setPipeline(pipeline);
    this.#pipeline = pipeline;
    this.#pass.setBindGroup(0, group);
    this.#pass.dispatchWorkgroups(...groups);
    for (const buffer of buffers) this.#buffers.add(buffer);
    if (++this.#count >= MOST) this.flush();
  }

  copy(from: GpuBuffer, fromOffset: number, to: GpuBuffer, toOffset: number, bytes: number): void {
    const encoder = this.#begin();
    this.#endPass();
    encoder.copyBufferToBuffer(from, fromOffset, to, toOffset, bytes);
    this.#buffers.add(from).add(to);
  }

  /** Submits what has been collected, if anything. */
  flush(): void {
    const encoder = this.#encoder;
    if (encoder === null) return;
    this.#endPass();
    this.#encoder = null;
    this.#count = 0;
    this.#buffers.clear();
    this.device.queue.submit([encoder.finish()]);
  }

  #begin(): Encoder {
    this.#encoder ??= this.device.createCommandEncoder();
    if (!this.#scheduled) {
      this.#scheduled = true;
      later(() => {
        this.#scheduled = false;
        this.flush();
      });
    }
    return this.#encoder;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = null;
    this.#pipeline = null;
  }
}
