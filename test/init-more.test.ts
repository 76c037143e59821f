import { describe, expect, it } from 'vitest';
import { manualSeed, nn, ones, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf, expectClose } from './helpers.js';

const { init, utils } = nn;
const any = (value: unknown) => value as never;
const message = async (run: () => unknown) => (await errorOf(run)).message;

function moments(t: Tensor): { mean: number; std: number; low: number; high: number } {
  const values = [...t.dataSync()];
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const std = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
  return { mean, std, low: Math.min(...values), high: Math.max(...values) };
}

describe('truncNormal', () => {
  // Mean and deviation of the truncated distribution, from its density and distribution function.
  it.each([
    [0, 1, -2, 2, 0, 0.8796],
    [0, 1, -1, 3, 0.2827, 0.7805],
    [0, 1, 2, 9, 2.3732, 0.3371],
    [0, 1, -9, -2, -2.3732, 0.3371],
    [0, 1, 0.1, 0.3, 0.1993, 0.0577],
    [1, 0.5, 1, 1.5, 1.2299, 0.142],
    [0, 1, 1, 1.5, 1.2278, 0.1428],
  ])('with mean %d, std %d between %d and %d', (mean, std, a, b, expectedMean, expectedStd) => {
    manualSeed(1);
    const { low, high, ...found } = moments(init.truncNormal(zeros([200, 200]), mean, std, a, b));
    expect(low).toBeGreaterThanOrEqual(Math.fround(a));
    expect(high).toBeLessThanOrEqual(Math.fround(b));
    expect(Math.abs(found.mean - expectedMean)).toBeLessThan(0.02);
    expect(Math.abs(found.std - expectedStd)).toBeLessThan(0.02);
  });
  it('refuses bounds that are not in order', async () => {
    expect(await message(() => init.truncNormal(zeros([2]), 0, 1, 2, 2))).toContain('a is 2 and b is 2');
    expect(await message(() => init.truncNormal(zeros([2]), 0, 0))).toContain('std is 0');
    expect(await message(() => init.truncNormal(any(3)))).toContain('target is 3');
  });
});

describe('orthogonal', () => {
  it.each([[[4, 4]], [[6, 3]], [[3, 8]], [[4, 2, 3]]])('makes rows or columns of %j orthogonal', (shape) => {
    const w = init.orthogonal(zeros(shape), 2).reshape([shape[0], -1]);
    const product = shape[0] <= w.shape[1] ? w.matmul(w.t()) : w.t().matmul(w);
    const n = product.shape[0];
    const expected = Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 4 : 0));
    expectClose(product.dataSync(), expected, 1e-5, 1e-5);
  });
  it('refuses vectors, and leaves no elements alone', async () => {
    expect(await message(() => init.orthogonal(zeros([3])))).toContain('a tensor of shape [3] is not a matrix');
    expect(init.orthogonal(zeros([0, 3])).size).toBe(0);
  });
});

describe('gains', () => {
  it('are those of PyTorch', async () => {
    const { calculateGain } = init;
    expect(calculateGain('tanh')).toBe(5 / 3);
    expect(calculateGain('relu')).toBe(Math.SQRT2);
    expect(calculateGain('leakyRelu')).toBe(Math.sqrt(2 / 1.0001));
    expect(calculateGain('leakyRelu', 1)).toBe(1);
    expect([calculateGain('linear'), calculateGain('sigmoid'), calculateGain('selu')]).toEqual([1, 1, 0.75]);
    expect(await message(() => calculateGain(any('gelu')))).toContain("nonlinearity is 'gelu'; pass one of linear");
  });
  it('decide on the deviation of kaiming, with the fan of the mode', async () => {
    manualSeed(2);
    const std = (mode?: 'fanIn' | 'fanOut', nonlinearity?: nn.init.Nonlinearity) =>
      moments(init.kaimingNormal(zeros([400, 100]), 0, { mode, nonlinearity })).std;
    expect(std()).toBeCloseTo(Math.sqrt(2 / 100), 2);
    expect(std('fanOut')).toBeCloseTo(Math.sqrt(2 / 400), 2);
    expect(std('fanIn', 'linear')).toBeCloseTo(0.1, 2);
    const { low, high } = moments(init.kaimingUniform(zeros([400, 100]), 0, { mode: 'fanOut' }));
    expect(Math.max(-low, high)).toBeCloseTo(Math.sqrt(6 / 400), 3);
    expect(await message(() => init.kaimingNormal(zeros([2, 2]), 0, any({ mode: 'fan' })))).toContain("mode is 'fan'");
  });
});

describe('eye', () => {
  it('has ones on its diagonal', async () => {
    expect(init.eye(zeros([2, 3])).toArraySync()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
    ]);
    expect(await message(() => init.eye(zeros([3])))).toContain('is not a matrix');
  });
});

describe('parameters as a vector', () => {
  it('go there and back, with a gradient', () => {
    const params = [tensor([[1, 2], [3, 4]], { requiresGrad: true }), tensor([5], { requiresGrad: true })]; // biome-ignore format: one line
    const vector = utils.parametersToVector(params);
    expect(vector.toArraySync()).toEqual([1, 2, 3, 4, 5]);
    vector.mul(vector).sum().backward();
    expect(params[1].grad!.toArraySync()).toEqual([10]);
    utils.vectorToParameters(tensor([9, 8, 7, 6, 5]), params);
    expect(params[0].toArraySync()).toEqual([
      [9, 8],
      [7, 6],
    ]);
  });
  it('refuse other sizes', async () => {
    const layer = new nn.Linear(3, 2);
    const refused = await message(() => utils.vectorToParameters(ones([7]), layer.parameters()));
    expect(refused).toContain('the vector has shape [7]; pass the 8 elements of the parameters, [8]');
    expect(await message(() => utils.parametersToVector([]))).toContain('there are no parameters');
    expect(await message(() => utils.parametersToVector(any([1])))).toContain('parameter 0 is 1');
    expect(await message(() => utils.vectorToParameters(any(1), []))).toContain('the vector is 1');
  });
});
