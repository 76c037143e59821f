/**
 * The program of an inference worker: parses requests, computes predictions and encodes responses; the main thread only moves
 * bytes. The server starts it in worker threads. It exports nothing.
 *
 * @module
 */

import { parentPort, workerData } from 'node:worker_threads';
import { largest } from '../data/baseline.js';
import { setNumThreads } from '../index.js';
import { RequestError } from './errors.js';
import { encodeInvocation, type Form, parseInvocation } from './protocol/invocations.js';
import { encodeInference, type Parsed, parseInference } from './protocol/open-inference.js';
import { rowSize, sameRows, type TensorValues } from './protocol/tensors.js';
import { allFinite, checkValues } from './protocol/values.js';
import { monotonic } from './workers/clock.js';
import {
  type Answer,
  BufferCache,
  type FromWorker,
  INVOCATION_CSV,
  INVOCATION_LINES,
  type Job,
  PROGRESS,
  PROTOCOL,
  packAnswers,
  type Sample,
  type ToWorker,
  transfers,
  unpackJobs,
} from './workers/messages.js';
import { Runtime } from './workers/runtime.js';
import { Scratch } from './workers/scratch.js';

/** Milliseconds that finished answers wait, to be sent together with others. */
const FLUSH = 2;
/** The limit on samples for drift detection, per model and tenth of a second. */
const SAMPLED = 20;
/** The limit on samples of a request whose predicted classes are kept for feedback. */
const CHOSEN = 64;

const {
  progress: shared,
  threads,
  maxOutput = Number.POSITIVE_INFINITY,
} = workerData as { progress: SharedArrayBuffer; threads: number; maxOutput?: number };
const progress = new Int32Array(shared);
const port = parentPort!;
const runtimes = new Map<number, Runtime>();
setNumThreads(threads);

const send = (message: FromWorker, transferList: ArrayBuffer[] = []) => port.postMessage(message, transferList);

interface Read extends Parsed {
  readonly job: Job;
  readonly runtime: Runtime;
  readonly form: Form | null;
  readonly preprocess: number;
}

const cache = new BufferCache();
const none = new Float32Array(0);
/** The numbers of the requests being computed. */
const scratch = new Scratch();

function failure({ id }: Job, status: number, problem: string): Answer {
  const body = new TextEncoder().encode(JSON.stringify({ error: problem }));
  const nothing = { jsonLength: -1, csv: false, rows: 0, executed: 0, preprocess: 0, predict: 0, postprocess: 0 };
  return { id, status, body, chosen: none, ...nothing };
}

/** Parses a job; `alone` means that it does not share its forward pass. Only the libraries for CSV make a promise of it. */
function read(job: Job, alone: boolean): Read | Answer | Promise<Read | Answer> {
  const started = performance.now();
  if (monotonic() > job.deadline)
    return failure(job, 503, 'the deadline passed while the request waited; try again later');
  const runtime = runtimes.get(job.model);
  if (runtime === undefined) return failure(job, 503, 'this version of the model has been removed; try again');
  try {
    const { signature } = runtime;
    if (job.kind !== PROTOCOL)
      return parseInvocation(job.body, formatOf(job.kind), signature).then(
        (parsed) => check(job, runtime, parsed, alone, started),
        (error) => problemOf(job, error),
      );
    const parsed = parseInference(job.body, job.jsonLength < 0 ? null : job.jsonLength, signature, scratch);
    return check(job, runtime, parsed, alone, started);
  } catch (error) {
    return problemOf(job, error);
  }
}

