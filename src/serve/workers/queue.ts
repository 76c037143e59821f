import type { RequestError } from '../errors.js';
import type { Answer, Job } from './messages.js';

// The queue of jobs for the inference workers: in order of arrival, with a separate queue for each model with batching.

/** Options of dynamic batching: several requests for a model share a forward pass. */
export interface Batching {
  /** The largest number of samples in a batch. */
  readonly maxBatch: number;
  /** The longest time that the first request of a batch waits for others, in milliseconds. */
  readonly maxDelay: number;
}

/** The answer to a job, with its time in the queue. */
export interface QueuedAnswer extends Answer {
  /** Milliseconds in the queue. */
  readonly queued: number;
}

/** A job in the queue, and the callbacks that settle its promise. */
export interface Entry {
  readonly job: Job;
  readonly batching: Batching | null;
  readonly since: number;
  readonly resolve: (answer: QueuedAnswer) => void;
  readonly reject: (error: RequestError) => void;
  started: number;
  attempts: number;
  /** Its index in the message that carried it to a worker. */
  index: number;
}

/** The limit on the bytes of one message, unless a single job is larger. */
const GROUP_BYTES = 4_000_000;

export class JobQueue {
  readonly #isPending: (entry: Entry) => boolean;
  readonly #onBatchDue: () => void;
  #waiting: Entry[] = [];
  readonly #batches = new Map<number, Entry[]>();
  #batchTimer: NodeJS.Timeout | null = null;

  /**
   * @param isPending whether the client of an entry still waits
   * @param onBatchDue called when a batch has reached its maximum delay
   */
  constructor(isPending: (entry: Entry) => boolean, onBatchDue: () => void) {
    this.#isPending = isPending;
    this.#onBatchDue = onBatchDue;
  }

  /** The number of entries without batching. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** The first pending entry without batching. */
  get next(): Entry | null {
    return this.#waiting.find(this.#isPending) ?? null;
  }

  add(entry: Entry, first = false): void {
    let queue = this.#waiting;
    if (entry.batching !== null) {
      const own = this.#batches.get(entry.job.model);
      queue = own ?? [];
      if (own === undefined) this.#batches.set(entry.job.model, queue);
    }
    if (first) queue.unshift(entry);
    else queue.push(entry);
  }

  /** A batch that is full or has reached its maximum delay; null if there is none. */
  batch(): { entries: Entry[]; maxBatch: number } | null {
    const now = performance.now();
    let soonest = Infinity;
    for (const [model, queue] of this.#batches) {
      const pending = queue.filter(this.#isPending);
      this.#batches.set(model, pending);
      if (pending.length === 0) {
        this.#batches.delete(model);
        continue;
      }
      const { maxBatch, maxDelay } = pending[0].batching!;
      const left = pending[0].since + maxDelay - now;
      if (pending.length >= maxBatch || left <= 0) return { entries: pending.splice(0, maxBatch), maxBatch };
      soonest = Math.min(soonest, left);
    }
    if (soonest < Infinity && this.#batchTimer === null) {
      this.#batchTimer = setTimeout(() => {
        this.#batchTimer = null;
        this.#onBatchDue();
      }, soonest);
    }
    return null;
  }

  /** Removes and returns the first entries without batching, at most `limit`. */
  take(limit: number): Entry[] {
    const entries: Entry[] = [];
    let bytes = 0;
    let i = 0;
    for (; i < this.#waiting.length && entries.length < limit; i++) {
      const entry = this.#waiting[i];
      if (!this.#isPending(entry)) continue;
      bytes += entry.job.body.length;
      if (entries.length > 0 && bytes > GROUP_BYTES) break;
      entries.push(entry);
    }
    this.#waiting = this.#waiting.slice(i);
    return entries;
  }

  stop(): void {
    clearTimeout(this.#batchTimer ?? undefined);
  }
}
