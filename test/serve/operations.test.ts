import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { InferenceClient, InferenceError } from '../../src/client/index.js';
import { nn } from '../../src/index.js';
import { type Server, serve } from '../../src/serve/index.js';
import { errorOf, sampleTensor } from '../helpers.js';
import { folder, inferBody, post, predict, publish, publishFile, smallModel, start } from './helpers.js';

const { model, inputs } = smallModel();
const rows = inputs.toArraySync() as number[][];

/** Runs `body` with a server over a repository with the small model. */
async function serving(
  options: Parameters<typeof start>[1],
  body: (server: Server, repository: string) => Promise<void>,
): Promise<void> {
  const repository = folder();
  await publish(repository, 'small', '1', model);
  const server = await start(repository, options);
  try {
    await body(server, repository);
  } finally {
    await server.close();
  }
}
/** A model that takes long enough to be interrupted. */
const slow = () => new nn.Sequential(...Array.from({ length: 6 }, () => new nn.Linear(1500, 1500)));
const slowBody = inferBody([new Array<number>(1500).fill(0.1)]);
const text = async (response: Response | Promise<Response>) => (await response).text();

describe('the model repository', () => {
  it('takes over a new version without a dropped request, and keeps the old one when a new one is broken', async () => {
    await serving({}, async (server, repository) => {
      const url = `${server.url}/v2/models/small/infer`;
      const seen: string[] = [];
      let on = true;
      const asking = Promise.all(
        [1, 2, 3, 4].map(async () => {
          while (on) {
            const response = await post(url, inferBody(rows.slice(0, 1)));
            expect(response.status).toBe(200);
            seen.push(((await response.json()) as { model_version: string }).model_version);
          }
        }),
      );
      const second = smallModel(2).model;
      await publish(repository, 'small', '2', second);
      await server.scan();
      const bad = join(folder(), 'bad');
      writeFileSync(bad, 'no safetensors at all');
      publishFile(repository, 'small', '3', bad);
      await server.scan();
      const asked = seen.length;
      await vi.waitFor(() => expect(seen.length).toBeGreaterThan(asked + 8), { timeout: 20_000 });
      on = false;
      await asking;
      expect([...new Set(seen)]).toEqual(['1', '2']);
      const health = await fetch(`${server.url}/v2/health/ready`);
      expect(health.status).toBe(200);
      expect(await health.json()).toEqual({
        ready: true,
        problems: [expect.stringMatching(/^small\/3: \[safetensors\]/)],
      });
      const metrics = await text(fetch(`${server.adminUrl}/metrics`));
      expect(metrics).toContain('tapegrad_model_load_failures_total{model="small",version="3"} 1');
      expect(metrics).toContain('tapegrad_model_ready{model="small",version="3"} 0');
      const index = await (await fetch(`${server.adminUrl}/v2/repository/index`, { method: 'POST' })).json();
      expect(index).toContainEqual({ name: 'small', version: '3', state: 'UNAVAILABLE', reason: expect.any(String) });
      // What is removed goes; what is mended comes.
      await rm(join(repository, 'small', '2'), { recursive: true });
      await publish(repository, 'small', '3', second);
      await server.scan();
      expect(server.models).toEqual([
        { name: 'small', version: '1' },
        { name: 'small', version: '3' },
      ]);
    });
  });
  it('names a model that answers with what is no number, and with strictReady is not ready then', async () => {
    await serving({ strictReady: true }, async (server, repository) => {
      const broken = new nn.Linear(5, 3);
      nn.init.constant(broken.bias!, NaN);
      await publish(repository, 'broken', '1', broken);
      await server.scan();
      const health = await fetch(`${server.url}/v2/health/ready`);
      expect(health.status).toBe(503);
      expect(await text(health)).toContain('broken/1: it predicts NaN for zeros');
      expect((await fetch(`${server.url}/ping`)).status).toBe(503);
      expect((await post(`${server.url}/v2/models/small/infer`, inferBody(rows.slice(0, 1)))).status).toBe(200);
    });
  });
  it('reaches workers that are up before it and after it', async () => {
    for (let round = 0; round < 3; round++) {
      await serving({ workers: 6 }, async (server) => {
        await vi.waitFor(() => expect(server.pool.readyWorkers).toBe(6), { timeout: 20_000 });
        const asked = Array.from({ length: 24 }, () => post(`${server.url}/v2/models/small/infer`, inferBody(rows)));
        expect((await Promise.all(asked)).map((r) => r.status)).toEqual(new Array(24).fill(200));
      });
    }
  });
  it('may be a single file, as SageMaker leaves it', async () => {
    const repository = folder();
    await publish(repository, 'x', '1', model);
    const single = await start(join(repository, 'x', '1'));
    expect(single.models).toEqual([{ name: 'model', version: '1' }]);
    expect((await post(`${single.url}/invocations`, { instances: rows.slice(0, 1) })).status).toBe(200);
    await single.close();
  });
});

