import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { order } from '../kernels/reference/order.js';
import { backendOf } from '../src/backends/registry.js';
import { gradcheck, ones, randn, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf, expectClose, fallbackSteps, sampleTensor, withCpu } from './helpers.js';

// The values and gradients were written by test/golden/reductions.py with PyTorch.

interface Packed {
  shape: number[];
  values: (number | string)[];
}
interface Case {
  name: string;
  args: unknown[];
  input: Packed;
  outputs: Packed[];
  gradient: Packed | null;
}
const golden = JSON.parse(readFileSync(new URL('golden/reductions.json', import.meta.url), 'utf8')) as {
  torch: string;
  cases: Case[];
};
const floats = (values: (number | string)[]) =>
  Float64Array.from(values, (v) => Number(String(v).replace('inf', 'Infinity')));
const argument = (v: unknown) => (v === 'inf' ? Infinity : v === '-inf' ? -Infinity : (v ?? undefined));

/** Within 3e-5 of the largest of the numbers. */
function expectNear(actual: ArrayLike<number>, expected: Float64Array): void {
  const largest = expected.reduce((m, v) => (Number.isFinite(v) ? Math.max(m, Math.abs(v)) : m), 0);
  expectClose(actual, expected, 0, 3e-5 * largest + 1e-30);
}

type Method = (...args: unknown[]) => Tensor | Tensor[];

function meets({ name, args, input, outputs, gradient }: Case): void {
  const x = tensor(floats(input.values), { shape: input.shape, requiresGrad: gradient !== null });
  const found = (x[name as 'norm'] as Method).apply(x, args.map(argument));
  const results = Array.isArray(found) ? found : [found];
  expect(results.map((t) => t.shape)).toEqual(outputs.map((o) => o.shape));
  for (const [i, t] of results.entries()) expectNear(t.dataSync(), floats(outputs[i].values));
  if (gradient === null) return;
  const weights = Float32Array.from({ length: results[0].size }, (_, i) => 0.5 + 0.25 * i);
  results[0].backward(tensor(weights, { shape: results[0].shape }));
  expectNear(x.grad!.dataSync(), floats(gradient.values));
}

describe(`PyTorch ${golden.torch}`, () => {
  it.each(
    golden.cases.map((c, i) => [`${c.name} ${JSON.stringify(c.args)} (${i})`, c] as const),
  )('%s: values and gradient', (_, c) => meets(c));
  it.each(fallbackSteps)('has the same on $name', ({ start }) =>
    withCpu(start(), () => {
      for (const c of golden.cases) meets(c);
    }));
});

describe('derivatives', () => {
  const x = sampleTensor([3, 4], [-2, 2], 1, 'cpu', true);
  it.each([
    ['var', (t: Tensor) => t.var(1)],
    ['std', (t: Tensor) => t.std([0, 1], { correction: 0 })],
    ['prod', (t: Tensor) => t.prod(1)],
    ['prod of five', (t: Tensor) => t.reshape([6, 2]).narrow(0, 0, 5).prod(0)],
    ['norm', (t: Tensor) => t.norm(2, 1)],
    ['norm 3', (t: Tensor) => t.norm(3, 0)],
    ['norm 0.5', (t: Tensor) => t.norm(0.5, 1)],
    ['logsumexp', (t: Tensor) => t.logsumexp(0)],
    ['cumsum', (t: Tensor) => t.cumsum(0)],
    ['sort', (t: Tensor) => t.sort(0)[0].mul(t)],
    ['topk', (t: Tensor) => t.topk(2, 0)[0].pow(3)],
  ] as const)('%s has first and second ones', (_, fn) => {
    gradcheck((t) => fn(t), [x], { secondOrder: true });
  });
  it('of prod are right where elements are 0', () => {
    const zero = tensor([[0, 2, 3], [0, 0, 3], [1, 0, 4]], { requiresGrad: true }); // biome-ignore format: one line
    gradcheck((t) => t.prod(1), [zero], { secondOrder: true });
  });
});

