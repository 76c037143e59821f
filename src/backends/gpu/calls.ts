import type { CapturableDevice, Dispatch } from './capture/device.js';
import type { BufferHandle } from './capture/webgpu.js';
import type { GpuBuffer } from './pool.js';
import type { Argument } from './runtime.js';

// A training step calls the same kernels with the same sizes and numbers, and only with other arrays, again and again. What
// gpu.js dispatched for such a call is dispatched again with those arrays, without gpu.js's preparation of every call.

/** A call, and what gpu.js dispatched for it. */
interface Call {
  readonly threads: readonly number[];
  /** Numbers, the lengths of arrays on the device, and the contents of those of the host. */
  readonly values: readonly (number | Float32Array)[];
  readonly dispatch: Dispatch;
  /** The numbers of its result. */
  readonly size: number;
  /** An array that it gave. */
  readonly like: Pick<BufferHandle, 'kernel'> & { readonly context: unknown };
}

/** Longer arrays of the host are not constants; see MOST_CONSTANT_BYTES. */
const MOST_CONSTANTS = 128;
/** The limit on what is remembered of a kernel. */
const MOST_CALLS = 32;

type Class = new (settings: object) => BufferHandle;

/** The calls of one kernel. */
export class Calls {
  readonly #calls: Call[] = [];
  /** Where the next one is looked for first: steps repeat. */
  #next = 0;
  #class: Class | null = null;

  constructor(private readonly device: CapturableDevice) {}

  /** Remembers a call and what gpu.js dispatched for it, unless it brings much from the host. */
  note(threads: readonly number[], args: readonly Argument[], result: BufferHandle, dispatch: Dispatch | null): void {
    const arrays = args.filter((a) => typeof a === 'object' && !(a instanceof Float32Array)) as BufferHandle[];
    const hosts = args.filter((a) => a instanceof Float32Array);
    if (dispatch === null || hosts.some((a) => a.length > MOST_CONSTANTS)) return;
    // Other numbers come the next time.
    if (hosts.length > 0 && arrays.length === 0) return;
    // The arrays in the order of the arguments, then the result.
    const expected = [...arrays, result];
    const { buffers, output } = dispatch;
    if (output !== arrays.length || expected.some(({ buffer }, i) => buffer !== buffers[i])) return;
    if (buffers.length !== expected.length) return;
    this.#class ??= result.constructor as Class;
    if (this.#calls.some((call) => isLike(call, threads, args))) return;
    const values = args.map((a) => (a instanceof Float32Array ? a.slice() : typeof a === 'number' ? a : a.output[0]));
    const { kernel, context } = result as BufferHandle & { context: unknown };
    const call = { threads: [...threads], values, dispatch, size: result.output[0], like: { kernel, context } };
    if (this.#calls.length < MOST_CALLS) this.#calls.push(call);
    else this.#calls[this.#next % MOST_CALLS] = call;
    this.#next++;
  }

  /** Dispatches a call again; null if there was none like it. */
  again(threads: readonly number[], args: readonly Argument[]): BufferHandle | null {
    const calls = this.#calls;
    for (let tries = 0; tries < calls.length; tries++) {
      const at = (this.#next + tries) % calls.length;
      const call = calls[at];
      if (!isLike(call, threads, args)) continue;
      if (this.device.isBroken(call.dispatch)) {
        calls.splice(at, 1);
        return null;
      }
      this.#next = at + 1;
      const buffers: GpuBuffer[] = [];
      for (const a of args) {
        if (typeof a === 'object' && !(a instanceof Float32Array)) buffers.push((a as BufferHandle).buffer);
      }
      const buffer = this.device.again(call.dispatch, buffers, 4 * call.size);
      return new this.#class!({ buffer, output: [call.size], componentCount: 1, ...call.like });
    }
    return null;
  }
}

function isLike({ threads, values }: Call, otherThreads: readonly number[], args: readonly Argument[]): boolean {
  for (let i = 0; i < threads.length; i++) if (threads[i] !== otherThreads[i]) return false;
  for (let i = 0; i < values.length; i++) {
    const [value, a] = [values[i], args[i]];
    if (typeof a === 'number') {
      if (!Object.is(a, value)) return false;
    } else if (a instanceof Float32Array) {
      if (!(value instanceof Float32Array) || !isSame(value, a)) return false;
    } else if (a.output[0] !== value) return false;
  }
  return true;
}

function isSame(a: Float32Array, b: Float32Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
}
