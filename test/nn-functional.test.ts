import { describe, expect, it } from 'vitest';
import { backendOf, withBackend } from '../src/backends/registry.js';
import { nn, ones, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf, startLateDevice } from './helpers.js';

// Clipping by exact values, and the shapes that errors of losses, init and parameters carry.

const withGradient = (values: number[], device: 'cpu' | 'reference' = 'cpu') => {
  const p = zeros([values.length], { requiresGrad: true, device });
  p.grad = tensor(values, { device });
  return p;
};
const gradient = (p: Tensor) => p.grad!.toArraySync();

describe('clipGradNorm', () => {
  it.each([
    [1, 9.5],
    [2, Math.sqrt(9 + 16 + 0.25 + 4)],
    [Infinity, 4],
    [3, (27 + 64 + 0.125 + 8) ** (1 / 3)],
  ])('has the norm of order %d', (normType, norm) => {
    const params = [withGradient([3, -4]), withGradient([0.5, 2])];
    expect(nn.utils.clipGradNorm(params, 100, { normType }).itemSync()).toBeCloseTo(norm, 5);
  });
  it('leaves gradients within the limit as they are, and gives the norm on their device', () => {
    const p = withGradient([3, 4], 'reference');
    const before = p.gradient;
    expect(nn.utils.clipGradNorm(p, 5.1).device).toBe('reference');
    expect(p.gradient).toBe(before);
    nn.utils.clipGradNorm(p, 5);
    expect(p.gradient).not.toBe(before);
  });
  it('adds 1e-6 to the norm before it divides', () => {
    const p = withGradient([1e-6]);
    nn.utils.clipGradNorm(p, 1e-6);
    expect((gradient(p) as number[])[0]).toBeCloseTo(5e-7, 12);
  });
  it.each<[string, unknown]>([
    ['null', null],
    ['5', 5],
    ['a Object', {}],
  ])('refuses %s as parameters', async (name, given) => {
    for (const run of [() => nn.utils.clipGradNorm(given as never, 1), () => nn.utils.clipGradValue(given as never, 1)])
      expect((await errorOf(run)).message).toContain(`the parameters are ${name}; pass model.parameters()`);
  });
});

describe('clipGradValue', () => {
  it('takes Infinity for no limit', () => {
    const p = withGradient([3, -1e30]);
    nn.utils.clipGradValue(p, Infinity);
    expect(gradient(p)).toEqual([3, Math.fround(-1e30)]);
  });
});

describe('errors', () => {
  const shapesOf = async (run: () => unknown) => (await errorOf(run)).shapes;
  it('of losses name arguments and carry shapes', async () => {
    const { crossEntropy, mseLoss, bceWithLogitsLoss } = nn.functional;
    expect(await shapesOf(() => crossEntropy(zeros([2]), zeros([3])))).toEqual([[2], [3]]);
    expect(await shapesOf(() => crossEntropy(zeros([2, 3]), zeros([2, 1])))).toEqual([
      [2, 3],
      [2, 1],
    ]);
    expect(await shapesOf(() => crossEntropy(zeros([2, 3]), tensor([0, 3])))).toEqual([[2]]);
    expect(await shapesOf(() => mseLoss(zeros([2]), zeros([3])))).toEqual([[2], [3]]);
    expect((await errorOf(() => crossEntropy(zeros([1, 2]), [0] as never))).message).toContain('operand 1 is [0]');
    expect((await errorOf(() => mseLoss(zeros([1]), [0] as never))).message).toContain('operand 1 is [0]');
    expect((await errorOf(() => bceWithLogitsLoss(zeros([3]), tensor([0, 2, -1])))).message).toContain(
      'the target has values from -1 to 2',
    );
  });
  it('of init and of parameters carry shapes', async () => {
    const result = ones([2, 3], { requiresGrad: true }).mul(2);
    expect(await shapesOf(() => nn.init.zeros(result))).toEqual([[2, 3]]);
    expect(await shapesOf(() => nn.init.xavierUniform(zeros([4])))).toEqual([[4]]);
    const layer = new nn.Linear(3, 2);
    const set = () => Object.assign(layer, { weight: new nn.Parameter(ones([3, 2])) });
    expect(await shapesOf(set)).toEqual([
      [3, 2],
      [2, 3],
    ]);
  });
});

describe('small things', () => {
  it('init computes on the CPU, whatever the current device is', () => {
    startLateDevice();
    const { uniform, normal, constant } = nn.init;
    for (const fill of [uniform, normal, (t: Tensor) => constant(t, 2)]) {
      const target = zeros([3]);
      withBackend('gpu', backendOf('gpu'), () => fill(target));
      expect(target.device).toBe('cpu');
      expect(target.toArraySync()).not.toEqual([0, 0, 0]);
    }
  });
  it('init.uniform takes two equal bounds', () => {
    expect(nn.init.uniform(zeros([2]), 3, 3).toArraySync()).toEqual([3, 3]);
  });
  it('a buffer may be told that it requires no gradient', () => {
    const b = new nn.Buffer(ones([1]));
    b.requiresGrad = false;
    expect(b.requiresGrad).toBe(false);
  });
});
