import { describe, expect, it } from 'vitest';
import { CpuBackend } from '../src/backends/cpu/index.js';
import { startCpu } from '../src/backends/registry.js';
import { nn, optim, rand, type Tensor, zeros } from '../src/index.js';
import { table } from '../src/ops/table.js';
import { Generator } from '../src/random.js';
import { loopNest } from '../src/shape.js';
import { errorOf, sgdCall, withCpu } from './helpers.js';

const MB = 2 ** 20;

describe('the heap', () => {
  it('keeps every live storage right while it goes round, and needs no dispose', () => {
    const backend = new CpuBackend('wasm-simd');
    const kept = new Map<number, ReturnType<CpuBackend['fill']>>();
    const sizes = [1, 17, 1000, 65_537, 300_000];
    for (let i = 0; i < 3000; i++) {
      const x = backend.fill(sizes[i % sizes.length], i);
      const y = backend.unary(table.unary.neg, x);
      if (i % 50 === 0) kept.set(i, y);
    }
    for (const [i, y] of kept) {
      const values = backend.readSync(y);
      expect(values.length).toBe(sizes[i % sizes.length]);
      expect(values[0]).toBe(-i);
      expect(values.every((v) => v === values[0])).toBe(true);
    }
    expect(backend.memory().bytes).toBeLessThan(64 * MB);
  });
  it('brings operands back that were evicted', () => {
    const backend = new CpuBackend('wasm-simd');
    const old = backend.fill(1000, 7);
    for (let i = 0; i < 100; i++) backend.fill(100_000, i);
    const sum = backend.reduce(table.reduce.sum, backend.unary(table.unary.relu, old), 1, 1000, 1);
    expect(backend.readSync(sum)[0]).toBe(7000);
  });
  it('computes large results again whose numbers it forgot, whatever became of the operands', () => {
    const backend = new CpuBackend('wasm-simd');
    const pass = () => {
      for (let i = 0; i < 100; i++) backend.fill(100_000, i);
    };
    const n = 200_000;
    const [changed, stepped, freed] = [-2, -3, -4].map((v) => backend.fill(n, v));
    const gradient = backend.fill(n, 1);
    const results = [changed, stepped, freed].map((x) => backend.unary(table.unary.neg, x));
    const again = backend.unary(table.unary.neg, results[0]);
    pass();
    // The results stand forgotten, and their operands are lent.
    backend.write(changed, new Float32Array(n));
    backend.fused(sgdCall([stepped, gradient, null], { lr: 1 }));
    backend.free(freed);
    const first = (x: typeof changed) => backend.readSync(x)[n - 1];
    for (let round = 0; round < 2; round++) {
      expect(results.map(first)).toEqual([2, 3, 4]);
      expect(first(again)).toBe(-2);
      expect([changed, stepped].map(first)).toEqual([0, -4]);
      pass();
    }
  });
  it('equals plain arrays over a random walk of operations, changes and frees', () => {
    const backend = new CpuBackend('wasm-simd');
    const random = new Generator(7);
    const below = (n: number) => Math.floor(random.uniform(new Float32Array(1))[0] * n);
    const n = 150_000;
    let live = [1, 2, 3].map((v) => ({ x: backend.fill(n, v), value: v }));
    for (let i = 0; i < 1200; i++) {
      const one = live[below(live.length)];
      const other = live[below(live.length)];
      const action = below(10);
      if (action < 3) {
        live.push({ x: backend.unary(table.unary.neg, one.x), value: -one.value });
      } else if (action < 6) {
        const x = backend.binary(table.binary.add, one.x, other.x, loopNest([n], [n], [n]), n);
        live.push({ x, value: Math.fround(one.value + other.value) });
      } else if (action === 6) {
        one.value = below(10);
        backend.write(one.x, new Float32Array(n).fill(one.value));
      } else if (action === 7) {
        expect(backend.readSync(one.x)[below(n)]).toBe(one.value);
      } else if (live.length > 20) {
        if (action === 8) backend.free(one.x);
        live = live.filter((entry) => entry !== one);
      }
    }
    for (const { x, value } of live) expect(backend.readSync(x).every((v) => v === value)).toBe(true);
  });
  it('takes operations larger than the arena', () => {
    const backend = new CpuBackend('wasm-simd');
    const x = backend.fill(12 * MB, 1);
    const y = backend.unary(table.unary.neg, x);
    expect(backend.readSync(y)[12 * MB - 1]).toBe(-1);
  });
  it('frees at once what is freed, and says so of its later use', async () => {
    const backend = new CpuBackend('wasm-simd');
    const blocks = backend.memory().blocks;
    const x = backend.fill(100, 1);
    expect(backend.memory().blocks).toBe(blocks + 1);
    backend.free(x);
    expect(backend.memory().blocks).toBe(blocks);
    expect((await errorOf(() => backend.unary(table.unary.neg, x))).message).toContain('has been freed');
  });
  it('answers a tensor that is too large with an error after which the program goes on', async () => {
    const backend = new CpuBackend('wasm-simd');
    expect((await errorOf(() => backend.fill(2 ** 31 - 1, 0))).op).toBe('alloc');
    expect(backend.readSync(backend.fill(3, 5))).toEqual(Float32Array.of(5, 5, 5));
  });
  it('stays flat over a synchronous training loop', async () => {
    await withCpu(startCpu(), () => {
      const model = new nn.Sequential(new nn.Linear(256, 128), new nn.ReLU(), new nn.Linear(128, 10));
      const optimizer = new optim.SGD(model.parameters(), { lr: 0.01 });
      const x = rand([64, 256]);
      const y = zeros([64]);
      const losses: Tensor[] = [];
      const step = () => {
        const loss = nn.functional.crossEntropy(model.forward(x), y);
        optimizer.zeroGrad();
        loss.backward();
        optimizer.step();
        losses.push(loss.detach());
      };
      for (let i = 0; i < 200; i++) step();
      const before = process.memoryUsage.rss();
      for (let i = 0; i < 2000; i++) step();
      expect(process.memoryUsage.rss() - before).toBeLessThan(200 * MB);
      expect(losses[2100].itemSync()).toBeLessThan(losses[0].itemSync());
    });
  });
});