/** Checks a parsed job against the limits of the server. */
function check(
  job: Job,
  runtime: Runtime,
  parsed: Parsed & { readonly form?: Form },
  alone: boolean,
  started: number,
): Read | Answer {
  const { id, inputs, rows, outputs, binary, form = null } = parsed;
  const numbers = rows * runtime.info.outputFeatures;
  if (numbers > maxOutput) {
    const problem = `the response would have ${numbers} numbers, and the limit is ${maxOutput}`;
    return failure(job, 413, `${problem}; send fewer samples per request`);
  }
  try {
    // An invalid request must not fail the others in its batch.
    if (!parsed.checked && !alone)
      for (const { values, shape } of inputs) checkValues(values, rowSize(shape), runtime.signature);
  } catch (error) {
    return problemOf(job, error);
  }
  const preprocess = performance.now() - started;
  return { id, inputs, rows, outputs, binary, form, checked: parsed.checked || !alone, job, runtime, preprocess };
}

/** The format of the body of an invocation. */
const formatOf = (kind: number) => (kind === INVOCATION_CSV ? 'csv' : kind === INVOCATION_LINES ? 'lines' : 'json');

function problemOf(job: Job, error: unknown): Answer {
  if (error instanceof RequestError) return failure(job, error.statusCode, error.message);
  return failure(job, 500, `the model failed: ${error instanceof Error ? error.message : String(error)}`);
}

/** The inputs of several requests as one, along the first dimension. */
function together(reads: readonly Read[], rows: number): readonly TensorValues[] {
  if (reads.length === 1) return reads[0].inputs;
  return reads[0].inputs.map(({ shape }, i) => {
    const values = scratch.take(rows * rowSize(shape));
    let at = 0;
    for (const r of reads) {
      values.set(r.inputs[i].values, at);
      at += r.inputs[i].values.length;
    }
    return { values, shape: [rows, ...shape.slice(1)] };
  });
}

/** Runs one forward pass for requests with the same model and the same shapes. */
function predict(reads: readonly Read[], samples: Sample[]): Answer[] {
  const [{ runtime, job }] = reads;
  const rows = reads.reduce((n, r) => n + r.rows, 0);
  const started = performance.now();
  let outputs: TensorValues[];
  try {
    outputs = runtime.predict(together(reads, rows), reads[0].checked);
  } catch (error) {
    return reads.map((r) => problemOf(r.job, error));
  }
  const predictTime = performance.now() - started;
  sample(job.model, reads, outputs[0], samples);
  let from = 0;
  return reads.map((r, i): Answer => {
    const own = reads.length === 1 ? outputs : outputs.map((output) => part(output, from, r.rows));
    from += r.rows;
    try {
      return respond(r, own, { executed: i === 0 ? rows : 0, predict: predictTime });
    } catch (error) {
      return problemOf(r.job, error);
    }
  });
}

/** Some rows of a tensor. */
function part({ values, shape }: TensorValues, from: number, rows: number): TensorValues {
  const size = rowSize(shape);
  return { values: values.subarray(from * size, (from + rows) * size), shape: [rows, ...shape.slice(1)] };
}

/** Encodes the response to one request. @throws RequestError for a response that is too long; Error for one with NaN or Infinity */
function respond(r: Read, own: readonly TensorValues[], work: Pick<Answer, 'executed' | 'predict'>): Answer {
  const begun = performance.now();
  for (const { values, shape } of own) {
    // JSON has no such numbers: they would become null.
    if (allFinite(values)) continue;
    const at = values.findIndex((v) => !Number.isFinite(v));
    const size = rowSize(shape);
    const where = `output ${at % size} of row ${Math.floor(at / size)}`;
    throw new Error(`${where} is ${values[at]}; the numbers of the request may be too large for it`);
  }
  const { signature } = r.runtime;
  const encoded =
    r.form === null
      ? encodeInference(r, own, signature)
      : encodeInvocation({ ...r, form: r.form }, own, signature, r.job.csv ? 'csv' : r.job.lines ? 'lines' : 'json');
  return {
    id: r.job.id,
    status: 200,
    body: encoded.body,
    jsonLength: encoded.jsonLength ?? -1,
    csv: r.form !== null && r.job.csv,
    rows: r.rows,
    preprocess: r.preprocess,
    postprocess: performance.now() - begun,
    chosen: r.rows > CHOSEN ? none : choose(own[0].values, r.rows, rowSize(own[0].shape)),
    ...work,
  };
}