describe('equal numbers', () => {
  it.each(fallbackSteps)('have no variance, and std gives them no gradient, on $name', ({ start }) =>
    withCpu(start(), () => {
      // The mean of three of them is rounded.
      const x = tensor([1.2282905578613281, -0.1524347960948944, 0.849204421043396, 0.1])
        .expand([3, 4])
        .clone()
        .detach();
      for (const correction of [0, 1, 2]) {
        const w = x.clone();
        w.requiresGrad = true;
        const y = w.std(0, { correction });
        expect([...w.var(0, { correction }).dataSync(), ...y.dataSync()]).toEqual(Array(8).fill(0));
        y.sum().backward();
        expect(w.grad!.abs().sum().itemSync()).toBe(0);
      }
    }));
});

describe('sorting', () => {
  it('is stable in float32 and float64, for any length and any number of elements', () => {
    for (const n of [1, 2, 31, 32, 33, 300, 5000]) {
      const values = randn([n]).mul(n === 300 ? 1000 : 5).dataSync().map(Math.round); // biome-ignore format: one line
      if (n > 10) values.set([NaN, -0, 0, Infinity, -Infinity, NaN]);
      for (const descending of [false, true]) {
        const key = (v: number) => (Number.isNaN(v) ? Infinity : v === Infinity ? Number.MAX_VALUE : v);
        const expected = Array.from({ length: n }, (_, i) => i).sort((a, b) => {
          const [v, w] = descending ? [key(values[b]), key(values[a])] : [key(values[a]), key(values[b])];
          return v === w ? 0 : v < w ? -1 : 1;
        });
        for (const k of new Set([n, Math.ceil(n / 2), 1])) {
          for (const given of [values, Float64Array.from(values)]) {
            const out = new Float32Array(2 * k);
            const twice = given instanceof Float64Array ? new Float64Array(2 * n) : new Float32Array(2 * n);
            twice.set(given);
            twice.set(given, n);
            order(twice, out, 2, n, k, descending);
            expect([...out]).toEqual([...expected.slice(0, k), ...expected.slice(0, k)]);
          }
        }
      }
    }
  });
  it('finds the different values', async () => {
    const x = tensor([[3, NaN, 1], [Infinity, 1, -0], [0, NaN, 3]]); // biome-ignore format: one line
    const [values, inverse, counts] = await x.unique({ returnInverse: true, returnCounts: true });
    expect([...values.dataSync()]).toEqual([-0, 1, 3, Infinity, NaN, NaN]);
    expect(inverse.toArraySync()).toEqual([
      [2, 4, 1],
      [3, 1, 0],
      [0, 5, 2],
    ]);
    expect([...counts.dataSync()]).toEqual([2, 2, 2, 1, 1, 1]);
    expect([...(await tensor([2, 1, 2]).unique()).dataSync()]).toEqual([1, 2]);
    expect((await zeros([0]).unique()).shape).toEqual([0]);
  });
  it('take 0 and -1 for the dimension of a scalar, as PyTorch does', () => {
    const x = tensor(3, { requiresGrad: true });
    const all = [
      x.sum(0),
      x.mean(-1),
      x.max(0),
      x.logsumexp(0),
      x.prod(-1),
      x.softmax(0),
      x.logSoftmax(-1),
      x.argmax(0),
    ];
    expect(all.map((t) => [t.shape, t.itemSync()])).toEqual([3, 3, 3, 3, 3, 1, 0, 0].map((v) => [[], v]));
    all[0].add(all[5]).backward();
    expect(x.grad!.itemSync()).toBe(1);
    expect(() => x.sum(1)).toThrow('[sum] dim is 1 for a tensor of shape []');
    expect(() => x.softmax(-2)).toThrow('[softmax] dim is -2 for a tensor of shape []');
  });
  it('takes tensors without elements, and scalars', () => {
    expect(zeros([2, 0]).sort().map((t) => t.shape)).toEqual([[2, 0], [2, 0]]); // biome-ignore format: one line
    expect(ones([3]).topk(0)[0].shape).toEqual([0]);
    expect(zeros([0, 3]).topk(2)[1].shape).toEqual([0, 2]);
    expect(tensor(3).sort().map((t) => t.itemSync())).toEqual([3, 0]); // biome-ignore format: one line
    expect(zeros([0, 3]).cumsum(0).shape).toEqual([0, 3]);
  });
});

