import { fail } from '../../errors.js';
import { builtin } from '../../node.js';
import { warnOnce } from '../warn.js';
import type { Kernels } from './wasm.js';
import { ARGS, CONTROL, MAX_ARGS, SLOT, STEPS, workerSource } from './worker.js';

/** The most threads that setNumThreads takes, which is also the most chunks that a job is cut into. */
export const MAX_THREADS = 64;

/** How much work, in nanoseconds of one thread, is worth being shared, and how much of it a chunk should have. */
const WORTHWHILE = 15_000;
const CHUNK = 4_000;
/** How much work worth sharing must have passed before workers are started: programs with little never pay for them. */
const WARM_UP = 5e7;
/** Chunks for each thread, so that one that is held up leaves work to the others. */
const CHUNKS = 4;
/** How often to look for the last chunks before going to sleep; some 150 microseconds. */
const SPINS = 20_000;

/** What a browser's silence means when a worker does not start, and what to do about it. */
const BLOCKED =
  "a worker thread was blocked, as it is by the page's Content-Security-Policy unless that has blob: in its worker-src";

interface Worker {
  terminate(): unknown;
}

/** One kernel over many outputs, which may be computed in chunks. */
export interface Job {
  readonly kernel: string;
  /** The arguments of the first chunk. */
  readonly args: number[];
  /** By how much an argument rises for every unit. */
  readonly perUnit: readonly number[];
  /** By how much an argument rises for every chunk. */
  readonly perChunk?: readonly number[];
  /** Which argument counts the units. */
  readonly counted: number;
  readonly units: number;
  /** Units that stay together, where chunks must begin at multiples of something. */
  readonly grain: number;
  /** About how many nanoseconds a unit takes. */
  readonly cost: number;
}

/**
 * Fork and join over workers that share the WebAssembly memory. The calling thread works too, and takes what no worker
 * has taken, so it waits for nobody to start or wake up. What is split are outputs, never sums: results do not depend on
 * the number of threads.
 */
export class Pool {
  readonly #workers = new Set<Worker>();
  readonly #ints: Int32Array;
  readonly #args: Float64Array;
  readonly #steps: Float64Array;
  readonly #index = new Map<string, number>();
  #threads = 1;
  #passed = 0;
  #obstacle: string | null;

  /**
   * @param module what workers instantiate
   * @param patience how long a chunk that a worker has taken may last, in milliseconds
   */
  constructor(
    private readonly kernels: Kernels,
    private readonly module: WebAssembly.Module,
    private readonly memory: WebAssembly.Memory,
    private readonly patience = 10_000,
  ) {
    this.#ints = new Int32Array(memory.buffer, CONTROL, 64);
    this.#args = new Float64Array(memory.buffer, ARGS, MAX_ARGS);
    this.#steps = new Float64Array(memory.buffer, STEPS, MAX_ARGS);
    for (const name of Object.keys(kernels)) this.#index.set(name, this.#index.size);
    this.#obstacle = isShared(memory)
      ? null
      : 'there is no shared memory here (in browsers it needs cross-origin isolation)';
  }

  /** How many threads take part at most, this one included. */
  get threads(): number {
    return this.#obstacle === null ? this.#threads : 1;
  }

