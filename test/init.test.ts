import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { manualSeed, nn, type Tensor, useDevice, zeros } from '../src/index.js';
import { errorOf, expectClose } from './helpers.js';

const { init } = nn;

/** What a distribution is, told from a sample. */
function moments(t: Tensor): { mean: number; std: number; low: number; high: number; skew: number; kurtosis: number } {
  const values = Float64Array.from(t.dataSync());
  const average = (f: (v: number) => number) => values.reduce((sum, v) => sum + f(v), 0) / values.length;
  const mean = average((v) => v);
  const std = Math.sqrt(average((v) => (v - mean) ** 2));
  const standard = (power: number) => (std === 0 ? 0 : average((v) => ((v - mean) / std) ** power));
  return {
    ...{ mean, std, skew: standard(3), kurtosis: standard(4) },
    ...{ low: Math.min(...values), high: Math.max(...values) },
  };
}

beforeEach(() => manualSeed(17));
afterEach(() => useDevice('cpu'));

// A matrix [out 120, in 300] and a kernel of four dimensions [24, 50, 3, 10], whose fans are 1,500 and 720.
const matrix = () => zeros([120, 300], { requiresGrad: true });
const kernel = () => zeros([24, 50, 3, 10], { requiresGrad: true });

describe('uniform', () => {
  it.each<[string, () => Tensor, number, number]>([
    ['uniform', () => init.uniform(matrix()), 0, 1],
    ['uniform from -2 to 6', () => init.uniform(matrix(), -2, 6), -2, 6],
    ['uniform from 3 on', () => init.uniform(matrix(), 3, 4), 3, 4],
    ['xavierUniform', () => init.xavierUniform(matrix()), -Math.sqrt(6 / 420), Math.sqrt(6 / 420)],
    [
      'xavierUniform with a gain',
      () => init.xavierUniform(matrix(), 3),
      -3 * Math.sqrt(6 / 420),
      3 * Math.sqrt(6 / 420),
    ],
    ['xavierUniform of a kernel', () => init.xavierUniform(kernel()), -Math.sqrt(6 / 2220), Math.sqrt(6 / 2220)],
    ['kaimingUniform', () => init.kaimingUniform(matrix()), -Math.sqrt(6 / 300), Math.sqrt(6 / 300)],
    ['kaimingUniform with a slope', () => init.kaimingUniform(matrix(), 0.5), -Math.sqrt(6 / 375), Math.sqrt(6 / 375)],
    ['kaimingUniform of a kernel', () => init.kaimingUniform(kernel()), -Math.sqrt(6 / 1500), Math.sqrt(6 / 1500)],
  ])('%s fills its range evenly', (_, fill, low, high) => {
    const range = high - low;
    const got = moments(fill());
    expect(got.low).toBeGreaterThanOrEqual(low - 1e-6 * range);
    expect(got.low).toBeLessThan(low + 0.001 * range);
    expect(got.high).toBeLessThanOrEqual(high + 1e-6 * range);
    expect(got.high).toBeGreaterThan(high - 0.001 * range);
    // Four standard errors of 36,000 numbers.
    expect(Math.abs(got.mean - (low + high) / 2)).toBeLessThan((0.022 * range) / Math.sqrt(12));
    expect(Math.abs(got.std / (range / Math.sqrt(12)) - 1)).toBeLessThan(0.01);
    expect(Math.abs(got.kurtosis - 1.8)).toBeLessThan(0.05);
  });
});

