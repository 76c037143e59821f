// Recycles the device's buffers by size: a training step makes and drops the same ones over and over.

import type { MemoryInfo } from '../backend.js';
import { reported, type Scopes, type Verdicts } from './verdicts.js';

export interface GpuBuffer {
  readonly size: number;
  readonly usage: number;
  destroy(): void;
}

/** What makes buffers, a device. */
export interface Maker extends Scopes {
  createBuffer(descriptor: { size: number; usage: number }): GpuBuffer;
}

/** A maker of buffers that keeps those that were given back. */
export interface Recycler extends Maker {
  /** The operation that buffers are being made for. */
  op: string;
  /** Takes a certain buffer, if it waits for use again. */
  claim(buffer: GpuBuffer): boolean;
  /** A buffer for a result. @param home what wants one again and again: small ones come back to it */
  result(bytes: number, home: object): GpuBuffer;
}

/** STORAGE | COPY_SRC, which is what gpu.js makes for results, and COPY_DST. */
export const RESULT = 0x84;
const COPY_DST = 0x08;
/** Sizes are rounded up to this, so that more of them are the same. */
const STEP = 256;
/** What may wait for use again. */
const MOST_IDLE_BYTES = 2 ** 28;

/** A bind group costs more than so many bytes: smaller buffers are not passed on, as long as they are not too many together. */
const MOST_HOME_BYTES = 2 ** 16;
const MOST_SETTLED_BYTES = 2 ** 24;

/** The limits on what is made before it is needed. */
const MOST_SPARE = 7;
const MOST_SPARE_BYTES = 2 ** 20;

export class BufferPool {
  /** What waits for use again. */
  readonly #idle = new Set<GpuBuffer>();
  /** The same by size, or by home; what was claimed stands there until its turn comes. */
  readonly #stacks = new Map<number, GpuBuffer[]>();
  #settled = new WeakMap<object, GpuBuffer[]>();
  #settledBytes = 0;
  /** The stack that a buffer stands in. */
  readonly #stackOf = new WeakMap<GpuBuffer, GpuBuffer[]>();
  #homes = new WeakMap<GpuBuffer, object>();
  #idleBytes = 0;
  /** How many were made of each size. */
  readonly #made = new Map<number, number>();
  readonly #destroyers = new WeakMap<GpuBuffer, () => void>();
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
  over(device: Maker): Recycler {
    const pool = this;
    return {
      get op() {
        return pool.op;
      },
      set op(op) {
        pool.op = op;
      },
      claim: (buffer) => this.#claim(buffer),
      result: (bytes, home) => {
        const buffer = this.#result(device, bytes, home);
        if (buffer.size <= MOST_HOME_BYTES) this.#homes.set(buffer, home);
        return buffer;
      },
      pushErrorScope: (filter) => device.pushErrorScope(filter),
      popErrorScope: () => device.popErrorScope(),
      createBuffer: (descriptor) =>
        descriptor.usage === RESULT ? this.#result(device, descriptor.size) : device.createBuffer(descriptor),
    };
  }

  #result(device: Maker, bytes: number, home: object | null = null): GpuBuffer {
    const size = Math.max(STEP, Math.ceil(bytes / STEP) * STEP);
    this.#live++;
    this.#liveBytes += size;
    for (let idle = this.#take(size, home); idle !== undefined; idle = this.#take(size, home)) {
      if (!this.verdicts.failed(idle)) return idle;
      this.#destroy(idle);
    }
    // The more there are of a size, the more are made at once: the device has reported on the others when they are needed.
    const made = this.#made.get(size) ?? 0;
    const wanted = size > MOST_SPARE_BYTES ? 0 : Math.min(MOST_SPARE, Math.floor(made / 4));
    const spare = this.#idleBytes + wanted * size > MOST_IDLE_BYTES ? 0 : wanted;
    this.#made.set(size, made + 1 + spare);
    const [buffer] = this.#make(device, size, 1);
    // A report of their own: without memory for more there may be enough for this one.
    if (spare > 0) for (const other of this.#make(device, size, spare)) this.#store(size, other, 'last');
    return buffer;
  }

