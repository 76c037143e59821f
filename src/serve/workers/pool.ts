import { availableParallelism } from 'node:os';
import { RequestError } from '../errors.js';
import { monotonic } from './clock.js';
import { Costs } from './costs.js';
import { deferred } from './deferred.js';
import {
  type FromWorker,
  type Job,
  type LoadedModel,
  type Packed,
  packJobs,
  type Sample,
  type ToWorker,
  transfers,
  unpackAnswers,
} from './messages.js';
import { type Batching, type Entry, JobQueue, type QueuedAnswer } from './queue.js';
import { isUsable, leastBusy, type Slot, startWorker } from './slot.js';

// The inference workers. If a worker dies, the jobs that it was computing fail; those it had not begun go to another worker.

/** Options of {@link Pool}. */
export interface PoolOptions {
  /** The number of workers. */
  readonly workers: number;
  /** The number of threads for each forward pass. */
  readonly threads: number;
  /** The limit on requests that are waiting or being computed. */
  readonly queue: number;
  /** The limit on the numbers of one response. */
  readonly maxOutput: number;
  readonly onSamples: (samples: readonly Sample[]) => void;
  /** Called when a worker has died or is ready. */
  readonly onWorker: (event: 'died' | 'ready', detail: string) => void;
}

interface Model {
  readonly name: string;
  readonly version: string;
  readonly bytes: SharedArrayBuffer;
}

