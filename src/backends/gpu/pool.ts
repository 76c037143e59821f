// Recycles the device's buffers by size: a training step makes and drops the same ones over and over.

import type { MemoryInfo } from '../backend.js';

export interface GpuBuffer {
  readonly size: number;
  readonly usage: number;
  destroy(): void;
}

/** What makes buffers, a device. */
export interface Maker {
  pushErrorScope(filter: string): void;
  popErrorScope(): Promise<{ message: string } | null>;
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
  /** Whether the device had memory for what it was asked for. */
  readonly #verdicts = new Set<Promise<void>>();
  /** What plans keep, and whether everybody else has given it back. */
  readonly #kept = new Map<GpuBuffer, boolean>();
  onOutOfMemory: (op: string, message: string) => void = () => {};
  /** The operation that buffers are being made for. */
  op = '';

  /** The results that are in use. */
  get live(): MemoryInfo {
    return { blocks: this.#live, bytes: this.#liveBytes };
  }

  /** Comes between a device and those who make buffers with it. */
  attach(device: Maker): void {
    const create = device.createBuffer.bind(device);
    device.createBuffer = (descriptor) => {
      if (descriptor.usage !== RESULT) return create(descriptor);
      const size = Math.max(STEP, Math.ceil(descriptor.size / STEP) * STEP);
      this.#live++;
      this.#liveBytes += size;
      const waiting = this.#idle.get(size)?.pop();
      if (waiting !== undefined) {
        this.#idleBytes -= size;
        return waiting;
      }
      const { op } = this;
      device.pushErrorScope('out-of-memory');
      const buffer = create({ usage: RESULT | COPY_DST, size });
      const verdict = device.popErrorScope().then((error) => {
        this.#verdicts.delete(verdict);
        if (error !== null) this.onOutOfMemory(op, `no memory for ${size} bytes: ${error.message}`);
      });
      this.#verdicts.add(verdict);
      const destroy = buffer.destroy.bind(buffer);
      buffer.destroy = () => {
        if (this.#kept.has(buffer)) {
          this.#kept.set(buffer, true);
          return;
        }
        this.#live--;
        this.#liveBytes -= size;
        if (this.#idleBytes + size > MOST_IDLE_BYTES) destroy();
        else this.#store(size, buffer);
      };
      return buffer;
    };
  }

  /** Waits until it is known whether there was memory for everything. */
  async settled(): Promise<void> {
    if (this.#verdicts.size > 0) await Promise.all(this.#verdicts);
  }

  /** Keeps a buffer from being used for anything else, whoever gives it back. */
  keep(buffer: GpuBuffer): void {
    if (!this.#kept.has(buffer)) this.#kept.set(buffer, false);
  }

  /** Ends that. */
  letGo(buffer: GpuBuffer): void {
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