  set threads(n: number) {
    this.#threads = n;
    // With one thread they sleep, and are there at once if there shall be more again.
    if (n > 1 && this.#workers.size > n - 1) this.#retire();
  }

  /** Why there is only one thread, if something stands in the way of more. */
  get obstacle(): string | null {
    return this.#obstacle;
  }

  /** How many workers have come up. */
  get up(): number {
    return this.#workers.size === 0 ? 0 : Math.min(this.#workers.size, Atomics.load(this.#ints, SLOT.up));
  }

  /** Starts the workers, which join when they are up. Called by itself once enough work has passed. */
  start(): void {
    if (this.#obstacle !== null || this.#workers.size >= this.#threads - 1) return;
    try {
      while (this.#workers.size < this.#threads - 1) this.#workers.add(this.#spawn());
    } catch (error) {
      this.#fewer(`a worker thread did not start: ${String(error)}`);
    }
  }

  /** Runs a job, alone or with others. */
  run(job: Job): void {
    const work = job.units * job.cost;
    const up = work < WORTHWHILE || this.#threads === 1 ? 0 : this.up;
    const most = Math.min((up + 1) * CHUNKS, MAX_THREADS, Math.ceil(work / CHUNK));
    const per = Math.ceil(job.units / most / job.grain) * job.grain;
    const chunks = Math.ceil(job.units / per);
    if (up > 0 && chunks > 1) this.#together(job, per, chunks);
    else this.#alone(job, work);
  }

  #alone({ kernel, args, counted, units }: Job, work: number): void {
    if (work >= WORTHWHILE && this.#workers.size === 0 && this.#threads > 1) {
      this.#passed += work;
      if (this.#passed > WARM_UP) this.start();
    }
    args[counted] = units;
    this.kernels[kernel]!(...args);
  }

  #together({ kernel, args, perUnit, perChunk, counted, units }: Job, per: number, chunks: number): void {
    const ints = this.#ints;
    for (let k = 0; k < args.length; k++) {
      this.#args[k] = args[k];
      this.#steps[k] = (perUnit[k] ?? 0) * per + (perChunk?.[k] ?? 0);
    }
    ints[SLOT.kernel] = this.#index.get(kernel)!;
    ints[SLOT.count] = args.length;
    ints[SLOT.counted] = counted;
    ints[SLOT.per] = per;
    ints[SLOT.total] = units;
    ints[SLOT.failed] = 0;
    Atomics.store(ints, SLOT.done, 0);
    Atomics.store(ints, SLOT.remaining, chunks);
    if (Atomics.load(ints, SLOT.sleepers) > 0) {
      Atomics.add(ints, SLOT.signal, 1);
      Atomics.notify(ints, SLOT.signal);
    }
    const run = this.kernels[kernel]!;
    const own = args.slice();
    for (let left = Atomics.load(ints, SLOT.remaining); left > 0; left = Atomics.load(ints, SLOT.remaining)) {
      if (Atomics.compareExchange(ints, SLOT.remaining, left, left - 1) !== left) continue;
      const chunk = left - 1;
      for (let k = 0; k < args.length; k++) own[k] = args[k] + chunk * this.#steps[k];
      own[counted] = Math.min(per, units - chunk * per);
      run(...own);
      Atomics.add(ints, SLOT.done, 1);
    }
    if (Atomics.load(ints, SLOT.done) < chunks) this.#join(kernel, chunks);
    if (ints[SLOT.failed] !== 0) this.#lose(kernel, 'failed');
  }

  /** Waits for the chunks that workers have taken: at first in a loop, which is quick, then asleep, which leaves them the processor. */
  #join(kernel: string, chunks: number): void {
    const ints = this.#ints;
    for (let spins = 0; spins < SPINS; spins++) if (Atomics.load(ints, SLOT.done) === chunks) return;
    const since = performance.now();
    Atomics.store(ints, SLOT.joining, 1);
    for (let done = Atomics.load(ints, SLOT.done); done < chunks; done = Atomics.load(ints, SLOT.done)) {
      if (mayWait) Atomics.wait(ints, SLOT.done, done, 10);
      if (performance.now() - since > this.patience) this.#lose(kernel, 'died or stands still');
    }
    Atomics.store(ints, SLOT.joining, 0);
  }

  #lose(kernel: string, how: string): never {
    this.#giveUp(`a worker thread ${how} in the middle of ${kernel}`);
    fail(
      'threads',
      `a worker thread ${how} in the middle of ${kernel}, whose result is lost`,
      'run the step again: from here on there is one thread',
    );
  }

  #giveUp(obstacle: string): void {
    this.#obstacle = obstacle;
    for (const worker of this.#workers) void worker.terminate();
    this.#retire();
  }

  /** Lets all workers end between two chunks. */
  #retire(): void {
    this.#workers.clear();
    Atomics.add(this.#ints, SLOT.epoch, 1);
    Atomics.add(this.#ints, SLOT.signal, 1);
    Atomics.notify(this.#ints, SLOT.signal);
  }

  #spawn(): Worker {
    const data = { module: this.module, memory: this.memory, epoch: this.#ints[SLOT.epoch] };
    const threads = builtin('node:worker_threads');
    if (threads) {
      const worker = new threads.Worker(workerSource, { eval: true, workerData: data, env: {}, execArgv: [] });
      worker.unref();
      worker.on('error', (error) => this.#gone(worker, String(error)));
      worker.on('exit', () => this.#gone(worker, 'it ended'));
      return worker;
    }
    const url = URL.createObjectURL(new Blob([workerSource], { type: 'text/javascript' }));
    const worker = new globalThis.Worker(url);
    worker.onerror = (event) => {
      // An error without a word is no error of a script: the browser did not load it.
      if (event.message) this.#gone(worker, event.message);
      else if (this.#workers.has(worker)) this.#fewer(BLOCKED);
    };
    worker.postMessage(data);
    return worker;
  }

  /** A worker ended by itself: between jobs nothing is lost. */
  #gone(worker: Worker, why: string): void {
    if (this.#workers.has(worker)) this.#fewer(`a worker thread is gone: ${why}`);
  }

  /** Goes on with one thread, where nobody gets an error that says so. */
  #fewer(obstacle: string): void {
    this.#giveUp(obstacle);
    warnOnce('threads', `operations run on one thread instead of ${this.#threads}, because ${obstacle}`);
  }
}

/** Whether this thread may sleep; the main thread of a browser may not. */
const mayWait = /* @__PURE__ */ (() => {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
})();

function isShared(memory: WebAssembly.Memory): boolean {
  return typeof SharedArrayBuffer === 'function' && memory.buffer instanceof SharedArrayBuffer;
}
