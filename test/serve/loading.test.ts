import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { nn } from '../../src/index.js';
import { folder, inferBody, post, publish, smallModel, start } from './helpers.js';

const body = inferBody([[1, 2, 3, 4, 5]]);

describe('a load', () => {
  it.each([1, 2])('holds up no other model, with %i workers', async (workers) => {
    const repository = folder();
    await publish(repository, 'small', '1', smallModel().model);
    const server = await start(repository, { workers, scanInterval: 60_000 });
    try {
      const url = `${server.url}/v2/models/small/infer`;
      await vi.waitFor(() => expect(server.pool.readyWorkers).toBe(workers), { timeout: 20_000 });
      expect((await post(url, body)).status).toBe(200);
      await publish(repository, 'large', '1', new nn.Linear(3000, 3000));
      let loading = true;
      const load = server.scan().then(() => {
        loading = false;
      });
      let answered = 0;
      while (loading) {
        expect((await post(url, body)).status).toBe(200);
        answered++;
      }
      await load;
      expect(server.models.map((m) => m.name)).toEqual(['large', 'small']);
      // The load takes hundreds of milliseconds, an answer a few: a worker that loads would have answered once or twice.
      expect(answered).toBeGreaterThan(10);
      await vi.waitFor(() => expect(server.pool.readyWorkers).toBe(workers), { timeout: 20_000 });
      expect((await post(`${server.url}/v2/models/large/infer`, inferBody([new Array(3000).fill(0)]))).status).toBe(
        200,
      );
    } finally {
      await server.close();
    }
  });
  it('that fails leaves the only worker as it is', async () => {
    const repository = folder();
    await publish(repository, 'small', '1', smallModel().model);
    const server = await start(repository, { scanInterval: 60_000 });
    try {
      const url = `${server.url}/v2/models/small/infer`;
      expect((await post(url, body)).status).toBe(200);
      mkdirSync(join(repository, 'broken', '1'), { recursive: true });
      writeFileSync(join(repository, 'broken', '1', 'model.safetensors'), 'nothing');
      await server.scan();
      expect((await post(url, body)).status).toBe(200);
      expect(server.pool.readyWorkers).toBe(1);
    } finally {
      await server.close();
    }
  });
});

describe('the limits', () => {
  it('bound the bytes of all bodies in memory, and a client that is refused sees why', async () => {
    const repository = folder();
    await publish(repository, 'small', '1', smallModel().model);
    const server = await start(repository, { maxBody: 2 ** 20, maxInflight: 2 ** 20 });
    try {
      const url = `${server.url}/v2/models/small/infer`;
      // A body that never comes: it takes its place until its client is gone.
      const held = connect(Number(new URL(server.url).port), '127.0.0.1');
      held.write('POST /v2/models/small/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 600000\r\n\r\n');
      await vi.waitFor(async () => {
        const refused = await post(url, new Uint8Array(600_000));
        expect(refused.status).toBe(429);
        expect(refused.headers.get('retry-after')).toBe('1');
      }, 10_000);
      held.destroy();
      await vi.waitFor(async () => expect((await post(url, new Uint8Array(600_000))).status).toBe(400), 10_000);
      expect((await post(url, body)).status).toBe(200);
    } finally {
      await server.close();
    }
  });
  it('refuse a response that would be too large before it is computed', async () => {
    const repository = folder();
    await publish(repository, 'small', '1', smallModel().model);
    const server = await start(repository, { maxOutput: 5 });
    try {
      const rows = [
        [1, 2, 3, 4, 5],
        [1, 2, 3, 4, 5],
      ];
      const response = await post(`${server.url}/v2/models/small/infer`, inferBody(rows));
      expect(response.status).toBe(413);
      expect(await response.text()).toContain('the response would have 6 numbers, and the limit is 5');
      expect((await post(`${server.url}/v2/models/small/infer`, body)).status).toBe(200);
    } finally {
      await server.close();
    }
  });
  it('take shapes and counts for what the body has, not for what it claims', async () => {
    const repository = folder();
    await publish(repository, 'any', '1', new nn.ReLU());
    const server = await start(repository);
    const ask = async (inputs: unknown) => {
      const response = await post(`${server.url}/v2/models/any/infer`, { inputs });
      return `${response.status} ${await response.text()}`;
    };
    try {
      const input = { name: 'input', datatype: 'FP32' };
      expect(await ask([{ ...input, shape: [1, 2e9], data: [[1, 2]] }])).toContain('400 {"error":"row 0 has 2 numbers');
      expect(await ask(new Array(100).fill({}))).toContain('there are 100 inputs');
      expect(await ask([{ ...input, shape: new Array(100).fill(1), data: [1] }])).toContain(
        'a shape has 100 dimensions',
      );
      expect(await ask([{ ...input, shape: [1, 2], data: [1, 2] }])).toContain('200');
    } finally {
      await server.close();
    }
  });
});

it('an output that overflows is an error', async () => {
  const repository = folder();
  const model = new nn.Linear(1, 1);
  nn.init.constant(model.weight, 3e38);
  await publish(repository, 'steep', '1', model);
  const server = await start(repository);
  try {
    for (const [path, request] of [
      ['/v2/models/steep/infer', inferBody([[1], [10]])],
      ['/invocations', [[1], [10]]],
    ] as const) {
      const response = await post(server.url + path, request);
      expect(response.status).toBe(500);
      expect(await response.text()).toContain('output 0 of row 1 is Infinity');
    }
  } finally {
    await server.close();
  }
});

it('CSV is read in pieces, whatever the lengths of its lines', async () => {
  const repository = folder();
  await publish(repository, 'sum', '1', new nn.ReLU());
  const server = await start(repository);
  const ask = (csv: string) =>
    post(`${server.url}/invocations`, csv, { 'content-type': 'text/csv', accept: 'text/csv' });
  try {
    // More than a piece of a megabyte, and a last line without an end.
    const lines = Array.from({ length: 200_000 }, (_, i) => `${i},0.5`);
    const response = await ask(lines.join('\n'));
    expect(response.status).toBe(200);
    expect((await response.text()).trim().split('\n')).toEqual(lines);
    expect((await ask(`${'1,2\n'.repeat(300_000)}1,2,3\n`)).status).toBe(400);
    expect((await ask(','.repeat(200_000))).status).toBe(400);
  } finally {
    await server.close();
  }
});