/** The limit on jobs in one message. */
const GROUP = 32;
/** The limit on messages per worker: one being computed and one queued. */
const OUTSTANDING = 2;
/** How often a job is sent to a worker before it fails. */
const ATTEMPTS = 2;
/** Milliseconds after the deadline until a computation is considered hung. */
const HUNG = 10_000;

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
  readonly #costs = new Costs();
  /** Models to unload when their jobs are done. */
  readonly #unloading = new Set<number>();
  #ids = 0;
  #groupIds = 0;
  #flushing = false;
  #closing = false;
  #deaths = 0;
  /** Whether there has been a job. */
  #served = false;

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
    return this.#slots.filter((s) => s.ready && !s.retiring).length;
  }

  /** Computes a job. @throws RequestError 429 when the queue is full, 503 when the worker died or the deadline passed */
  submit(job: Omit<Job, 'id'>, batching: Batching | null): Promise<QueuedAnswer> {
    if (this.#closing) return Promise.reject(unavailable('the server is shutting down'));
    if (this.full)
      return Promise.reject(new RequestError(429, `${this.depth} requests are already waiting; try again later`, 1));
    this.#served = true;
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

  /**
   * Loads a model in every worker, one after the other, so that the others answer meanwhile. A single worker is replaced by
   * another one that has loaded it. @throws Error naming the problem with the file
   */
  async load(model: number, spec: Model): Promise<LoadedModel> {
    const slots = this.#slots.filter((slot) => !slot.retiring);
    const [first] = slots;
    if (first === undefined) throw new Error('no inference worker is running');
    if (slots.length === 1 && this.#served && this.#models.size > 0) return this.#loadBeside(model, spec);
    const info = await this.#loadInto(first, model, spec);
    this.#models.set(model, spec);
    // What fails there is a worker that has died; its successor loads all models.
    const others = slots.slice(1).map((slot) => () => this.#loadInto(slot, model, spec).catch(() => {}));
    if (this.#served) for (const load of others) await load();
    else await Promise.all(others.map((load) => load()));
    return info;
  }

  /** Loads a model in a second worker, which then takes the place of the only one. */
  async #loadBeside(model: number, spec: Model): Promise<LoadedModel> {
    const spare = this.#spawn();
    try {
      await spare.started.promise;
      const info = await this.#loadInto(spare, model, spec);
      this.#models.set(model, spec);
      for (const slot of this.#slots) if (slot !== spare) this.#retire(slot);
      this.#flush();
      return info;
    } catch (error) {
      this.#retire(spare);
      throw error;
    }
  }

  /** Gives a worker no more jobs, and ends it once it has answered those it has. */
  #retire(slot: Slot): void {
    slot.retiring = true;
    if (slot.groups.size === 0) void slot.worker.terminate();
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
    if (known !== undefined) return known.promise;
    if (!this.#slots.includes(slot)) return Promise.reject(new Error('the worker that was to load it died'));
    const loading = deferred<LoadedModel>();
    slot.models.set(model, loading);
    slot.loading++;
    this.#send(slot, { type: 'load', model, ...spec });
    return loading.promise.finally(() => {
      slot.loading--;
      this.#flush();
    });
  }

  #start(delay: number): void {
    if (delay > 0) {
      setTimeout(() => this.#start(0), delay);
      return;
    }
    if (this.#closing) return;
    try {
      this.#spawn();
    } catch (error) {
      // Without free file descriptors, for example, no thread starts.
      this.#options.onWorker('died', String(error));
      this.#startLater();
    }
  }

  #startLater(): void {
    this.#start(this.#deaths === 0 ? 0 : Math.min(1000, 50 * 2 ** this.#deaths));
    this.#deaths++;
  }

  #spawn(): Slot {
    const { threads, maxOutput } = this.#options;
    const slot = startWorker({ threads, maxOutput });
    this.#slots.push(slot);
    const { worker } = slot;
    let cause = '';
    worker.on('message', (message: FromWorker) => this.#onMessage(slot, message));
    worker.on('error', (error) => {
      cause = String(error);
    });
    worker.on('exit', (code) => this.#onExit(slot, cause || `it ended with code ${code}`));
    return slot;
  }

  async #onMessage(slot: Slot, message: FromWorker): Promise<void> {
    if (message.type === 'answers') {
      this.#answered(slot, message.group, message.answers);
      if (message.samples.length > 0) this.#options.onSamples(message.samples);
    } else if (message.type === 'ready') {
      await Promise.all([...this.#models].map(([model, spec]) => this.#loadInto(slot, model, spec).catch(() => {})));
      if (!this.#slots.includes(slot)) return;
      slot.ready = true;
      slot.started.resolve();
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
      this.#costs.add(entry.job.model, answer);
      entry.resolve({ ...answer, queued: entry.started - entry.since });
    }
    if (entries === undefined) return;
    const done = new Set(answers.map((a) => a.id));
    const rest = entries.filter((e) => !done.has(e.job.id));
    if (rest.length > 0) slot.groups.set(group, rest);
    else {
      slot.groups.delete(group);
      if (slot.retiring) this.#retire(slot);
      this.#flush();
    }
  }

  #onExit(slot: Slot, cause: string): void {
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    for (const { reject } of slot.models.values()) reject(new Error('the worker that loaded it died'));
    slot.started.reject(new Error('the worker that was to load it died'));
    if (this.#closing || (slot.retiring && slot.groups.size === 0)) return;
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
    if (!slot.retiring) this.#startLater();
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
      const free = this.#costs.isHeavy(next.job.model) ? all : this.#free(this.#lightSlots());
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
    const usable = this.#slots.filter(isUsable);
    const others = usable.slice(0, -1);
    if (others.length === 0 || usable.length < availableParallelism()) return usable;
    const congested = others.some(({ groups }) =>
      [...groups.values()].some(([entry]) => this.#costs.isHeavy(entry.job.model)),
    );
    return congested ? usable : others;
  }

  #free(slots: readonly Slot[]): Slot[] {
    return slots.filter((s) => isUsable(s) && s.groups.size < OUTSTANDING);
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
      this.#costs.forget(model);
      for (const slot of this.#slots) {
        slot.models.delete(model);
        this.#send(slot, { type: 'unload', model });
      }
    }
  }

  #tick(): void {
    const now = monotonic();
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
