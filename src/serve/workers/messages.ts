import type { TensorSpec } from '../protocol/tensors.js';

// The messages between the main thread and the inference workers. Many small jobs share one message: their numbers in one
// array, their bytes in one buffer. Large bodies are passed without a copy; those of requests are shared memory, so that the
// main thread still has them if the worker dies.

/** The format of a body. */
export const PROTOCOL = 0;
export const INVOCATION = 1;
export const INVOCATION_CSV = 2;
export const INVOCATION_LINES = 3;
export type Kind = typeof PROTOCOL | typeof INVOCATION | typeof INVOCATION_CSV | typeof INVOCATION_LINES;

/** One request for a worker. */
export interface Job {
  readonly id: number;
  /** The id of the loaded model. */
  readonly model: number;
  readonly kind: Kind;
  /** The length in bytes of the JSON at the start of the body; -1 if the whole body is JSON. */
  readonly jsonLength: number;
  /** Whether the response to an invocation is CSV. */
  readonly csv: boolean;
  /** Whether the response to an invocation is JSON Lines. Default false. */
  readonly lines?: boolean;
  /** The deadline, on the clock of clock.ts. */
  readonly deadline: number;
  readonly body: Uint8Array;
}

/** The response to a job. */
export interface Answer {
  readonly id: number;
  readonly status: number;
  readonly jsonLength: number;
  readonly csv: boolean;
  /** The number of predicted samples; 0 for errors. */
  readonly rows: number;
  /** For the first job of a forward pass its number of samples; 0 for the other jobs. */
  readonly executed: number;
  /** Milliseconds for parsing the request, the forward pass (of all jobs in it) and encoding the response. */
  readonly preprocess: number;
  readonly predict: number;
  readonly postprocess: number;
  readonly body: Uint8Array;
  /** The predicted class of each sample (the output itself for models with one output); empty for more than 64 samples. */
  readonly chosen: Float32Array;
}

/** Inputs and outputs of some samples, for drift detection. */
export interface Sample {
  readonly model: number;
  readonly rows: number;
  readonly inputs: Float32Array;
  readonly outputs: Float32Array;
}

/** The properties of a model that a worker has loaded. */
export interface LoadedModel {
  /** What it takes and gives. */
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** The number of outputs for a sample, in its first output. */
  readonly outputFeatures: number;
  readonly labels: readonly string[];
  readonly baseline: import('../../data/baseline.js').Baseline | null;
}

/** Several jobs or answers in transferable form. */
export interface Packed {
  readonly numbers: Float64Array<ArrayBuffer>;
  readonly bytes: ArrayBuffer;
  /** Buffers; indices of shared buffers in the worker's cache; and shared buffers to add to it, with their indices. */
  readonly large: readonly (ArrayBufferLike | number | readonly [index: number, buffer: SharedArrayBuffer])[];
}

/**
 * A cache of shared buffers, one in the main thread and one in each worker. A reused buffer is sent once, and then by its
 * index: V8 counts each received buffer as newly allocated memory, and would collect garbage constantly.
 */
export class BufferCache {
  readonly #buffers: (SharedArrayBuffer | undefined)[] = [];
  #next = 0;

  /** The index of a buffer, and whether the receiver already has it. */
  indexOf(buffer: SharedArrayBuffer): { index: number; known: boolean } {
    const index = this.#buffers.indexOf(buffer);
    if (index >= 0) return { index, known: true };
    const free = this.#next;
    this.#next = (this.#next + 1) % CACHED_BUFFERS;
    this.#buffers[free] = buffer;
    return { index: free, known: false };
  }

  put(index: number, buffer: SharedArrayBuffer): void {
    this.#buffers[index] = buffer;
  }

  at(index: number): SharedArrayBuffer {
    return this.#buffers[index]!;
  }
}

const CACHED_BUFFERS = 64;
/** Larger buffers are not cached. */
const CACHED_BYTES = 2 * 2 ** 20;

/** Messages to a worker. */
export type ToWorker =
  | {
      readonly type: 'load';
      readonly model: number;
      readonly name: string;
      readonly version: string;
      readonly bytes: SharedArrayBuffer;
    }
  | { readonly type: 'unload'; readonly model: number }
  /** With `maxRows` above 0, jobs of one model are combined into forward passes of at most so many samples. */
  | { readonly type: 'run'; readonly group: number; readonly maxRows: number; readonly jobs: Packed };

/** Messages from a worker. */
export type FromWorker =
  | { readonly type: 'ready' }
  | { readonly type: 'loaded'; readonly model: number; readonly info: LoadedModel }
  | { readonly type: 'failed'; readonly model: number; readonly error: string }
  | { readonly type: 'answers'; readonly group: number; readonly answers: Packed; readonly samples: readonly Sample[] };

