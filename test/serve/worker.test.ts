import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { data, nn } from '../../src/index.js';
import {
  type Answer,
  BufferCache,
  type FromWorker,
  INVOCATION,
  INVOCATION_CSV,
  type Job,
  PROGRESS,
  PROTOCOL,
  packJobs,
  type Sample,
  type ToWorker,
  unpackAnswers,
  unpackJobs,
} from '../../src/serve/workers/messages.js';
import { Scratch } from '../../src/serve/workers/scratch.js';
import { sampleTensor } from '../helpers.js';
import { folder, inferBody, predict, publish, smallModel } from './helpers.js';

// The inference worker by itself, in this thread: what it answers to which message.

const { port, progress } = vi.hoisted(() => ({ port: {} as { on?: unknown }, progress: new SharedArrayBuffer(12) }));
vi.mock('node:worker_threads', async (original) => ({
  ...(await original<object>()),
  parentPort: port,
  workerData: { progress, threads: 1 },
}));

const said: FromWorker[] = [];
const emitter = new EventEmitter();
Object.assign(port, {
  on: (event: string, listener: (m: ToWorker) => void) => emitter.on(event, listener),
  postMessage: (message: FromWorker) => said.push(message),
});
await import('../../src/serve/worker.js');

/** Says something to the worker, and waits for the answer. */
async function tell(message: ToWorker): Promise<FromWorker> {
  said.length = 0;
  emitter.emit('message', message);
  while (said.length === 0) await new Promise((r) => setTimeout(r, 1));
  return said[0];
}
const cache = new BufferCache();
let groups = 0;
async function run(
  jobs: (Partial<Job> & { body: Uint8Array })[],
  maxRows = 0,
): Promise<{ answers: Answer[]; samples: readonly Sample[] }> {
  const whole = jobs.map(
    (j, id): Job => ({ id, model: 1, kind: PROTOCOL, jsonLength: -1, csv: false, deadline: Date.now() + 1e6, ...j }),
  );
  const message = await tell({ type: 'run', group: ++groups, maxRows, jobs: packJobs(whole, cache) });
  if (message.type !== 'answers') throw new Error(message.type);
  while (said.flatMap((m) => (m.type === 'answers' ? unpackAnswers(m.answers) : [])).length < jobs.length)
    await new Promise((r) => setTimeout(r, 1));
  const all = said.flatMap((m) => (m.type === 'answers' ? [m] : []));
  return {
    answers: all.flatMap((m) => unpackAnswers(m.answers)).sort((a, b) => a.id - b.id),
    samples: all.flatMap((m) => m.samples),
  };
}
const bytes = (value: unknown) =>
  new Uint8Array(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)));
const text = (a: Answer) => Buffer.from(a.body).toString();

const { model, inputs, baseline } = smallModel();
const rows = inputs.toArraySync() as number[][];
const expected = predict(model, inputs);
const repository = folder();
async function load(id: number, what: nn.Module, extras = {}): Promise<FromWorker> {
  await publish(repository, 'm', String(id), what, extras);
  const file = readFileSync(join(repository, 'm', String(id), 'model.safetensors'));
  const shared = new SharedArrayBuffer(file.length);
  new Uint8Array(shared).set(file);
  return tell({ type: 'load', model: id, name: 'm', version: String(id), bytes: shared });
}

