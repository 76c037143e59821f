import type { RequestError } from './errors.js';
import type { Answer, Job } from './messages.js';

// What waits for an inference worker: in the order of arrival, and those whose model allows it in batches.

/** Requests of a model that may share a forward pass. */
export interface Batching {
  /** As many samples at most. */
  readonly maxBatch: number;
  /** How long the first one waits for others, in milliseconds. */
  readonly maxDelay: number;
}

export interface Finished extends Answer {
  /** Milliseconds in the queue. */
  readonly queued: number;
}

/** A job, and who waits for it. */
export interface Entry {
  readonly job: Job;
  readonly batching: Batching | null;
  readonly since: number;
  readonly resolve: (answer: Finished) => void;
  readonly reject: (error: RequestError) => void;
  started: number;
  attempts: number;
  /** Its place in the message that it was given away in. */
  place: number;
}

/** Bytes in one message, unless a single job has more. */
const GROUP_BYTES = 4_000_000;

export class JobQueue {
  readonly #wanted: (entry: Entry) => boolean;
  readonly #ripen: () => void;
  #waiting: Entry[] = [];
  readonly #batches = new Map<number, Entry[]>();
  #ripening: NodeJS.Timeout | null = null;

  /**
   * @param wanted whether anybody still waits for an entry
   * @param ripen is called when a batch has waited long enough
   */
  constructor(wanted: (entry: Entry) => boolean, ripen: () => void) {
    this.#wanted = wanted;
    this.#ripen = ripen;
  }

  /** How many wait outside batches. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** The first one outside batches that somebody waits for. */
  get next(): Entry | null {
    return this.#waiting.find(this.#wanted) ?? null;
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

  /** A batch that is full or has waited long enough. */
  batch(): { entries: Entry[]; maxBatch: number } | null {
    const now = performance.now();
    let soonest = Infinity;
    for (const [model, queue] of this.#batches) {
      const alive = queue.filter(this.#wanted);
      this.#batches.set(model, alive);
      if (alive.length === 0) {
        this.#batches.delete(model);
        continue;
      }
      const { maxBatch, maxDelay } = alive[0].batching!;
      const left = alive[0].since + maxDelay - now;
      if (alive.length >= maxBatch || left <= 0) return { entries: alive.splice(0, maxBatch), maxBatch };
      soonest = Math.min(soonest, left);
    }
    if (soonest < Infinity && this.#ripening === null) {
      this.#ripening = setTimeout(() => {
        this.#ripening = null;
        this.#ripen();
      }, soonest);
    }
    return null;
  }

  /** The first ones outside batches, `most` at most. */
  take(most: number): Entry[] {
    const entries: Entry[] = [];
    let bytes = 0;
    let i = 0;
    for (; i < this.#waiting.length && entries.length < most; i++) {
      const entry = this.#waiting[i];
      if (!this.#wanted(entry)) continue;
      bytes += entry.job.body.length;
      if (entries.length > 0 && bytes > GROUP_BYTES) break;
      entries.push(entry);
    }
    this.#waiting = this.#waiting.slice(i);
    return entries;
  }

  stop(): void {
    clearTimeout(this.#ripening ?? undefined);
  }
}
