import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { RequestError } from './errors.js';
import {
  type Answer,
  type FromWorker,
  type Job,
  Kept,
  type LoadedModel,
  type Packed,
  PROGRESS,
  packJobs,
  type Sample,
  type ToWorker,
  transfers,
  unpackAnswers,
} from './messages.js';
import { type Batching, type Entry, type Finished, JobQueue } from './queue.js';

// The inference workers. A worker that dies takes with it what it was computing; what it had not begun goes to another one.

export interface PoolOptions {
  /** Threads that compute. */
  readonly workers: number;
  /** Threads that share one forward pass. */
  readonly threads: number;
  /** How many requests may wait or be computed at once. */
  readonly queue: number;
  readonly onSamples: (samples: readonly Sample[]) => void;
  /** A worker has died or is up again. */
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
  readonly kept: Kept;
  /** The models that were given to this worker. */
  readonly models: Map<number, Loading>;
  ready: boolean;
}

/** Jobs in one message. */
const GROUP = 32;
/** Messages that a worker has at once: one that it computes, one that lies ready. */
const OUTSTANDING = 2;
/** How often a request is given to a worker. */
const ATTEMPTS = 2;
/** Milliseconds after its deadline after which a computation is taken for hung. */
const HUNG = 10_000;

/** Milliseconds of a worker for one job, from which on it is worth taking them from the event loop's core. */
const HEAVY = 0.15;
/** How much the newest message says about what a model's jobs cost. */
const NEWEST = 0.1;

const later = (problem: string) => new RequestError(503, `${problem}; try again later`, 1);

export class Pool {
  readonly #options: PoolOptions;
  readonly #slots: Slot[] = [];
  readonly #models = new Map<number, Model>();
  /** All that has not been answered. */
  readonly #pending = new Map<number, Entry>();
  readonly #queue: JobQueue;
  readonly #clock: NodeJS.Timeout;
  /** Milliseconds of a worker for one job of a model, as they were lately. */
  readonly #costs = new Map<number, number>();
  /** Models that go when nothing needs them any more. */
  readonly #leaving = new Set<number>();
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