describe('dynamic batching', () => {
  it('shares forward passes, with the bits that each request would have had alone', async () => {
    await serving({ batching: { small: { maxBatch: 8, maxDelay: 20 } } }, async (server) => {
      const expected = predict(model, inputs);
      const answers = await Promise.all(
        rows.slice(0, 64).map(async (row, i) => {
          const n = 1 + (i % 3);
          const body = inferBody(rows.slice(i, i + n));
          const { outputs } = (await (
            await post(`${server.url}/v2/models/small/infer`, i === 7 ? { bad: row } : body)
          ).json()) as { outputs?: [{ data: number[] }] };
          return outputs === undefined ? null : Float32Array.from(outputs[0].data);
        }),
      );
      answers.forEach((answer, i) => {
        expect(answer).toEqual(i === 7 ? null : expected.slice(i * 3, (i + 1 + (i % 3)) * 3));
      });
      const metrics = await text(fetch(`${server.adminUrl}/metrics/triton`));
      const value = (name: string) => Number(metrics.match(new RegExp(`^${name}\\{.*\\} (\\d+)$`, 'm'))![1]);
      expect(value('nv_inference_request_success')).toBe(63);
      expect(value('nv_inference_count')).toBeGreaterThan(100);
      expect(value('nv_inference_exec_count')).toBeLessThan(40);
    });
  });
});

describe('under pressure', () => {
  it('answers 429 with Retry-After when the queue is full, and the client comes again', async () => {
    await serving({ queue: 4 }, async (server, repository) => {
      await publish(repository, 'slow', '1', slow());
      await server.scan();
      const responses = await Promise.all(
        Array.from({ length: 24 }, () => post(`${server.url}/v2/models/slow/infer`, slowBody)),
      );
      const codes = responses.map((r) => r.status);
      expect(codes.filter((c) => c === 200).length).toBeGreaterThanOrEqual(4);
      expect(codes.filter((c) => c === 429).length).toBeGreaterThan(0);
      expect(codes.every((c) => c === 200 || c === 429)).toBe(true);
      expect(responses.find((r) => r.status === 429)!.headers.get('retry-after')).toBe('1');
      const client = new InferenceClient(server.url, { retries: 12, backoff: 20 });
      const all = await Promise.all(
        Array.from({ length: 12 }, () => client.infer('slow', [new Array<number>(1500).fill(0.1)])),
      );
      expect(all.every((p) => p.shape.join() === '1,1500')).toBe(true);
    });
  });
  it('answers 503 when a deadline passes', async () => {
    await serving({}, async (server, repository) => {
      await publish(repository, 'slow', '1', slow());
      await server.scan();
      const responses = await Promise.all(
        Array.from({ length: 40 }, (_, i) =>
          post(`${server.url}/v2/models/slow/infer`, slowBody, i === 0 ? {} : { 'x-request-timeout-ms': '1' }),
        ),
      );
      expect(responses[0].status).toBe(200);
      expect(responses.filter((r) => r.status === 503).length).toBeGreaterThan(10);
      expect(await text(responses.find((r) => r.status === 503)!)).toContain('deadline');
    });
  });
  it('loses at most what a dying worker computed, and has another one', async () => {
    await serving({}, async (server, repository) => {
      await publish(repository, 'slow', '1', slow());
      await server.scan();
      const asked = Array.from({ length: 30 }, () => post(`${server.url}/v2/models/slow/infer`, slowBody));
      let answered = 0;
      for (const one of asked) void one.finally(() => answered++);
      await vi.waitFor(() => expect(server.pool.depth + answered).toBe(30), { timeout: 20_000, interval: 1 });
      await server.pool.kill(0);
      const codes = (await Promise.all(asked)).map((r) => r.status);
      expect(codes.filter((c) => c === 503).length).toBeLessThanOrEqual(1);
      expect(codes.filter((c) => c === 200).length).toBeGreaterThanOrEqual(29);
      expect(server.pool.readyWorkers).toBe(1);
      expect(await text(fetch(`${server.adminUrl}/metrics`))).toContain('tapegrad_worker_deaths_total 1');
    });
  });
  it('finishes what is in flight when it is closed, and is not ready meanwhile', async () => {
    // Whoever waits for the grace to pass waits in vain.
    await serving({ grace: 3_600_000 }, async (server, repository) => {
      await publish(repository, 'slow', '1', slow());
      await server.scan();
      // Somebody who has connected and says nothing, and somebody who is still writing.
      for (const url of [server.url, server.adminUrl])
        await once(connect(Number(new URL(url).port), '127.0.0.1'), 'connect');
      let answered = 0;
      const asked = Array.from({ length: 10 }, () =>
        post(`${server.url}/v2/models/slow/infer`, slowBody).finally(() => answered++),
      );
      await vi.waitFor(() => expect(server.pool.depth + answered).toBe(10), { timeout: 20_000, interval: 1 });
      const length = new TextEncoder().encode(JSON.stringify(slowBody)).length;
      const upload = connect(Number(new URL(server.url).port), '127.0.0.1');
      upload.write(`POST /v2/models/slow/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${length}\r\n\r\n`);
      let said = '';
      upload.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
      // Its head has arrived once a later request is answered.
      expect((await fetch(`${server.url}/v2/health/live`)).status).toBe(200);
      let over = false;
      const closed = server.close().then(() => {
        over = true;
      });
      await vi.waitFor(() => expect(answered).toBe(10), { timeout: 20_000 });
      expect(over).toBe(false);
      upload.write(JSON.stringify(slowBody));
      await closed;
      expect((await Promise.all(asked)).map((r) => r.status)).toEqual(new Array(10).fill(200));
      await vi.waitFor(() => expect(said).toMatch(/^HTTP\/1.1 200 [\s\S]*\r\nconnection: close\r\n/i), {
        timeout: 60_000,
      });
      await expect(fetch(`${server.url}/v2`)).rejects.toThrow();
    });
  });
});

