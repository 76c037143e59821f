import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InferenceClient } from '../../src/client/index.js';
import { Generator } from '../../src/random.js';
import type { Server } from '../../src/serve/index.js';
import { folder, inferBody, predict, publish, smallModel, start } from './helpers.js';

// Twenty thousand requests that were right once: every answer is right or a refusal in the protocol's form, and the server
// lives.

const { model, inputs, baseline } = smallModel();
const rows = inputs.toArraySync() as number[][];
let server: Server;
beforeAll(async () => {
  const repository = folder();
  await publish(repository, 'small', '1', model, { baseline });
  server = await start(repository, { maxBody: 100_000, queue: 512 });
});
afterAll(() => server.close());

interface Sent {
  path: string;
  headers: Record<string, string>;
  body: Buffer;
}

const json = Buffer.from(JSON.stringify(inferBody(rows.slice(0, 2), { id: 'f' })));
const values = Buffer.from(Float32Array.from(rows.slice(0, 2).flat()).buffer);
const head = Buffer.from(
  JSON.stringify({
    inputs: [{ name: 'input', shape: [2, 5], datatype: 'FP32', parameters: { binary_data_size: 40 } }],
    outputs: [{ name: 'output', parameters: { binary_data: true } }],
  }),
);
const seeds: Sent[] = [
  { path: '/v2/models/small/infer', headers: { 'content-type': 'application/json' }, body: json },
  {
    path: '/v2/models/small/versions/1/infer',
    headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': String(head.length) },
    body: Buffer.concat([head, values]),
  },
  {
    path: '/invocations',
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify({ instances: rows.slice(0, 2) })),
  },
  {
    path: '/invocations',
    headers: { 'content-type': 'text/csv' },
    body: Buffer.from(`${rows[0].join(',')}\n${rows[1].join(',')}\n`),
  },
  {
    path: '/v1/feedback',
    headers: { 'content-type': 'application/json' },
    body: Buffer.from('{"id":"none","labels":[1]}'),
  },
];
const WORDS = [
  'null',
  '[',
  '{',
  '"',
  '-1',
  '1e999',
  '1e15',
  '"shape":[9007199254740993,5]',
  'binary_data_size',
  'NaN',
  '\u0000',
  '__proto__',
  '\\ud800',
];
const PATHS = [
  '/v2/models/..%2f..%2fetc/infer',
  '/v2/models/small/versions/-1/infer',
  '/v2/models/%00/infer',
  '/v2/models/constructor/infer',
  '/v2/models/%E0%A4%A/infer',
];
const HEADERS: [string, string][] = [
  ['inference-header-content-length', '-1'],
  ['inference-header-content-length', '999999999'],
  ['inference-header-content-length', '0'],
  ['content-encoding', 'gzip'],
  ['content-encoding', 'br'],
  ['content-type', 'text/html'],
  ['content-type', ''],
  ['accept', 'text/csv;q=0, */*'],
  ['x-request-timeout-ms', '0'],
  ['x-amzn-sagemaker-target-model', '../small'],
];

function mutate(seed: Sent, g: Generator): Sent {
  const pick = (n: number) => Math.floor(g.uniform(new Float32Array(1))[0] * n);
  let { path, body } = seed;
  const headers = { ...seed.headers };
  for (let n = 1 + pick(3); n > 0; n--) {
    const at = pick(body.length + 1);
    const kind = pick(9);
    if (kind < 3 && body.length > 0) {
      body = Buffer.from(body);
      body[pick(body.length)] = pick(256);
    } else if (kind === 3) body = body.subarray(0, at);
    else if (kind === 4)
      body = Buffer.concat([body.subarray(0, at), Buffer.from(WORDS[pick(WORDS.length)]), body.subarray(at)]);
    else if (kind === 5) body = Buffer.concat([body, body.subarray(at)]);
    else if (kind === 6)
      body = Buffer.concat([body.subarray(0, at), body.subarray(Math.min(body.length, at + pick(20)))]);
    else if (kind === 7) {
      const [name, value] = HEADERS[pick(HEADERS.length)];
      headers[name] = value;
    } else if (pick(4) === 0) path = PATHS[pick(PATHS.length)];
  }
  return { path, headers, body };
}

const send = ({ path, headers, body }: Sent): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const url = new URL(server.url);
    const asked = request(
      {
        host: url.hostname,
        port: url.port,
        path,
        method: 'POST',
        headers: { ...headers, 'content-length': body.length },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (c: Buffer) => chunks.push(c));
        response.on('end', () =>
          resolve({ status: response.statusCode!, text: Buffer.concat(chunks).toString('latin1') }),
        );
      },
    );
    asked.on('error', reject);
    asked.end(body);
  });

describe('a fuzz of 20,000 requests', () => {
  it('finds no 500, no crash, and every refusal in the form of the protocol', async () => {
    const g = new Generator(11);
    const wrong: string[] = [];
    const codes = new Map<number, number>();
    for (let round = 0; round < 20_000 / 50; round++) {
      const batch = Array.from({ length: 50 }, (_, i) => mutate(seeds[(round + i) % seeds.length], g));
      const answers = await Promise.all(batch.map(send));
      answers.forEach(({ status, text }, i) => {
        codes.set(status, (codes.get(status) ?? 0) + 1);
        const inForm =
          status === 200 ||
          (status >= 400 && status < 500 && typeof (JSON.parse(text) as { error?: unknown }).error === 'string');
        if (!inForm)
          wrong.push(
            `${status} ${text.slice(0, 100)} to ${batch[i].path} ${JSON.stringify(batch[i].headers)} ${batch[i].body.toString('latin1').slice(0, 200)}`,
          );
      });
    }
    expect(wrong).toEqual([]);
    expect(codes.get(200)).toBeGreaterThan(100);
    expect(codes.get(400)).toBeGreaterThan(1000);
    expect(server.pool.readyWorkers).toBe(1);
    expect(await (await fetch(`${server.adminUrl}/metrics`)).text()).toContain('tapegrad_worker_deaths_total 0');
    const { data } = await new InferenceClient(server.url).infer('small', rows.slice(0, 2));
    expect(data).toEqual(predict(model, inputs).slice(0, 6));
  });
});
