import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { RequestError } from '../errors.js';
import {
  type Answer,
  BufferCache,
  type FromWorker,
  type Job,
  type LoadedModel,
  type Packed,
  PROGRESS,
  packJobs,
  type Sample,
  type ToWorker,
  transfers,
  unpackAnswers,
} from './messages.js';
import { type Batching, type Entry, JobQueue, type QueuedAnswer } from './queue.js';

// The inference workers. If a worker dies, the jobs that it was computing fail; those it had not begun go to another worker.

/** Options of {@link Pool}. */
export interface PoolOptions {
  /** The number of workers. */
  readonly workers: number;
  /** The number of threads for each forward pass. */
  readonly threads: number;
  /** The limit on requests that are waiting or being computed. */
  readonly queue: number;
  readonly onSamples: (samples: readonly Sample[]) => void;
  /** Called when a worker has died or is ready. */
  readonly onWorker: (event: 'died' | 'ready', detail: string) => void;
}

interface Model {
  readonly name: string;
  readonly version: string;
  readonly bytes: SharedArrayBuffer;
}

interface Loading {
  readonly done: Promise<LoadedModel>;
  readonly resolve: (info: LoadedModel) => void;
  readonly reject: (error: Error) => void;
}

interface Slot {
  readonly worker: Worker;
  readonly progress: Int32Array;
  readonly groups: Map<number, Entry[]>;
  readonly cache: BufferCache;
  /** The models that this worker was told to load. */
  readonly models: Map<number, Loading>;
  ready: boolean;
}

/** The limit on jobs in one message. */
const GROUP = 32;
/** The limit on messages per worker: one being computed and one queued. */
const OUTSTANDING = 2;
/** How often a job is sent to a worker before it fails. */
const ATTEMPTS = 2;
/** Milliseconds after the deadline until a computation is considered hung. */
const HUNG = 10_000;

/** Milliseconds of worker time per job above which jobs are also sent to the worker on the event loop's core. */
const HEAVY = 0.15;
/** The weight of a new measurement in the moving average of a model's cost. */
const COST_WEIGHT = 0.1;

const unavailable = (problem: string) => new RequestError(503, `${problem}; try again later`, 1);

