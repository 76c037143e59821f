import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type Deferred, deferred } from './deferred.js';
import { BufferCache, type LoadedModel, PROGRESS } from './messages.js';
import type { Entry } from './queue.js';

/** One inference worker, as the pool sees it. */
export interface Slot {
  readonly worker: Worker;
  readonly progress: Int32Array;
  readonly groups: Map<number, Entry[]>;
  readonly cache: BufferCache;
  /** The models that this worker was told to load. */
  readonly models: Map<number, Deferred<LoadedModel>>;
  ready: boolean;
  /** Settles when the worker is ready, or has died before. */
  readonly started: Deferred<void>;
  /** How many models it is loading: it gets no jobs meanwhile, since they would wait for the load. */
  loading: number;
  /** Whether another worker has taken its place: it ends when it has answered what it has. */
  retiring: boolean;
}

/** Starts a worker. @throws Error where the system has no thread or file descriptor for it */
export function startWorker(options: { readonly threads: number; readonly maxOutput: number }): Slot {
  const shared = new SharedArrayBuffer(PROGRESS.LENGTH * 4);
  const worker = new Worker(workerUrl(), {
    workerData: { progress: shared, ...options },
    name: 'tapegrad inference',
    execArgv: [],
  });
  return {
    worker,
    progress: new Int32Array(shared),
    groups: new Map(),
    cache: new BufferCache(),
    models: new Map(),
    ready: false,
    started: deferred(),
    loading: 0,
    retiring: false,
  };
}

/** Whether a worker takes jobs: none that loads a model, for which they would have to wait. */
export const isUsable = (s: Slot): boolean => s.ready && s.loading === 0 && !s.retiring;

export const leastBusy = (slots: readonly Slot[]): Slot =>
  slots.reduce((a, b) => (b.groups.size < a.groups.size ? b : a));

/** The worker's program in the installed package: bundlers and tests relocate this module, but not that file. */
function workerUrl(): URL {
  return pathToFileURL(createRequire(import.meta.url).resolve('tapegrad/serve/worker'));
}