/** Indices of the shared array in which a worker records its progress: the group, and the jobs [from, to) in it. */
export const PROGRESS = { GROUP: 0, FROM: 1, TO: 2, LENGTH: 3 } as const;

/** From this size in bytes a body that fills its buffer is transferred, or shared if it is shared memory, instead of copied. */
export const LARGE = 32_768;
/** The numbers that describe a body: index of its buffer (-1 for the buffer of all small bodies), offset and length. */
const BODY = 3;
const JOB = 7 + BODY;
const ANSWER = 9 + 2 * BODY;

function pack<T>(
  records: readonly T[],
  width: number,
  numbersOf: (r: T) => number[],
  bodiesOf: (r: T) => Uint8Array[],
  cache?: BufferCache,
): Packed {
  const numbers = new Float64Array(records.length * width);
  const large: Packed['large'][number][] = [];
  const add = (buffer: ArrayBufferLike): void => {
    if (cache === undefined || !(buffer instanceof SharedArrayBuffer) || buffer.byteLength > CACHED_BYTES) {
      large.push(buffer);
      return;
    }
    const { index, known } = cache.indexOf(buffer);
    large.push(known ? index : [index, buffer]);
  };
  const small: [Uint8Array, number][] = [];
  let length = 0;
  records.forEach((record, i) => {
    const fields = numbersOf(record);
    for (const body of bodiesOf(record)) {
      if (
        body.length >= LARGE &&
        (body.buffer instanceof SharedArrayBuffer || body.length === body.buffer.byteLength)
      ) {
        fields.push(large.length, body.byteOffset, body.length);
        add(body.buffer);
      } else {
        fields.push(-1, length, body.length);
        small.push([body, length]);
        length += (body.length + 7) & ~7;
      }
    }
    numbers.set(fields, i * width);
  });
  const bytes = new Uint8Array(length);
  for (const [body, at] of small) bytes.set(body, at);
  return { numbers, bytes: bytes.buffer, large };
}

/** The transfer list of a packed message. */
export const transfers = ({ numbers, bytes, large }: Packed): ArrayBuffer[] => [
  numbers.buffer,
  bytes,
  ...large.filter((b): b is ArrayBuffer => b instanceof ArrayBuffer),
];

function unpack<T>(
  { numbers, bytes, large }: Packed,
  width: number,
  make: (n: Float64Array, bodyAt: (i: number) => Uint8Array) => T,
  cache?: BufferCache,
): T[] {
  // In the order of packing, because an index can be reassigned within one message.
  const buffers = large.map((b) => {
    if (typeof b === 'number') return cache!.at(b);
    if (!Array.isArray(b)) return b as ArrayBufferLike;
    const [index, buffer] = b as [number, SharedArrayBuffer];
    cache?.put(index, buffer);
    return buffer;
  });
  return Array.from({ length: numbers.length / width }, (_, r) => {
    const n = numbers.subarray(r * width, (r + 1) * width);
    return make(n, (i) => new Uint8Array(n[i] < 0 ? bytes : buffers[n[i]], n[i + 1], n[i + 2]));
  });
}

export const packJobs = (jobs: readonly Job[], cache: BufferCache): Packed =>
  pack(
    jobs,
    JOB,
    (j) => [j.id, j.model, j.kind, j.jsonLength, Number(j.csv), j.deadline, Number(j.lines === true)],
    (j) => [j.body],
    cache,
  );

export const unpackJobs = (packed: Packed, cache: BufferCache): Job[] =>
  unpack(
    packed,
    JOB,
    (n, bodyAt) => ({
      id: n[0],
      model: n[1],
      kind: n[2] as Kind,
      jsonLength: n[3],
      csv: n[4] === 1,
      deadline: n[5],
      lines: n[6] === 1,
      body: bodyAt(7),
    }),
    cache,
  );

export const packAnswers = (answers: readonly Answer[]): Packed =>
  pack(
    answers,
    ANSWER,
    (a) => [a.id, a.status, a.jsonLength, Number(a.csv), a.rows, a.executed, a.preprocess, a.predict, a.postprocess],
    (a) => [a.body, new Uint8Array(a.chosen.buffer, a.chosen.byteOffset, a.chosen.byteLength)],
  );

export const unpackAnswers = (packed: Packed): Answer[] =>
  unpack(packed, ANSWER, (n, bodyAt) => {
    const chosen = bodyAt(9 + BODY);
    return {
      id: n[0],
      status: n[1],
      jsonLength: n[2],
      csv: n[3] === 1,
      rows: n[4],
      executed: n[5],
      preprocess: n[6],
      predict: n[7],
      postprocess: n[8],
      body: bodyAt(9),
      chosen: new Float32Array(chosen.buffer, chosen.byteOffset, chosen.byteLength / 4),
    };
  });