/** The pool of inference workers. */
export class Pool {
  readonly #options: PoolOptions;
  readonly #slots: Slot[] = [];
  readonly #models = new Map<number, Model>();
  /** The jobs without an answer. */
  readonly #pending = new Map<number, Entry>();
  readonly #queue: JobQueue;
  readonly #clock: NodeJS.Timeout;
  /** The moving average of worker milliseconds per job, by model. */
  readonly #costs = new Map<number, number>();
  /** Models to unload when their jobs are done. */
  readonly #unloading = new Set<number>();
  #ids = 0;
  #groupIds = 0;
  #flushing = false;
  #closing = false;
  #deaths = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#queue = new JobQueue(
      (entry) => this.#pending.has(entry.job.id),
      () => this.#flush(),
    );
    this.#clock = setInterval(() => this.#tick(), 50);
    for (let i = 0; i < options.workers; i++) this.#start(0);
  }

  /** The number of requests that are waiting or being computed. */
  get depth(): number {
    return this.#pending.size;
  }

  get full(): boolean {
    return this.#pending.size >= this.#options.queue;
  }

  get readyWorkers(): number {
    return this.#slots.filter((s) => s.ready).length;
  }

  /** Computes a job. @throws RequestError 429 when the queue is full, 503 when the worker died or the deadline passed */
  submit(job: Omit<Job, 'id'>, batching: Batching | null): Promise<QueuedAnswer> {
    if (this.#closing) return Promise.reject(unavailable('the server is shutting down'));
    if (this.full)
      return Promise.reject(new RequestError(429, `${this.depth} requests are already waiting; try again later`, 1));
    return new Promise((resolve, reject) => {
      const id = ++this.#ids;
      const entry: Entry = {
        job: { ...job, id },
        batching,
        since: performance.now(),
        resolve,
        reject,
        started: 0,
        attempts: 0,
        index: 0,
      };
      this.#pending.set(id, entry);
      this.#queue.add(entry);
      this.#flushSoon();
    });
  }

  /** Loads a model in every worker, first in one, so that an invalid file fails there. @throws Error naming the problem with the file */
  async load(model: number, spec: Model): Promise<LoadedModel> {
    const [first] = this.#slots;
    if (first === undefined) throw new Error('no inference worker is running');
    const info = await this.#loadInto(first, model, spec);
    this.#models.set(model, spec);
    const others = this.#slots.filter((slot) => slot !== first);
    await Promise.all(others.map((slot) => this.#loadInto(slot, model, spec).catch(() => {})));
    return info;
  }

  /** Unloads a model in every worker, once all its jobs are answered. */
  unload(model: number): void {
    this.#unloading.add(model);
  }

  /** Rejects new jobs, waits at most `grace` milliseconds for the others, and ends the workers. */
  async close(grace: number): Promise<void> {
    this.#closing = true;
    const end = performance.now() + grace;
    while (this.#pending.size > 0 && performance.now() < end) await new Promise((r) => setTimeout(r, 10));
    clearInterval(this.#clock);
    this.#queue.stop();
    for (const entry of this.#pending.values()) this.#fail(entry, unavailable('the server is shutting down'));
    await Promise.all(this.#slots.map((s) => s.worker.terminate()));
  }

  /** Ends a worker immediately, like a crash; for tests. @internal */
  async kill(index: number): Promise<void> {
    await this.#slots[index].worker.terminate();
  }

  #send(slot: Slot, message: ToWorker, transferList: ArrayBuffer[] = []): void {
    slot.worker.postMessage(message, transferList);
  }

  /** Loads a model in a worker, once, even if both `load` and the start of the worker request it. */
  #loadInto(slot: Slot, model: number, spec: Model): Promise<LoadedModel> {
    const known = slot.models.get(model);
    if (known !== undefined) return known.done;
    let [resolve, reject]: [Loading['resolve'], Loading['reject']] = [() => {}, () => {}];
    const done = new Promise<LoadedModel>((onResolve, onReject) => {
      [resolve, reject] = [onResolve, onReject];
    });
    slot.models.set(model, { done, resolve, reject });
    this.#send(slot, { type: 'load', model, ...spec });
    return done;
  }

  #start(delay: number): void {
    if (delay > 0) setTimeout(() => this.#start(0), delay);
    else if (!this.#closing) this.#spawn();
  }

  #spawn(): void {
    const shared = new SharedArrayBuffer(PROGRESS.LENGTH * 4);
    const worker = new Worker(workerUrl(), {
      workerData: { progress: shared, threads: this.#options.threads },
      name: 'tapegrad inference',
      execArgv: [],
    });
    const slot: Slot = {
      worker,
      progress: new Int32Array(shared),
      groups: new Map(),
      cache: new BufferCache(),
      models: new Map(),
      ready: false,
    };
    this.#slots.push(slot);
    let cause = '';
    worker.on('message', (message: FromWorker) => this.#onMessage(slot, message));
    worker.on('error', (error) => {
      cause = String(error);
    });
    worker.on('exit', (code) => this.#onExit(slot, cause || `it ended with code ${code}`));
  }

  async #onMessage(slot: Slot, message: FromWorker): Promise<void> {
    if (message.type === 'answers') {
      this.#answered(slot, message.group, message.answers);
      if (message.samples.length > 0) this.#options.onSamples(message.samples);
    } else if (message.type === 'ready') {
      await Promise.all([...this.#models].map(([model, spec]) => this.#loadInto(slot, model, spec).catch(() => {})));
      if (!this.#slots.includes(slot)) return;
      slot.ready = true;
      this.#options.onWorker('ready', '');
      this.#flush();
    } else {
      const loading = slot.models.get(message.model);
      if (message.type === 'loaded') loading?.resolve(message.info);
      else {
        slot.models.delete(message.model);
        loading?.reject(new Error(message.error));
      }
    }
  }

  #answered(slot: Slot, group: number, packed: Packed): void {
    const entries = slot.groups.get(group);
    const answers = unpackAnswers(packed);
    this.#deaths = 0;
    for (const answer of answers) {
      const entry = this.#pending.get(answer.id);
      if (entry === undefined) continue;
      this.#pending.delete(answer.id);
      this.#updateCost(entry.job.model, answer);
      entry.resolve({ ...answer, queued: entry.started - entry.since });
    }
    if (entries === undefined) return;
    const done = new Set(answers.map((a) => a.id));
    const rest = entries.filter((e) => !done.has(e.job.id));
    if (rest.length > 0) slot.groups.set(group, rest);
    else {
      slot.groups.delete(group);
      this.#flush();
    }
  }

  #updateCost(model: number, { preprocess, predict, postprocess, executed }: Answer): void {
    const cost = preprocess + postprocess + (executed > 0 ? predict : 0);
    const before = this.#costs.get(model) ?? cost;
    this.#costs.set(model, before + COST_WEIGHT * (cost - before));
  }

  #isHeavy({ job }: Entry): boolean {
    return (this.#costs.get(job.model) ?? 0) >= HEAVY;
  }

  #onExit(slot: Slot, cause: string): void {
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    for (const { reject } of slot.models.values()) reject(new Error('the worker that loaded it died'));
    if (this.#closing) return;
    this.#options.onWorker('died', cause);
    const [group, from, to] = slot.progress;
    const retried: Entry[] = [];
    for (const [id, entries] of slot.groups) {
      for (const entry of entries) {
        if (!this.#pending.has(entry.job.id)) continue;
        // The job being computed may have caused the crash, so it is not retried.
        const begun = id === group && entry.index >= from && entry.index < to;
        if (begun || entry.attempts >= ATTEMPTS) this.#fail(entry, unavailable('the worker that computed this died'));
        else retried.push(entry);
      }
    }
    for (const entry of retried.reverse()) this.#queue.add(entry, true);
    this.#start(this.#deaths === 0 ? 0 : Math.min(5000, 50 * 2 ** this.#deaths));
    this.#deaths++;
    this.#flush();
  }

  #fail(entry: Entry, error: RequestError): void {
    if (!this.#pending.delete(entry.job.id)) return;
    entry.reject(error);
  }

  /** Sends the jobs that arrive in one turn of the event loop together. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    for (;;) {
      const all = this.#free(this.#slots);
      if (all.length === 0) return;
      const batch = this.#queue.batch();
      if (batch !== null) {
        this.#dispatch(leastBusy(all), batch.entries, batch.maxBatch);
        continue;
      }
      const next = this.#queue.next;
      if (next === null) return;
      const free = this.#isHeavy(next) ? all : this.#free(this.#lightSlots());
      if (free.length === 0) return;
      this.#dispatch(
        leastBusy(free),
        this.#queue.take(Math.min(GROUP, Math.ceil(this.#queue.waiting / free.length))),
        0,
      );
    }
  }

  /** The workers for light jobs. With one worker per core the last one competes with the event loop, so it is used only under congestion. */
  #lightSlots(): readonly Slot[] {
    const others = this.#slots.slice(0, -1);
    if (others.length === 0 || this.#slots.length < availableParallelism()) return this.#slots;
    const congested = others.some(({ groups }) => [...groups.values()].some(([entry]) => this.#isHeavy(entry)));
    return congested ? this.#slots : others;
  }

  #free(slots: readonly Slot[]): Slot[] {
    return slots.filter((s) => s.ready && s.groups.size < OUTSTANDING);
  }

  #dispatch(slot: Slot, entries: Entry[], maxRows: number): void {
    const group = ++this.#groupIds;
    const now = performance.now();
    entries.forEach((entry, index) => {
      entry.started = now;
      entry.attempts++;
      entry.index = index;
    });
    slot.groups.set(group, entries);
    const jobs = packJobs(
      entries.map((e) => e.job),
      slot.cache,
    );
    this.#send(slot, { type: 'run', group, maxRows, jobs }, transfers(jobs));
  }

  #unloadIdle(): void {
    const needed = new Set(Array.from(this.#pending.values(), (entry) => entry.job.model));
    for (const model of this.#unloading) {
      if (needed.has(model)) continue;
      this.#unloading.delete(model);
      this.#models.delete(model);
      this.#costs.delete(model);
      for (const slot of this.#slots) {
        slot.models.delete(model);
        this.#send(slot, { type: 'unload', model });
      }
    }
  }

  #tick(): void {
    const now = Date.now();
    for (const entry of this.#pending.values()) {
      if (now > entry.job.deadline) this.#fail(entry, unavailable('the deadline passed'));
    }
    if (this.#unloading.size > 0) this.#unloadIdle();
    for (const slot of this.#slots) {
      for (const entries of slot.groups.values()) {
        if (entries.length > 0 && now > entries[0].job.deadline + HUNG) void slot.worker.terminate();
      }
    }
  }
}

const leastBusy = (slots: readonly Slot[]): Slot => slots.reduce((a, b) => (b.groups.size < a.groups.size ? b : a));

/** The worker's program in the installed package: bundlers and tests relocate this module, but not that file. */
function workerUrl(): URL {
  return pathToFileURL(createRequire(import.meta.url).resolve('tapegrad/serve/worker'));
}
