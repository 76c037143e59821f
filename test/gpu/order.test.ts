import { afterEach, describe, expect } from 'vitest';
import { bernoulli, manualSeed, multinomial, randn, type Tensor, tensor, useDevice } from '../../src/index.js';
import { onGpu } from './device.js';

afterEach(() => useDevice('cpu'));

/** What a function gives on both devices, and the gradient of its first result. */
async function both(values: Float32Array, shape: number[], fn: (x: Tensor) => Tensor[]) {
  const [expected, got] = await Promise.all(
    (['reference', 'gpu'] as const).map(async (device) => {
      const x = tensor(values, { shape, device, requiresGrad: true });
      const results = fn(x);
      const [first] = results;
      if (first.requiresGrad) first.mul(first.detach().mul(0.3).add(1)).sum().backward();
      const read = await Promise.all(results.map((t) => t.data()));
      return [...read, x.grad === null ? [] : await x.grad.data()].map((v) => [...v]);
    }),
  );
  return { expected, got };
}

describe('sorting on the GPU', () => {
  onGpu.each([
    [[3, 7], 1],
    [[5, 3], 0],
    [[2, 1500], 1],
  ] as [number[], number][])('gives the same as the host for %j along %i', async (shape, dim) => {
    await useDevice('gpu');
    manualSeed(1);
    const values = randn(shape, { device: 'cpu' }).mul(4).dataSync().map(Math.round); // biome-ignore format: one line
    values.set([NaN, Infinity, -0, 0, -Infinity, NaN]);
    for (const descending of [false, true]) {
      const sorted = await both(values, shape, (x) => x.sort(dim, { descending }));
      expect(sorted.got[1]).toEqual(sorted.expected[1]);
      const top = await both(values, shape, (x) => x.topk(2, dim, { largest: descending }));
      expect(top.got[1]).toEqual(top.expected[1]);
    }
    const finite = values.map((v, i) => (Number.isFinite(v) ? v : i));
    for (const fn of [(x: Tensor) => x.sort(dim), (x: Tensor) => x.topk(2, dim)]) {
      const { got, expected } = await both(finite, shape, fn);
      for (const [i, numbers] of got.entries()) {
        expect(numbers.length).toBe(expected[i].length);
        for (const [j, v] of numbers.entries()) expect(Math.abs(v - expected[i][j])).toBeLessThan(1e-3);
      }
    }
  });
  onGpu('draws the same choices for a seed', async () => {
    await useDevice('gpu');
    const p = randn([4, 30], { device: 'cpu' }).sigmoid().dataSync();
    const on = async (device: 'reference' | 'gpu') => {
      const x = tensor(p, { shape: [4, 30], device });
      manualSeed(4);
      const drawn = [bernoulli(x), multinomial(x, 5), multinomial(x, 9, { replacement: true })];
      return (await Promise.all(drawn.map((t) => t.data()))).map((v) => [...v]);
    };
    expect(await on('gpu')).toEqual(await on('reference'));
  });
});