describe('a worker', () => {
  it('loads models, says what they are, and refuses those that are none or answer no numbers', async () => {
    expect(await load(1, model, { baseline, labels: ['a', 'b', 'c'] })).toEqual({
      type: 'loaded',
      model: 1,
      info: {
        inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 5] }],
        outputs: [{ name: 'output', datatype: 'FP32', shape: [-1, 3] }],
        ...{ outputFeatures: 3, labels: ['a', 'b', 'c'], baseline },
      },
    });
    expect(
      await load(2, model, { preprocessors: [new data.Imputer().fit(inputs), new data.StandardScaler().fit(inputs)] }),
    ).toMatchObject({ type: 'loaded' });
    expect(
      await tell({ type: 'load', model: 3, name: 'x', version: '1', bytes: new SharedArrayBuffer(4) }),
    ).toMatchObject({
      type: 'failed',
      error: expect.stringContaining('[safetensors] the file has 4 bytes'),
    });
    const nan = new nn.Linear(2, 2);
    nn.init.constant(nan.bias!, Infinity);
    expect(await load(4, nan)).toEqual({ type: 'failed', model: 4, error: 'it predicts Infinity for zeros' });
  });
  it('answers jobs one by one, wrong ones among them', async () => {
    const { answers, samples } = await run([
      { body: bytes(inferBody(rows.slice(0, 2), { id: 'a' })) },
      { body: bytes('{') },
      { body: bytes(inferBody(rows.slice(2, 3))), deadline: 1 },
      { body: bytes(inferBody(rows.slice(2, 3))), model: 99 },
      { body: bytes({ instances: rows.slice(3, 5) }), kind: INVOCATION },
      { body: bytes(`${rows[5].join(',')}\n`), kind: INVOCATION_CSV, csv: true },
      { body: bytes('1,2\n3'), kind: INVOCATION_CSV },
      { body: bytes('1,2\n'), kind: INVOCATION_CSV },
      { body: bytes(inferBody([[...rows[0].slice(0, 4), null as never]])), model: 2 },
    ]);
    expect(answers.map((a) => a.status)).toEqual([200, 400, 503, 503, 200, 200, 400, 400, 200]);
    expect(JSON.parse(text(answers[0]))).toMatchObject({
      id: 'a',
      model_name: 'm',
      model_version: '1',
      outputs: [{ shape: [2, 3], data: [...expected.slice(0, 6)] }],
    });
    expect(JSON.parse(text(answers[4])).predictions.flat()).toEqual([...expected.slice(9, 15)]);
    expect(text(answers[5])).toBe(`${[...expected.slice(15, 18)].join(',')}\n`);
    expect(answers[0].chosen.length).toBe(2);
    expect(samples.filter((s) => s.model === 1).map((s) => s.rows)).toEqual([2, 2, 1]);
    expect(samples[0].inputs).toEqual(inputs.dataSync().slice(0, 10));
    expect(new Int32Array(progress)[PROGRESS.GROUP]).toBe(groups);
  });
  it('puts jobs into one pass up to a number of rows, with the bits that they have alone', async () => {
    const jobs = [2, 3, 1, 4].map((n, i) => ({ body: bytes(inferBody(rows.slice(i * 4, i * 4 + n))) }));
    const { answers } = await run([...jobs.slice(0, 2), { body: bytes('[]') }, ...jobs.slice(2)], 6);
    expect(answers.map((a) => [a.status, a.rows, a.executed])).toEqual([
      [200, 2, 6],
      [200, 3, 0],
      [400, 0, 0],
      [200, 1, 0],
      [200, 4, 4],
    ]);
    const of = (a: Answer) => Float32Array.from(JSON.parse(text(a)).outputs[0].data as number[]);
    expect(of(answers[3])).toEqual(expected.slice(24, 27));
    expect(of(answers[4])).toEqual(expected.slice(36, 48));
  });
  it('reads bytes, small ones and shared ones that come again', async () => {
    const memory = new SharedArrayBuffer(2 ** 18);
    for (const [n, seed] of [
      [1, 1],
      [4000, 2],
      [4000, 3],
    ]) {
      const values = sampleTensor([n, 5], [-1, 1], seed);
      const json = bytes({
        parameters: { binary_data_output: true },
        inputs: [{ name: 'input', shape: [n, 5], datatype: 'FP32', parameters: { binary_data_size: n * 20 } }],
      });
      const body = n === 1 ? new Uint8Array(json.length + n * 20) : new Uint8Array(memory, 0, json.length + n * 20);
      body.set(json);
      body.set(new Uint8Array(values.dataSync().buffer), json.length);
      const { answers } = await run([{ body, jsonLength: json.length }]);
      expect(answers[0].status).toBe(200);
      expect(new Float32Array(answers[0].body.slice(answers[0].jsonLength).buffer)).toEqual(predict(model, values));
    }
  });
  it('refuses a request with numbers that are none, and no other one of its pass', async () => {
    const input = { name: 'input', shape: [1, 5], datatype: 'FP32', parameters: { binary_data_size: 20 } };
    const json = JSON.stringify({ inputs: [input] });
    const job = (values: readonly number[]) => ({
      body: Uint8Array.from(Buffer.concat([Buffer.from(json), Buffer.from(Float32Array.from(values).buffer)])),
      jsonLength: json.length,
    });
    for (const maxRows of [0, 8]) {
      const { answers } = await run([job(rows[0]), job([1, 2, Infinity, 4, 5]), job(rows[1])], maxRows);
      expect(answers.map((a) => a.status)).toEqual([200, 400, 200]);
      expect(text(answers[1])).toContain('feature 2 of row 0 is Infinity');
    }
  });
  it('forgets a model', async () => {
    emitter.emit('message', { type: 'unload', model: 2 } satisfies ToWorker);
    const { answers } = await run([{ body: bytes(inferBody(rows.slice(0, 1))), model: 2 }]);
    expect(answers[0].status).toBe(503);
    expect(text(answers[0])).toContain('has been removed');
  });
});

describe('messages', () => {
  it('keep more shared bodies apart than a worker remembers, within one message and over several', () => {
    const [sender, receiver] = [new BufferCache(), new BufferCache()];
    const bodies = Array.from({ length: 150 }, (_, i) => new Uint8Array(new SharedArrayBuffer(65_536)).fill(i));
    for (let round = 0; round < 6; round++) {
      const order = bodies.map((_, i) => (i * 7 + round * 31) % 150).slice(0, 40 + 22 * round);
      const jobs = order.map(
        (id): Job => ({ id, model: 1, kind: PROTOCOL, jsonLength: -1, csv: false, deadline: 0, body: bodies[id] }),
      );
      for (const { id, body } of unpackJobs(packJobs(jobs, sender), receiver)) expect(body[0]).toBe(id);
    }
  });
});

describe('scratch memory', () => {
  it('keeps apart what is taken until it is cleared, and grows to what was wanted', () => {
    const scratch = new Scratch();
    const [a, b] = [scratch.take(10), scratch.take(10)];
    expect(a.buffer).toBe(b.buffer);
    expect(b.byteOffset).toBe(40);
    const large = scratch.take(100_000);
    expect(large.buffer).not.toBe(a.buffer);
    scratch.clear();
    expect(scratch.take(100_000).byteLength).toBe(400_000);
    expect(scratch.take(4).byteOffset).toBe(400_000);
  });
});