  /** How many requests wait or are computed. */
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
  submit(job: Omit<Job, 'id'>, batching: Batching | null): Promise<Finished> {
    if (this.#closing) return Promise.reject(later('the server is shutting down'));
    if (this.full)
      return Promise.reject(new RequestError(429, `${this.depth} requests are waiting already; try again later`, 1));
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
        place: 0,
      };
      this.#pending.set(id, entry);
      this.#queue.add(entry);
      this.#flushSoon();
    });
  }

  /** Has every worker load a model, the first one alone, so that a broken file stops there. @throws Error saying what is wrong with the file */
  async load(model: number, spec: Model): Promise<LoadedModel> {
    const [first] = this.#slots;
    if (first === undefined) throw new Error('no inference worker is up');
    const info = await this.#loadInto(first, model, spec);
    this.#models.set(model, spec);
    const others = this.#slots.filter((slot) => slot !== first);
    await Promise.all(others.map((slot) => this.#loadInto(slot, model, spec).catch(() => {})));
    return info;
  }

  /** Has every worker forget a model, once what was submitted for it is answered. */
  unload(model: number): void {
    this.#leaving.add(model);
  }

  /** Takes nothing more, waits until all is answered, `grace` milliseconds at most, and ends the workers. */
  async close(grace: number): Promise<void> {
    this.#closing = true;
    const end = performance.now() + grace;
    while (this.#pending.size > 0 && performance.now() < end) await new Promise((r) => setTimeout(r, 10));
    clearInterval(this.#clock);
    this.#queue.stop();
    for (const entry of this.#pending.values()) this.#fail(entry, later('the server is shutting down'));
    await Promise.all(this.#slots.map((s) => s.worker.terminate()));
  }

  /** Ends a worker at once, as a crash would; for tests. @internal */
  async kill(index: number): Promise<void> {
    await this.#slots[index].worker.terminate();
  }

  #tell(slot: Slot, message: ToWorker, handed: ArrayBuffer[] = []): void {
    slot.worker.postMessage(message, handed);
  }

  /** A model is given to a worker once, whoever asks: `load`, or the worker's own beginning. */
  #loadInto(slot: Slot, model: number, spec: Model): Promise<LoadedModel> {
    const known = slot.models.get(model);
    if (known !== undefined) return known.done;
    let [resolve, reject]: [Loading['resolve'], Loading['reject']] = [() => {}, () => {}];
    const done = new Promise<LoadedModel>((yes, no) => {
      [resolve, reject] = [yes, no];
    });
    slot.models.set(model, { done, resolve, reject });
    this.#tell(slot, { type: 'load', model, ...spec });
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
      kept: new Kept(),
      models: new Map(),
      ready: false,
    };
    this.#slots.push(slot);
    let cause = '';
    worker.on('message', (message: FromWorker) => this.#hear(slot, message));
    worker.on('error', (error) => {
      cause = String(error);
    });
    worker.on('exit', (code) => this.#died(slot, cause || `it ended with code ${code}`));
  }

  async #hear(slot: Slot, message: FromWorker): Promise<void> {
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
      this.#learn(entry.job.model, answer);
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

  #learn(model: number, { preprocess, predict, postprocess, executed }: Answer): void {
    const cost = preprocess + postprocess + (executed > 0 ? predict : 0);
    const before = this.#costs.get(model) ?? cost;
    this.#costs.set(model, before + NEWEST * (cost - before));
  }

  #heavy({ job }: Entry): boolean {
    return (this.#costs.get(job.model) ?? 0) >= HEAVY;
  }

  #died(slot: Slot, cause: string): void {
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    for (const { reject } of slot.models.values()) reject(new Error('the worker that loaded it died'));
    if (this.#closing) return;
    this.#options.onWorker('died', cause);
    const [group, from, to] = slot.progress;
    const again: Entry[] = [];
    for (const [id, entries] of slot.groups) {
      for (const entry of entries) {
        if (!this.#pending.has(entry.job.id)) continue;
        // What it was computing may be what killed it.
        const begun = id === group && entry.place >= from && entry.place < to;
        if (begun || entry.attempts >= ATTEMPTS) this.#fail(entry, later('the worker that computed this died'));
        else again.push(entry);
      }
    }
    for (const entry of again.reverse()) this.#queue.add(entry, true);
    this.#start(this.#deaths === 0 ? 0 : Math.min(5000, 50 * 2 ** this.#deaths));
    this.#deaths++;
    this.#flush();
  }

  #fail(entry: Entry, error: RequestError): void {
    if (!this.#pending.delete(entry.job.id)) return;
    entry.reject(error);
  }

  /** What arrives in one turn of the event loop travels together. */
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
      const ripe = this.#queue.batch();
      if (ripe !== null) {
        this.#give(leastBusy(all), ripe.entries, ripe.maxBatch);
        continue;
      }
      const next = this.#queue.next;
      if (next === null) return;
      const free = this.#heavy(next) ? all : this.#free(this.#forLight());
      if (free.length === 0) return;
      this.#give(leastBusy(free), this.#queue.take(Math.min(GROUP, Math.ceil(this.#queue.waiting / free.length))), 0);
    }
  }

  /** With a worker for every core, the last one shares its core with the event loop: it steps in where others are held up. */
  #forLight(): readonly Slot[] {
    const others = this.#slots.slice(0, -1);
    if (others.length === 0 || this.#slots.length < availableParallelism()) return this.#slots;
    const heldUp = others.some(({ groups }) => [...groups.values()].some(([entry]) => this.#heavy(entry)));
    return heldUp ? this.#slots : others;
  }

  #free(slots: readonly Slot[]): Slot[] {
    return slots.filter((s) => s.ready && s.groups.size < OUTSTANDING);
  }

  #give(slot: Slot, entries: Entry[], maxRows: number): void {
    const group = ++this.#groupIds;
    const now = performance.now();
    entries.forEach((entry, place) => {
      entry.started = now;
      entry.attempts++;
      entry.place = place;
    });
    slot.groups.set(group, entries);
    const jobs = packJobs(
      entries.map((e) => e.job),
      slot.kept,
    );
    this.#tell(slot, { type: 'run', group, maxRows, jobs }, transfers(jobs));
  }

  #forget(): void {
    const needed = new Set(Array.from(this.#pending.values(), (entry) => entry.job.model));
    for (const model of this.#leaving) {
      if (needed.has(model)) continue;
      this.#leaving.delete(model);
      this.#models.delete(model);
      this.#costs.delete(model);
      for (const slot of this.#slots) {
        slot.models.delete(model);
        this.#tell(slot, { type: 'unload', model });
      }
    }
  }

  #tick(): void {
    const now = Date.now();
    for (const entry of this.#pending.values()) {
      if (now > entry.job.deadline) this.#fail(entry, later('the deadline passed'));
    }
    if (this.#leaving.size > 0) this.#forget();
    for (const slot of this.#slots) {
      for (const entries of slot.groups.values()) {
        if (entries.length > 0 && now > entries[0].job.deadline + HUNG) void slot.worker.terminate();
      }
    }
  }
}

const leastBusy = (slots: readonly Slot[]): Slot => slots.reduce((a, b) => (b.groups.size < a.groups.size ? b : a));

/** The worker's program in the installed package: bundlers and tests move this module, but not that file. */
function workerUrl(): URL {
  return pathToFileURL(createRequire(import.meta.url).resolve('tapegrad/serve/worker'));
}
