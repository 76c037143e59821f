import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';
import autocannon from 'autocannon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nn } from '../../src/index.js';
import type { Server } from '../../src/serve/index.js';
import { folder, inferBody, publish, start } from './helpers.js';

// More than it can do, for a minute in CI: every response right or a refusal, and memory as it was.

const SECONDS = process.env.CI === 'true' ? 60 : 8;
const MiB = 2 ** 20;

describe('twice the load it can bear', () => {
  let server: Server;
  const body = JSON.stringify(inferBody([new Array<number>(256).fill(0.5)]));
  beforeAll(async () => {
    const repository = folder();
    // Heavy enough that computing, not HTTP, is the limit.
    await publish(
      repository,
      'heavy',
      '1',
      new nn.Sequential(new nn.Linear(256, 2048), new nn.Tanh(), new nn.Linear(2048, 10)),
    );
    server = await start(repository, { queue: 32, timeout: 2000 });
  });
  afterAll(() => server.close());

  it(`is answered right or with 429 or 503 for ${SECONDS} s, and memory stays flat`, async () => {
    const url = `${server.url}/v2/models/heavy/infer`;
    const answer = await (
      await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    ).text();
    const delay = monitorEventLoopDelay({ resolution: 10 });
    const load = (duration: number) =>
      autocannon({
        url,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
        connections: 64,
        duration,
      });
    // Until the heaps of both sides have their size.
    await load(SECONDS / 4);
    const before = process.memoryUsage().rss;
    delay.enable();
    const wrong: string[] = [];
    const running = load(SECONDS);
    // What is right is looked at by somebody else, while the load is on.
    let checked = 0;
    const end = Date.now() + SECONDS * 1000;
    while (Date.now() < end) {
      const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      const text = await response.text();
      if (response.status === 200 ? text !== answer : ![429, 503].includes(response.status))
        wrong.push(`${response.status} ${text}`);
      checked += Number(response.status === 200);
      await wait(5);
    }
    const result = await running;
    delay.disable();
    const stats = Object.entries(result.statusCodeStats ?? {}) as [string, { count: number }][];
    const codes = new Map(stats.map(([code, { count }]) => [Number(code), count]));
    expect(wrong).toEqual([]);
    expect([...codes.keys()].filter((c) => ![200, 429, 503].includes(c))).toEqual([]);
    expect(codes.get(200)).toBeGreaterThan(100);
    expect(codes.get(429)).toBeGreaterThan(100);
    expect(result.errors).toBe(0);
    expect(server.pool.readyWorkers).toBe(1);
    const grown = process.memoryUsage().rss - before;
    console.log(
      `${codes.get(200)} answered, ${codes.get(429)} refused, ${checked} looked at; RSS grew by ${(grown / MiB).toFixed(0)} MiB; event loop p99 ${(delay.percentile(99) / 1e6 - 10).toFixed(1)} ms (with the load generator in it)`,
    );
    // The load generator lives in this process, too.
    expect(grown).toBeLessThan(150 * MiB);
  });
});
