import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nn, ones, optim, type Profile, profile, randn, tensor } from '../src/index.js';
import { errorOf } from './helpers.js';

const row = (p: Profile, op: string) => p.rows.find((r) => r.op === op);

describe('profile', () => {
  it('counts calls, bytes and floating-point operations', () => {
    const [a, b] = [randn([8, 16]), randn([16, 4])];
    const p = profile(() => a.matmul(b).relu().sum());
    expect(p.result.shape).toEqual([]);
    expect(row(p, 'matmul')).toMatchObject({
      calls: 1,
      flops: 2 * 8 * 16 * 4,
      bytes: 4 * (8 * 16 + 16 * 4 + 8 * 4),
    });
    expect(row(p, 'relu')).toMatchObject({ calls: 1, flops: 32, bytes: 256 });
    expect(row(p, 'sum')).toMatchObject({ calls: 1, bytes: 4 * 33 });
    expect(p.events[0].args.detail).toBe('[8, 16] [16, 4]');
    const spent = p.rows.reduce((sum, r) => sum + r.time, 0);
    expect(spent).toBeGreaterThan(0);
    expect(spent).toBeLessThanOrEqual(p.time);
  });
  it('sees a whole training step, and prints a table', () => {
    const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 3));
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
    const criterion = new nn.CrossEntropyLoss();
    const p = profile(() => {
      criterion.forward(model.forward(ones([5, 4])), tensor([0, 1, 2, 0, 1])).backward();
      optimizer.step();
    });
    expect(row(p, 'sgd')).toMatchObject({ calls: 4, flops: 4 * (4 * 8 + 8 + 8 * 3 + 3) });
    expect(row(p, 'crossEntropy')?.calls).toBe(1);
    expect(row(p, 'crossEntropyGrad')?.calls).toBe(1);
    const lines = String(p).split('\n');
    expect(lines[0]).toMatch(/^op +calls +ms +share +MB +GFLOP\/s$/);
    expect(lines).toHaveLength(p.rows.length + 2);
    expect(lines.find((line) => line.startsWith('matmul'))).toMatch(/^matmul +5 +\d+\.\d{3} +\d+\.\d% +\d+\.\d{3} +\d/);
  });
  it('counts the operations of the losses, and those of their gradients', () => {
    const [x, y] = [randn([6, 5], { requiresGrad: true }), randn([6, 5])];
    const { mseLoss, crossEntropy } = nn.functional;
    const squares = profile(() => mseLoss(x, y).backward());
    expect(row(squares, 'squaredError')?.flops).toBe(3 * 30);
    expect(row(squares, 'squaredErrorGrad')?.flops).toBe(2 * 30);
    const entropy = profile(() => crossEntropy(x, tensor([0, 1, 2, 3, 4, 0])).backward());
    expect(row(entropy, 'crossEntropy')?.flops).toBe(5 * 30);
    expect(row(entropy, 'crossEntropyGrad')?.flops).toBe(5 * 30);
  });
  it('writes a trace that Chrome reads: complete events in order, within the time', async () => {
    const x = randn([100]);
    const p = await profile(async () => {
      const y = x.exp();
      await Promise.resolve();
      return (await y.sum().item()) > 0;
    });
    expect(p.result).toBe(true);
    const path = join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'trace.json');
    await p.saveTrace(path);
    const { traceEvents } = JSON.parse(readFileSync(path, 'utf8'));
    expect(traceEvents.map((e: { name: string }) => e.name)).toEqual(['exp', 'sum', 'read']);
    let last = 0;
    for (const { ph, ts, dur, cat } of traceEvents) {
      expect([ph, cat]).toEqual(['X', 'cpu']);
      expect(ts).toBeGreaterThanOrEqual(last);
      last = ts + dur;
    }
    expect(last).toBeLessThanOrEqual(1000 * p.time);
  });
  it('leaves nothing behind, also after an error', async () => {
    const x = randn([3]);
    const before = Object.keys(x.backend);
    expect(() =>
      profile(() => {
        throw new RangeError('mine');
      }),
    ).toThrow('mine');
    await expect(profile(() => Promise.reject(new RangeError('mine')))).rejects.toThrow('mine');
    expect(Object.keys(x.backend)).toEqual(before);
    expect(profile(() => x.neg()).events).toHaveLength(1);
  });
  it('refuses a second profile within the first, and what is no function', async () => {
    expect((await errorOf(() => profile(() => profile(() => 1)))).message).toContain('another profile is running');
    expect((await errorOf(() => profile(3 as never))).message).toContain('pass a function');
  });
});