function choose(outputs: Float32Array, rows: number, width: number): Float32Array {
  if (width === 1) return outputs.slice();
  return Float32Array.from({ length: rows }, (_, i) => largest(outputs.subarray(i * width, (i + 1) * width)));
}

const budgets = new Map<number, { until: number; left: number }>();

/** Copies samples for drift detection, as many as the budget of the model allows. The baseline is of the first input and output. */
function sample(model: number, reads: readonly Read[], { values: outputs, shape }: TensorValues, into: Sample[]): void {
  if (reads[0].runtime.info.baseline === null) return;
  const now = performance.now();
  let budget = budgets.get(model);
  if (budget === undefined || budget.until < now) {
    budget = { until: now + 100, left: SAMPLED };
    budgets.set(model, budget);
  }
  const width = rowSize(shape);
  let from = 0;
  for (const { rows, inputs } of reads) {
    const count = Math.min(rows, budget.left);
    if (count === 0) return;
    budget.left -= count;
    const [{ values, shape }] = inputs;
    const features = rowSize(shape);
    // Adjacent rows from a random offset: requests are rarely larger than the budget.
    const start = Math.floor(Math.random() * (rows - count + 1));
    into.push({
      model,
      rows: count,
      inputs: values.slice(start * features, (start + count) * features),
      outputs: outputs.slice((from + start) * width, (from + start + count) * width),
    });
    from += rows;
  }
}

function reportProgress(group: number, from: number, to: number): void {
  Atomics.store(progress, PROGRESS.FROM, from);
  Atomics.store(progress, PROGRESS.TO, to);
  Atomics.store(progress, PROGRESS.GROUP, group);
}

async function run({ group, maxRows, jobs: packed }: Extract<ToWorker, { type: 'run' }>): Promise<void> {
  const jobs = unpackJobs(packed, cache);
  let answers: Answer[] = [];
  let samples: Sample[] = [];
  let last = performance.now();
  const flush = () => {
    const message = packAnswers(answers);
    send({ type: 'answers', group, answers: message, samples }, transfers(message));
    [answers, samples, last] = [[], [], performance.now()];
  };
  if (maxRows > 0) {
    reportProgress(group, 0, jobs.length);
    scratch.clear();
    const reads: Read[] = [];
    for (const job of jobs) {
      const reading = read(job, false);
      const r = reading instanceof Promise ? await reading : reading;
      if ('status' in r) answers.push(r);
      else reads.push(r);
    }
    while (reads.length > 0) {
      const batch = [reads.shift()!];
      let rows = batch[0].rows;
      while (reads.length > 0 && rows + reads[0].rows <= maxRows && sameRows(reads[0].inputs, batch[0].inputs)) {
        rows += reads[0].rows;
        batch.push(reads.shift()!);
      }
      answers.push(...predict(batch, samples));
    }
  } else {
    for (const [i, job] of jobs.entries()) {
      reportProgress(group, i, i + 1);
      scratch.clear();
      const reading = read(job, true);
      const r = reading instanceof Promise ? await reading : reading;
      answers.push(...('status' in r ? [r] : predict([r], samples)));
      if (i + 1 < jobs.length && performance.now() - last > FLUSH) flush();
    }
  }
  flush();
}

async function handle(message: ToWorker): Promise<void> {
  if (message.type === 'run') return run(message);
  const { model } = message;
  if (message.type === 'unload') {
    runtimes.delete(model);
    budgets.delete(model);
    return;
  }
  try {
    const runtime = await Runtime.load(message.name, message.version, new Uint8Array(message.bytes).slice());
    runtimes.set(model, runtime);
    send({ type: 'loaded', model, info: runtime.info });
  } catch (error) {
    send({ type: 'failed', model, error: error instanceof Error ? error.message : String(error) });
  }
}

// Handles messages in order, although loading is asynchronous.
let tail = Promise.resolve();
port.on('message', (message: ToWorker) => {
  tail = tail.then(() => handle(message));
});
send({ type: 'ready' });
