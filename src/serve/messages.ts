// What the main thread and the inference workers say to each other. Many small jobs travel in one message: their numbers
// in one array, their bytes in one buffer; large bodies are handed over without a copy, those of requests as shared memory,
// so that the main thread still has them if the worker dies.

/** What a body is written in. */
export const PROTOCOL = 0;
export const INVOCATION = 1;
export const INVOCATION_CSV = 2;
export type Kind = typeof PROTOCOL | typeof INVOCATION | typeof INVOCATION_CSV;

export interface Job {
  readonly id: number;
  /** Which loaded model. */
  readonly model: number;
  readonly kind: Kind;
  /** The bytes of JSON at the body's beginning; -1 where all of it is. */
  readonly jsonLength: number;
  /** Whether the answer to an invocation shall be CSV. */
  readonly csv: boolean;
  /** Milliseconds since the epoch after which nobody waits any more. */
  readonly deadline: number;
  readonly body: Uint8Array;
}

export interface Answer {
  readonly id: number;
  readonly status: number;
  readonly jsonLength: number;
  readonly csv: boolean;
  /** How many samples were predicted; 0 for errors. */
  readonly rows: number;
  /** How many samples shared the forward pass, for its first job; 0 for the others. */
  readonly executed: number;
  /** Milliseconds for reading the request, the forward pass (shared by all that were in it) and writing the answer. */
  readonly preprocess: number;
  readonly predict: number;
  readonly postprocess: number;
  readonly body: Uint8Array;
  /** The class of each sample (the number itself for models with one output); empty for more than 64. */
  readonly chosen: Float32Array;
}

/** Rows of inputs and outputs for monitoring. */
export interface Sample {
  readonly model: number;
  readonly rows: number;
  readonly inputs: Float32Array;
  readonly outputs: Float32Array;
}

/** What a worker found out about a model. */
export interface LoadedModel {
  readonly inputFeatures: number | null;
  readonly outputFeatures: number;
  readonly labels: readonly string[];
  readonly baseline: import('../data/baseline.js').Baseline | null;
}

export interface Packed {
  readonly numbers: Float64Array<ArrayBuffer>;
  readonly bytes: ArrayBuffer;
  /** Buffers; places of shared ones that the worker has kept; and shared ones that it shall keep, with their places. */
  readonly large: readonly (ArrayBufferLike | number | readonly [place: number, buffer: SharedArrayBuffer])[];
}

/**
 * Shared buffers that are used again and again travel once, and then by their place: every arrival of one counts as new
 * memory to the engine, which would collect garbage all the time. The main thread and a worker each have a list.
 */
export class Kept {
  readonly #buffers: (SharedArrayBuffer | undefined)[] = [];
  #next = 0;

  /** The place of a buffer, and whether it has to be sent. */
  placeOf(buffer: SharedArrayBuffer): { place: number; known: boolean } {
    const place = this.#buffers.indexOf(buffer);
    if (place >= 0) return { place, known: true };
    const free = this.#next;
    this.#next = (this.#next + 1) % KEPT_BUFFERS;
    this.#buffers[free] = buffer;
    return { place: free, known: false };
  }

  put(place: number, buffer: SharedArrayBuffer): void {
    this.#buffers[place] = buffer;
  }

  at(place: number): SharedArrayBuffer {
    return this.#buffers[place]!;
  }
}

const KEPT_BUFFERS = 64;
/** Larger ones are not kept. */
const KEPT_BYTES = 2 * 2 ** 20;

export type ToWorker =
  | {
      readonly type: 'load';
      readonly model: number;
      readonly name: string;
      readonly version: string;
      readonly bytes: SharedArrayBuffer;
    }
  | { readonly type: 'unload'; readonly model: number }
  /** `maxRows` above 0: one forward pass for as many jobs as fit, all of one model. */
  | { readonly type: 'run'; readonly group: number; readonly maxRows: number; readonly jobs: Packed };

export type FromWorker =
  | { readonly type: 'ready' }
  | { readonly type: 'loaded'; readonly model: number; readonly info: LoadedModel }
  | { readonly type: 'failed'; readonly model: number; readonly error: string }
  | { readonly type: 'answers'; readonly group: number; readonly answers: Packed; readonly samples: readonly Sample[] };

/** The shared numbers in which a worker says what it is doing: the group, and the jobs [from, to) in it. */
export const PROGRESS = { GROUP: 0, FROM: 1, TO: 2, LENGTH: 3 } as const;

/** From this size on a body that owns its buffer is handed over, or shared if it is shared memory, instead of copied. */
export const LARGE = 32_768;
/** Numbers of a body: its buffer (-1: the one for all small bodies), where it begins in it, and its length. */
const BODY = 3;
const JOB = 6 + BODY;
const ANSWER = 9 + 2 * BODY;

function pack<T>(
  records: readonly T[],
  width: number,
  numbersOf: (r: T) => number[],
  bodiesOf: (r: T) => Uint8Array[],
  list?: Kept,
): Packed {
  const numbers = new Float64Array(records.length * width);
  const large: Packed['large'][number][] = [];
  const add = (buffer: ArrayBufferLike): void => {
    if (list === undefined || !(buffer instanceof SharedArrayBuffer) || buffer.byteLength > KEPT_BYTES) {
      large.push(buffer);
      return;
    }
    const { place, known } = list.placeOf(buffer);
    large.push(known ? place : [place, buffer]);
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

/** What a packed message hands over. */
export const transfers = ({ numbers, bytes, large }: Packed): ArrayBuffer[] => [
  numbers.buffer,
  bytes,
  ...large.filter((b): b is ArrayBuffer => b instanceof ArrayBuffer),
];

function unpack<T>(
  { numbers, bytes, large }: Packed,
  width: number,
  make: (n: Float64Array, bodyAt: (i: number) => Uint8Array) => T,
  list?: Kept,
): T[] {
  // In the order in which they were written: a place may change hands within one message.
  const buffers = large.map((b) => {
    if (typeof b === 'number') return list!.at(b);
    if (!Array.isArray(b)) return b as ArrayBufferLike;
    const [place, buffer] = b as [number, SharedArrayBuffer];
    list?.put(place, buffer);
    return buffer;
  });
  return Array.from({ length: numbers.length / width }, (_, r) => {
    const n = numbers.subarray(r * width, (r + 1) * width);
    return make(n, (i) => new Uint8Array(n[i] < 0 ? bytes : buffers[n[i]], n[i + 1], n[i + 2]));
  });
}

export const packJobs = (jobs: readonly Job[], list: Kept): Packed =>
  pack(
    jobs,
    JOB,
    (j) => [j.id, j.model, j.kind, j.jsonLength, Number(j.csv), j.deadline],
    (j) => [j.body],
    list,
  );

export const unpackJobs = (packed: Packed, list: Kept): Job[] =>
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
      body: bodyAt(6),
    }),
    list,
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
