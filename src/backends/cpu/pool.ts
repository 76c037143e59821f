import { fail } from '../../errors.js';
import { builtin, permitted } from '../../node.js';
import { warnOnce } from '../warn.js';
import type { Kernels } from './wasm.js';
import { ARGS, CONTROL, MAX_ARGS, SLOT, STEPS, workerSource } from './worker.js';

/** The largest argument of setNumThreads, and the largest number of chunks of a job. */
export const MAX_THREADS = 64;

/** The number of cores, as far as the runtime tells it, at most MAX_THREADS. */
function cores(): number {
  const count =
    permitted(() => builtin('node:os')?.availableParallelism()) ?? globalThis.navigator?.hardwareConcurrency;
  return Math.min(count ?? 1, MAX_THREADS);
}

/** The work, in nanoseconds of one thread, from which a job is distributed, and the work of one chunk. */
const WORTHWHILE = 15_000;
const CHUNK = 4_000;
/** The total of such work after which workers are started, so that short programs do not pay for their start. */
const WARM_UP = 5e7;
/** Chunks for each thread, so that the others take over the work of a delayed one. */
const CHUNKS = 4;
/** How often the caller polls for the last chunks before it sleeps; about 150 microseconds. */
const SPINS = 20_000;

/** The usual reason why a browser does not start a worker, and the remedy. */
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
  /** The increments of the arguments for every unit. */
  readonly perUnit: readonly number[];
  /** The increments of the arguments for every chunk. */
  readonly perChunk?: readonly number[];
  /** The position of the argument that is the number of units. */
  readonly counted: number;
  readonly units: number;
  /** Chunks begin at multiples of this number of units. */
  readonly grain: number;
  /** The approximate time of a unit, in nanoseconds. */
  readonly cost: number;
}

/**
 * Fork and join over workers that share the WebAssembly memory. The calling thread works, too, and takes the chunks that no
 * worker has taken, so it does not wait for workers to start or wake up. Outputs are split, but not sums: results do not
 * depend on the number of threads.
 */
export class Pool {
  readonly #workers = new Set<Worker>();
  readonly #ints: Int32Array;
  readonly #args: Float64Array;
  readonly #steps: Float64Array;
  readonly #modules: WebAssembly.Module[];
  /** The number of each kernel among the exports of all modules. */
  readonly #index = new Map<string, number>();
  #exports = 0;
  /** 0 until the number of cores is needed: to ask for it takes longer than many a program's operations. */
  #threads = 1;
  #passed = 0;
  #obstacle: string | null;

  /**
   * @param kernels the kernels by name; `add` says when there are more
   * @param module what workers instantiate
   * @param patience the time limit for a chunk of a worker, in milliseconds
   */
  constructor(
    private readonly kernels: Kernels,
    module: WebAssembly.Module,
    private readonly memory: WebAssembly.Memory,
    private readonly patience = 10_000,
  ) {
    this.#ints = new Int32Array(memory.buffer, CONTROL, 64);
    this.#args = new Float64Array(memory.buffer, ARGS, MAX_ARGS);
    this.#steps = new Float64Array(memory.buffer, STEPS, MAX_ARGS);
    this.#modules = [module];
    for (const name of Object.keys(kernels)) this.#index.set(name, this.#exports++);
    this.#obstacle = isShared(memory)
      ? null
      : 'shared memory is not available (in browsers it needs cross-origin isolation)';
  }

