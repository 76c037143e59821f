// Recycles the device's buffers by size: a training step makes and drops the same ones over and over.

import type { MemoryInfo } from '../backend.js';
import type { Scopes, Verdicts } from './verdicts.js';

export interface GpuBuffer {
  readonly size: number;
  readonly usage: number;
  destroy(): void;
}

/** What makes buffers, a device. */
export interface Maker extends Scopes {
  createBuffer(descriptor: { size: number; usage: number }): GpuBuffer;
}

/** STORAGE | COPY_SRC, which is what gpu.js makes for results, and COPY_DST. */
export const RESULT = 0x84;
const COPY_DST = 0x08;
/** Sizes are rounded up to this, so that more of them are the same. */
const STEP = 256;
/** What may wait for use again. */
const MOST_IDLE_BYTES = 2 ** 28;

export class BufferPool {
  readonly #idle = new Map<number, GpuBuffer[]>();
  #idleBytes = 0;
  #live = 0;
  #liveBytes = 0;
  /** What captures keep, and whether everything else has given it back. */
  readonly #kept = new Map<GpuBuffer, boolean>();
  /** The operation that buffers are being made for. */
  op = '';
  /** Called before a buffer is destroyed for good. */
  beforeDestroy: () => void = () => {};

  /** @param failure makes an error of what the device says about an operation */
  constructor(
    private readonly verdicts: Verdicts,
    private readonly failure: (op: string, message: string) => Error,
  ) {}

  /** The results that are in use. */
  get live(): MemoryInfo {
    return { blocks: this.#live, bytes: this.#liveBytes };
  }

  /** A maker of buffers that takes those for results from here. */
  over(device: Maker): Maker {
    return {
      pushErrorScope: (filter) => device.pushErrorScope(filter),
      popErrorScope: () => device.popErrorScope(),
      createBuffer: (descriptor) =>
        descriptor.usage === RESULT ? this.#result(device, descriptor.size) : device.createBuffer(descriptor),
    };
  }

  #result(device: Maker, bytes: number): GpuBuffer {
    const size = Math.max(STEP, Math.ceil(bytes / STEP) * STEP);
    this.#live++;
    this.#liveBytes += size;
    const idle = this.#idle.get(size)?.pop();
    if (idle !== undefined) {
      this.#idleBytes -= size;
      return idle;
    }
    const { op } = this;
    const scopes = ['validation', 'out-of-memory'];
    for (const filter of scopes) device.pushErrorScope(filter);
    const buffer = device.createBuffer({ usage: RESULT | COPY_DST, size });
    const report = Promise.all(scopes.map(() => device.popErrorScope())).then((errors) => {
      const error = errors.find((e) => e !== null);
      return error ? this.failure(op, `no memory for ${size} bytes: ${error.message}`) : null;
    });
    this.verdicts.made(buffer, report);
    // gpu.js destroys the buffers of its arrays itself, so that the buffer must know where to go instead.
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      if (this.#kept.has(buffer)) {
        this.#kept.set(buffer, true);
        return;
      }
      this.#live--;
      this.#liveBytes -= size;
      if (this.verdicts.failed(buffer) || this.#idleBytes + size > MOST_IDLE_BYTES) {
        this.beforeDestroy();
        destroy();
      } else this.#store(size, buffer);
    };
    return buffer;
  }

  /** Keeps a buffer from being used for anything else, also after it was given back. */
  keep(buffer: GpuBuffer): void {
    if (!this.#kept.has(buffer)) this.#kept.set(buffer, false);
  }

  /** Ends that. */
  release(buffer: GpuBuffer): void {
    const givenBack = this.#kept.get(buffer);
    this.#kept.delete(buffer);
    if (givenBack) buffer.destroy();
  }

  #store(size: number, buffer: GpuBuffer): void {
    this.#idleBytes += size;
    const same = this.#idle.get(size);
    if (same) same.push(buffer);
    else this.#idle.set(size, [buffer]);
  }
}