describe('normal', () => {
  it.each<[string, () => Tensor, number, number]>([
    ['normal', () => init.normal(matrix()), 0, 1],
    ['normal around 5', () => init.normal(matrix(), 5, 0.25), 5, 0.25],
    ['normal around -1', () => init.normal(matrix(), -1), -1, 1],
    ['xavierNormal', () => init.xavierNormal(matrix()), 0, Math.sqrt(2 / 420)],
    ['xavierNormal with a gain', () => init.xavierNormal(matrix(), 3), 0, 3 * Math.sqrt(2 / 420)],
    ['xavierNormal of a kernel', () => init.xavierNormal(kernel()), 0, Math.sqrt(2 / 2220)],
    ['kaimingNormal', () => init.kaimingNormal(matrix()), 0, Math.sqrt(2 / 300)],
    ['kaimingNormal with a slope', () => init.kaimingNormal(matrix(), 0.5), 0, Math.sqrt(2 / 375)],
    ['kaimingNormal of a kernel', () => init.kaimingNormal(kernel()), 0, Math.sqrt(2 / 1500)],
  ])('%s has its mean and deviation', (_, fill, mean, std) => {
    const got = moments(fill());
    expect(Math.abs(got.mean - mean)).toBeLessThan(0.022 * std);
    expect(Math.abs(got.std / std - 1)).toBeLessThan(0.015);
    expect(Math.abs(got.skew)).toBeLessThan(0.06);
    expect(Math.abs(got.kurtosis - 3)).toBeLessThan(0.12);
    expect(got.high - mean).toBeGreaterThan(3.5 * std);
    expect(mean - got.low).toBeGreaterThan(3.5 * std);
  });
  it('with no deviation is the mean', () => {
    expect(moments(init.normal(matrix(), 2, 0))).toMatchObject({ low: 2, high: 2 });
  });
});

describe('one value', () => {
  it.each<[string, (t: Tensor) => Tensor, number]>([
    ['constant', (t) => init.constant(t, 0.375), 0.375],
    ['zeros', (t) => init.zeros(init.constant(t, 7)), 0],
    ['ones', (t) => init.ones(t), 1],
  ])('%s is everywhere', (_, fill, value) => {
    expect(moments(fill(matrix()))).toMatchObject({ low: value, high: value, mean: value });
  });
});

describe('every initialiser', () => {
  const all: [string, (t: Tensor) => Tensor][] = [
    ['uniform', init.uniform],
    ['normal', init.normal],
    ['constant', (t) => init.constant(t, 3)],
    ['zeros', init.zeros],
    ['ones', init.ones],
    ['xavierUniform', init.xavierUniform],
    ['xavierNormal', init.xavierNormal],
    ['kaimingUniform', init.kaimingUniform],
    ['kaimingNormal', init.kaimingNormal],
  ];
  it.each(all)('%s fills a leaf in place and gives it back', (_, fill) => {
    const leaf = init.constant(zeros([4, 5], { requiresGrad: true }), 9);
    expect(fill(leaf)).toBe(leaf);
    expect([leaf.isLeaf, leaf.requiresGrad, leaf.shape]).toEqual([true, true, [4, 5]]);
    expect([...leaf.dataSync()]).not.toContain(9);
  });
  it.each(all)('%s gives the same bits for a seed, wherever tensors are made and live', async (_, fill) => {
    const own = zeros([9, 11]);
    const there = zeros([9, 11], { device: 'reference' });
    const bits = (t: Tensor) => {
      manualSeed(5);
      return [...fill(t).dataSync()];
    };
    const expected = bits(own);
    expect(bits(own)).toEqual(expected);
    expect(bits(there)).toEqual(expected);
    await useDevice('reference');
    expect(bits(own)).toEqual(expected);
    expect(own.device).toBe('cpu');
  });
  it('goes on in the random stream', () => {
    const [a, b] = [init.uniform(zeros([8])), init.uniform(zeros([8]))];
    expect(a.toArraySync()).not.toEqual(b.toArraySync());
  });
});

describe('refusals', () => {
  it.each<[string, () => unknown, string]>([
    ['a low bound that is NaN', () => init.uniform(zeros([1]), Number.NaN, 1), '[init.uniform] low is NaN'],
    ['a high bound without end', () => init.uniform(zeros([1]), 0, Infinity), '[init.uniform] high is Infinity'],
    ['a mean that is NaN', () => init.normal(zeros([1]), Number.NaN), '[init.normal] mean is NaN'],
    ['a negative deviation', () => init.normal(zeros([1]), 0, -1), '[init.normal] std is -1'],
    ['a NaN gain', () => init.xavierUniform(matrix(), Number.NaN), 'NaN'],
    ...(['xavierUniform', 'xavierNormal', 'kaimingUniform', 'kaimingNormal'] as const).map(
      (name): [string, () => unknown, string] => [
        `${name} of a vector`,
        () => init[name](zeros([3])),
        `[init.${name}] a tensor of shape [3] has no fan in and fan out`,
      ],
    ),
  ])('are for %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
  it('leave the numbers as they were', async () => {
    const t = init.ones(zeros([2]));
    await errorOf(() => init.normal(t, 0, -1));
    expectClose(t.dataSync(), [1, 1], 0, 0);
  });
});