describe('without elements', () => {
  it('has the values of PyTorch', () => {
    const none = zeros([0]);
    expect([none.prod(), none.norm(), none.logsumexp(0), none.var()].map((t) => t.itemSync())).toEqual([
      1,
      0,
      -Infinity,
      NaN,
    ]);
    expect([...zeros([0, 2]).prod(0).dataSync()]).toEqual([1, 1]);
    expect(zeros([2, 0]).std(0).shape).toEqual([0]);
  });
});

describe('refusals', () => {
  const x = ones([2, 3]);
  it.each([
    ['[var] dim is 2', () => x.var(2)],
    ['[std] unknown option', () => x.std(0, { corection: 0 } as never)],
    ["[var] correction is '1'", () => x.var(0, { correction: '1' as never })],
    ['[var] keepdim is null', () => x.var(0, null as never)],
    ['[prod] dim is -3', () => x.prod(-3)],
    ["[norm] p is 'nuc'", () => x.norm('nuc' as never)],
    ['[norm] dim [0, 0] names dimension 0 twice', () => x.norm(2, [0, 0])],
    ['[logsumexp] dim is undefined', () => x.logsumexp(undefined as never)],
    ['[cumsum] dim is 2', () => x.cumsum(2)],
    ['[cumsum] dim is undefined', () => x.cumsum(undefined as never)],
    ['[sort] dim is 5', () => x.sort(5)],
    ['[sort] descending is 1', () => x.sort(0, { descending: 1 as never })],
    ['[argsort] unknown option', () => x.argsort(0, { stable: true } as never)],
    ['[topk] k is 4 for shape [2, 3]', () => x.topk(4)],
    ['[topk] k is -1', () => x.topk(-1)],
    ['[topk] k is undefined', () => x.topk(undefined as never)],
    ['has no elements', () => zeros([2, 0]).norm(-1, 1)],
    ['[argmin] dim is [0, 1]', () => x.argmin([0, 1] as never)],
    ['[sort] 16777217 elements', () => ones([1]).expand([2 ** 24 + 1]).sort()], // biome-ignore format: one line
  ])('%s', async (text, fn) => {
    expect((await errorOf(fn)).message).toContain(text);
    expect(backendOf('cpu').device).toBe('cpu');
  });
});

describe.each(fallbackSteps)('positions of extremes on $name', ({ start }) => {
  it('are the first of equal numbers, zeros of both signs included, and of NaN', () =>
    withCpu(start(), () => {
      const rows = [
        Array.from({ length: 37 }, (_, i) => (i * 7) % 11),
        Array.from({ length: 37 }, (_, i) => (i === 20 || i === 30 ? NaN : -i)),
        Array.from({ length: 37 }, (_, i) => (i % 2 === 0 ? -0 : 0)),
        Array.from({ length: 37 }, () => -Infinity),
        Array.from({ length: 37 }, (_, i) => (i === 36 ? Infinity : 1)),
      ];
      const x = tensor(rows);
      for (const y of [x.argmax(1), x.t().contiguous().argmax(0)]) expect([...y.dataSync()]).toEqual([3, 20, 0, 0, 36]);
      for (const y of [x.argmin(1), x.t().contiguous().argmin(0)]) expect([...y.dataSync()]).toEqual([0, 20, 0, 0, 0]);
    }));
});