  #make(device: Maker, size: number, count: number): GpuBuffer[] {
    const { op } = this;
    const make = () => Array.from({ length: count }, () => device.createBuffer({ usage: RESULT | COPY_DST, size }));
    const failure = (message: string) => this.failure(op, `no memory for ${size} bytes: ${message}`);
    const { result, report } = reported(device, make, failure);
    this.verdicts.made(result, report);
    for (const buffer of result) this.#adopt(buffer, size);
    return result;
  }

  /** gpu.js destroys the buffers of its arrays itself, so that the buffer must know where to go instead. */
  #adopt(buffer: GpuBuffer, size: number): void {
    this.#destroyers.set(buffer, buffer.destroy.bind(buffer));
    buffer.destroy = () => {
      if (this.#kept.has(buffer)) {
        this.#kept.set(buffer, true);
        return;
      }
      this.#live--;
      this.#liveBytes -= size;
      if (this.verdicts.failed(buffer) || this.#idleBytes + size > MOST_IDLE_BYTES) this.#destroy(buffer);
      else this.#store(size, buffer);
    };
  }

  /** Destroys a buffer for good. */
  #destroy(buffer: GpuBuffer): void {
    this.beforeDestroy();
    this.#destroyers.get(buffer)?.();
  }

  #take(size: number, home: object | null): GpuBuffer | undefined {
    const settled = home === null ? undefined : this.#settled.get(home);
    return (settled && this.#pop(settled)) ?? this.#pop(this.#stacks.get(size) ?? []);
  }

  #pop(stack: GpuBuffer[]): GpuBuffer | undefined {
    for (let buffer = stack.pop(); buffer !== undefined; buffer = stack.pop()) {
      if (this.#stackOf.get(buffer) === stack) this.#stackOf.delete(buffer);
      if (this.#unstore(buffer)) return buffer;
    }
    return undefined;
  }

  /** Takes a buffer from those that wait. @returns whether it was there */
  #unstore(buffer: GpuBuffer): boolean {
    if (!this.#idle.delete(buffer)) return false;
    this.#idleBytes -= buffer.size;
    if (this.#homes.has(buffer)) this.#settledBytes -= buffer.size;
    return true;
  }

  #claim(buffer: GpuBuffer): boolean {
    if (this.verdicts.failed(buffer) || !this.#unstore(buffer)) return false;
    this.#live++;
    this.#liveBytes += buffer.size;
    return true;
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

  /** @param turn when it is used again: before those that wait, or after them */
  #store(size: number, buffer: GpuBuffer, turn: 'first' | 'last' = 'first'): void {
    this.#idleBytes += size;
    this.#idle.add(buffer);
    const home = this.#homes.get(buffer);
    if (home === undefined) this.#stack(this.#stacks, size, buffer, turn);
    else {
      this.#settledBytes += size;
      this.#stack(this.#settled, home, buffer, turn);
      if (this.#settledBytes > MOST_SETTLED_BYTES) this.#unsettle();
    }
  }

  #stack<K>(
    stacks: { get(key: K): GpuBuffer[] | undefined; set(key: K, stack: GpuBuffer[]): unknown },
    key: K,
    buffer: GpuBuffer,
    turn: 'first' | 'last',
  ): void {
    let same = stacks.get(key);
    if (same === undefined) {
      same = [];
      stacks.set(key, same);
    }
    if (this.#stackOf.get(buffer) === same) return;
    this.#stackOf.set(buffer, same);
    if (turn === 'first') same.push(buffer);
    else same.unshift(buffer);
  }

  /** Everything may go anywhere: who it came back to may not want it any more. */
  #unsettle(): void {
    this.#homes = new WeakMap();
    this.#settled = new WeakMap();
    this.#settledBytes = 0;
    for (const buffer of this.#idle) this.#stack(this.#stacks, buffer.size, buffer, 'first');
  }
}