  /**
   * Adds a module with more kernels. Workers that run do not have it: others take their place when there is work.
   * @param kernels the names of all its exports, in their order
   */
  add(kernels: readonly string[], module: WebAssembly.Module): void {
    // All modules export their memory, so names repeat.
    for (const name of kernels) this.#index.set(name, this.#exports++);
    this.#modules.push(module);
    if (this.#workers.size > 0) this.#retire();
  }

  /** The maximum number of threads, including the calling one. */
  get threads(): number {
    if (this.#obstacle !== null) return 1;
    if (this.#threads === 0) this.#threads = cores();
    return this.#threads;
  }

  set threads(n: number) {
    this.#threads = n;
    // With one thread the workers sleep, so that they are available at once when the number is raised again.
    if (n > 1 && this.#workers.size > n - 1) this.#retire();
  }

  /** Why there is only one thread; null if there may be more. */
  get obstacle(): string | null {
    return this.#obstacle;
  }

  /** The number of workers that have started. */
  get up(): number {
    return this.#workers.size === 0 ? 0 : Math.min(this.#workers.size, Atomics.load(this.#ints, SLOT.up));
  }

  /** Starts the workers, which take part once they run. Called automatically after enough work. */
  start(): void {
    if (this.#workers.size >= this.threads - 1) return;
    try {
      while (this.#workers.size < this.threads - 1) this.#workers.add(this.#spawn());
    } catch (error) {
      this.#fallBack(`a worker thread did not start: ${String(error)}`);
    }
  }

  /** Runs a job, alone or with others. */
  run(job: Job): void {
    const work = job.units * job.cost;
    const up = work < WORTHWHILE || this.threads === 1 ? 0 : this.up;
    const most = Math.min((up + 1) * CHUNKS, MAX_THREADS, Math.ceil(work / CHUNK));
    const per = Math.ceil(job.units / most / job.grain) * job.grain;
    const chunks = Math.ceil(job.units / per);
    if (up > 0 && chunks > 1) this.#together(job, per, chunks);
    else this.#alone(job, work);
  }

  #alone({ kernel, args, counted, units }: Job, work: number): void {
    if (work >= WORTHWHILE && this.#workers.size === 0 && this.threads > 1) {
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
    const tag = ints[SLOT.epoch] << 8;
    Atomics.store(ints, SLOT.remaining, tag | chunks);
    if (Atomics.load(ints, SLOT.sleepers) > 0) {
      Atomics.add(ints, SLOT.signal, 1);
      Atomics.notify(ints, SLOT.signal);
    }
    const run = this.kernels[kernel]!;
    const own = args.slice();
    for (let left = Atomics.load(ints, SLOT.remaining); left !== tag; left = Atomics.load(ints, SLOT.remaining)) {
      if (Atomics.compareExchange(ints, SLOT.remaining, left, left - 1) !== left) continue;
      const chunk = (left & 255) - 1;
      for (let k = 0; k < args.length; k++) own[k] = args[k] + chunk * this.#steps[k];
      own[counted] = Math.min(per, units - chunk * per);
      run(...own);
      Atomics.add(ints, SLOT.done, 1);
    }
    if (Atomics.load(ints, SLOT.done) < chunks) this.#join(kernel, chunks);
    if (ints[SLOT.failed] !== 0) this.#failJob(kernel, 'failed');
  }

  /** Waits for the chunks of the workers: at first it polls, which has a low latency, then it sleeps, which frees the core. */
  #join(kernel: string, chunks: number): void {
    const ints = this.#ints;
    for (let spins = 0; spins < SPINS; spins++) if (Atomics.load(ints, SLOT.done) === chunks) return;
    const since = performance.now();
    Atomics.store(ints, SLOT.joining, 1);
    for (let done = Atomics.load(ints, SLOT.done); done < chunks; done = Atomics.load(ints, SLOT.done)) {
      if (mayWait) Atomics.wait(ints, SLOT.done, done, 10);
      if (performance.now() - since > this.patience) this.#failJob(kernel, 'ended or hangs');
    }
    Atomics.store(ints, SLOT.joining, 0);
  }

  #failJob(kernel: string, how: string): never {
    this.#giveUp(`a worker thread ${how} in the middle of ${kernel}`);
    fail(
      'threads',
      `a worker thread ${how} in the middle of ${kernel}, whose result is lost`,
      'run the step again; it will use one thread',
    );
  }

  #giveUp(obstacle: string): void {
    this.#obstacle = obstacle;
    for (const worker of this.#workers) void worker.terminate();
    this.#retire();
  }

  /** Ends all workers after their current chunks. */
  #retire(): void {
    this.#workers.clear();
    Atomics.add(this.#ints, SLOT.epoch, 1);
    Atomics.add(this.#ints, SLOT.signal, 1);
    Atomics.notify(this.#ints, SLOT.signal);
  }

  #spawn(): Worker {
    const data = { modules: this.#modules, memory: this.memory, epoch: this.#ints[SLOT.epoch] };
    const threads = builtin('node:worker_threads');
    if (threads) {
      const worker = new threads.Worker(workerSource, { eval: true, workerData: data, env: {}, execArgv: [] });
      worker.unref();
      worker.on('error', (error) => this.#ended(worker, String(error)));
      worker.on('exit', () => this.#ended(worker, 'exit'));
      return worker;
    }
    const url = URL.createObjectURL(new Blob([workerSource], { type: 'text/javascript' }));
    const worker = new globalThis.Worker(url);
    worker.onerror = (event) => {
      // An error without a message is not an error of the script: the browser did not load it.
      if (event.message) this.#ended(worker, event.message);
      else if (this.#workers.has(worker)) this.#fallBack(BLOCKED);
    };
    worker.postMessage(data);
    return worker;
  }

  /** Called when a worker has ended; between jobs no result is lost. */
  #ended(worker: Worker, why: string): void {
    if (this.#workers.has(worker)) this.#fallBack(`a worker thread ended: ${why}`);
  }

  /** Continues with one thread and warns, because no error is thrown. */
  #fallBack(obstacle: string): void {
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