describe('the client', () => {
  it('predicts in bytes and in JSON, and says what the server said', async () => {
    await serving({}, async (server) => {
      for (const binary of [true, false]) {
        const client = new InferenceClient(server.url, { binary });
        expect(await client.live()).toBe(true);
        expect(await client.ready()).toBe(true);
        expect(await client.ready('small', '7')).toBe(false);
        expect((await client.metadata('small')).inputs[0].shape).toEqual([-1, 5]);
        const answer = await client.infer('small', rows.slice(0, 3), { id: 'a', version: '1' });
        expect(answer).toMatchObject({
          model: 'small',
          version: '1',
          id: 'a',
          shape: [3, 3],
          data: predict(model, inputs).slice(0, 9),
        });
        const error = await client.infer('small', [[1, 2]]).catch((e: unknown) => e);
        expect(error).toBeInstanceOf(InferenceError);
        expect(error).toMatchObject({ status: 400, message: expect.stringContaining('the shape is [1, 2]') });
        expect(await client.feedback(answer.requestId, [0, 1, 2])).toEqual({
          model_name: 'small',
          model_version: '1',
          matched: 3,
        });
        await expect(client.feedback(answer.requestId, [0, 1, 2])).rejects.toThrow('no unlabelled prediction');
      }
    });
  });
  it('refuses what makes no sense, and gives up on a server that is not there', async () => {
    expect((await errorOf(() => new InferenceClient('nowhere'))).message).toContain('pass a URL such as http');
    const client = new InferenceClient('http://127.0.0.1:9', { retries: 1, backoff: 1 });
    expect((await errorOf(() => client.infer('m', [[1], [1, 2]]))).message).toContain('rows of [1, 2] numbers');
    expect((await errorOf(() => client.infer('m', { data: new Float32Array(3), shape: [2, 2] }))).message).toContain(
      '3 numbers',
    );
    await expect(client.infer('m', [[1]])).rejects.toMatchObject({ status: 0 });
    expect(await client.live()).toBe(false);
  });
});

describe('serve', () => {
  it.each<[string, object, string]>([
    ['an unknown option', { prot: 1 }, "unknown option 'prot'"],
    ['a port that is none', { port: 1.5 }, 'port is 1.5'],
    ['a host without tokens', { host: '0.0.0.0' }, 'there are no tokens'],
    ['an admin host without tokens', { adminHost: '::' }, 'there are no tokens'],
    ['a token instead of its hash', { tokens: [{ name: 'a', sha256: 'secret' }] }, "token 'a' has no SHA-256"],
    ['batches of nothing', { batching: { small: { maxBatch: 0 } } }, "batching['small'].maxBatch is 0"],
    ['a folder that is not there', { models: '/nowhere/at/all' }, 'cannot read the model repository'],
  ])('refuses %s, and leaves nothing running', async (_, options, message) => {
    expect(
      (
        await errorOf(() =>
          serve({ models: folder(), port: 0, adminPort: 0, logLevel: 'silent', workers: 1, ...options }),
        )
      ).message,
    ).toContain(message);
  });
  it('says which port is taken', async () => {
    await serving({}, async (server, repository) => {
      const port = Number(new URL(server.url).port);
      expect((await errorOf(() => start(repository, { port }))).message).toContain(
        `cannot listen on 127.0.0.1:${port} (EADDRINUSE); choose another port`,
      );
    });
  });
  it('keeps large bodies apart whose memory it uses again', async () => {
    await serving({}, async (server) => {
      const client = new InferenceClient(server.url);
      const ask = async (seed: number) => {
        const x = sampleTensor([4000 + seed, 5], [-1, 1], seed);
        const { data } = await client.infer('small', { data: x.dataSync(), shape: [4000 + seed, 5] });
        expect(data).toEqual(predict(model, x));
      };
      for (let round = 0; round < 4; round++)
        await Promise.all(Array.from({ length: 8 }, (_, i) => ask(round * 8 + i)));
    });
  });
});
