import { describe, expect, it } from 'vitest';
import type { Storage } from '../src/backends/backend.js';
import { functions as library } from '../src/backends/cpu/generated/functions.js';
import { compile, instantiate } from '../src/backends/cpu/wasm.js';
import { nn, type Tensor, tensor, useDevice } from '../src/index.js';
import { table } from '../src/ops/table.js';
import { loopNest } from '../src/shape.js';
import { examples } from './examples-of-ops.js';
import { expectClose, fallbackSteps, sample, withCpu } from './helpers.js';

// What the operations mean, written down a second time and otherwise than in src and kernels: the parity suite compares
// backends with each other, this one compares each of them with mathematics.

/** From 0 to x, by Simpson's rule. */
function integral(f: (t: number) => number, x: number): number {
  const h = x / 400;
  let sum = f(0) + f(x);
  for (let i = 1; i < 400; i++) sum += (i % 2 ? 4 : 2) * f(i * h);
  return (sum * h) / 3;
}

const unary: Record<string, (x: number) => number> = {
  neg: (x) => 0 - x,
  exp: (x) => Math.expm1(x) + 1,
  log: (x) => Math.log2(x) * Math.LN2,
  sqrt: (x) => Math.hypot(Math.cbrt(x) ** 1.5),
  abs: (x) => Math.sign(x) * x,
  relu: (x) => (x + Math.hypot(x)) / 2,
  sigmoid: (x) => 0.5 + 0.5 * Math.tanh(x / 2),
  tanh: (x) => 1 - 2 / (Math.expm1(2 * x) + 2),
  sin: (x) => Math.cos(x - Math.PI / 2),
  cos: (x) => 1 - 2 * Math.sin(x / 2) ** 2,
  erf: (x) => integral((t) => (2 / Math.sqrt(Math.PI)) * Math.exp(-t * t), x),
  floor: (x) => -Math.ceil(-x),
  ceil: (x) => -Math.floor(-x),
  round: (x) => Math.sign(x) * Math.floor(Math.abs(x) + 0.5),
  sign: (x) => Math.abs(x) / x,
  square: (x) => Math.abs(x) ** 2,
  rsqrt: (x) => x ** -0.5,
  log1p: (x) => Math.log(1 + x),
  expm1: (x) => Math.exp(x) - 1,
  gelu: (x) => x * (0.5 + integral((t) => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI), x)),
  silu: (x) => x / (1 + Math.exp(-x)),
  softplus: (x) => Math.log(1 + Math.exp(x)),
  geluTanh: (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

const binary: Record<string, (a: number, b: number) => number> = {
  add: (a, b) => a - -b,
  sub: (a, b) => a + -b,
  mul: (a, b) => ((a + b) ** 2 - (a - b) ** 2) / 4,
  div: (a, b) => a * (1 / b),
  pow: (a, b) => Math.exp(b * Math.log(a)),
  maximum: (a, b) => (a + b + Math.hypot(a - b)) / 2,
  minimum: (a, b) => (a + b - Math.hypot(a - b)) / 2,
  eq: (a, b) => Number(a === b),
  gt: (a, b) => Number(Math.sign(a - b) === 1),
  lt: (a, b) => Number(Math.sign(b - a) === 1),
  ge: (a, b) => Number(!(a < b)),
  le: (a, b) => Number(!(a > b)),
  ne: (a, b) => Number(a - b !== 0),
};

const softplus = (x: number) => Math.log(1 + Math.exp(x));
const losses = {
  mseLoss: (a: number, b: number) => a * a - 2 * a * b + b * b,
  bceLoss: (a: number, b: number) => -Math.log(a ** b * (1 - a) ** (1 - b)),
  bceWithLogitsLoss: (a: number, b: number) => b * softplus(-a) + (1 - b) * softplus(a),
};

const column = (n: number, f: (i: number) => number) => Float64Array.from({ length: n }, (_, i) => f(i));

/** Rows of a matrix. */
const rowsOf = (x: ArrayLike<number>, cols: number) =>
  Array.from({ length: x.length / cols }, (_, r) => Array.from({ length: cols }, (_, c) => x[r * cols + c]));

const call = (x: Tensor, name: string, ...rest: unknown[]) =>
  name === 'geluTanh'
    ? x.gelu({ approximate: 'tanh' })
    : (x as unknown as Record<string, (...rest: unknown[]) => Tensor>)[name](...rest);

it('the CPU at work is WebAssembly, in the build that every test without a choice of its own gets', async () => {
  expect((await useDevice('cpu')).backend).toMatch(/^wasm-(relaxed-)?simd$/);
  expect(tensor([1]).backend.info().backend).toMatch(/^wasm-(relaxed-)?simd$/);
});

it('the element-wise and reducing rows that have kernels keep them: a row without one would be compared with itself', () => {
  for (const build of ['wasm-relaxed-simd', 'wasm-simd'] as const) {
    const core = instantiate(build);
    const kernels = { ...core.kernels, ...compile(library, build, core.memory).kernels };
    const without = Object.entries({ unary: table.unary, reduce: table.reduce }).flatMap(([family, rows]) =>
      Object.keys(rows).filter((name) => typeof kernels[`${family}_${name}`] !== 'function'),
    );
    expect(without).toEqual([]);
    const scalar = Object.keys({ ...table.binary, ...table.compare }).filter((name) => !kernels[`binary_${name}`]);
    expect(scalar.sort()).toEqual(['binaryCrossEntropy', 'binaryCrossEntropyWithLogits', 'keep', 'pow']);
  }
});

it.each(fallbackSteps.filter(({ name }) => name.startsWith('wasm')))('$name runs its kernels, not the rows', ({
  start,
}) => {
  const backend = start();
  const f = () => Number.NaN;
  const [a, b] = [backend.upload([1, 2]), backend.upload([2, 4])];
  const loops = loopNest([2], [2], [2]);
  const wrong = (out: Storage) => backend.readSync!(out).some(Number.isNaN);
  const { unary, binary, compare, reduce } = table;
  const scalar = [
    ...Object.entries(unary).map(([name, row]) => [name, backend.unary({ ...row, f }, a)] as const),
    ...Object.entries({ ...binary, ...compare }).map(
      ([name, row]) => [name, backend.binary({ ...row, f }, a, b, loops, 2)] as const,
    ),
    ...Object.entries(reduce).map(
      ([name, row]) => [name, backend.reduce({ ...row, combine: f, finish: f }, a, 1, 2, 1)] as const,
    ),
  ].flatMap(([name, out]) => (wrong(out) ? [name] : []));
  expect(scalar.sort()).toEqual(['binaryCrossEntropy', 'binaryCrossEntropyWithLogits', 'keep', 'pow']);
});

it('every row has its definition here', () => {
  expect(Object.keys(unary)).toEqual(Object.keys(table.unary));
  expect(Object.keys(nn.functional)).toEqual(expect.arrayContaining(Object.keys(losses)));
  const parts = ['squaredDifference', 'binaryCrossEntropy', 'binaryCrossEntropyWithLogits', 'reluGrad'];
  parts.push('keep', 'geluGrad', 'siluGrad', 'geluTanhGrad');
  expect([...Object.keys(binary), ...parts].sort()).toEqual(Object.keys({ ...table.binary, ...table.compare }).sort());
});

describe.each(fallbackSteps)('on $name', ({ name, start }) => {
  const backend = start();
  const here = <T>(body: () => T) => withCpu(backend, body);

  it('is what it says', async () => {
    await here(() => expect(tensor([1]).neg().backend.info()).toMatchObject({ type: 'cpu' }));
    expect(backend.info().backend).toBe(name.startsWith('wasm') ? name : 'reference');
  });
  it.each(Object.entries(unary))('%s', async (name, f) => {
    const x = sample(301, examples.unary[name as 'exp'].domain, 4);
    await here(() =>
      expectClose(
        call(tensor(x), name).dataSync(),
        column(301, (i) => f(x[i])),
        2e-6,
        2e-7,
      ),
    );
  });
  it.each(Object.entries(binary))('%s', async (name, f) => {
    const { domainA, domainB } = { ...examples.binary, ...examples.compare }[name as 'add'];
    const [a, b] = [sample(300, domainA, 5), sample(300, domainB, 6)];
    for (let i = 0; i < 300; i += 7) if (name !== 'pow') b[i] = a[i] || 1;
    await here(() => {
      const [x, y] = [a, b].map((v) => tensor(v, { shape: [20, 15] }));
      expectClose(
        call(x, name, y).dataSync(),
        column(300, (i) => f(a[i], b[i])),
        3e-6,
        3e-6,
      );
      // One row and one column, spread over the other.
      const [line, post] = [tensor(b.slice(0, 15)), tensor(b.slice(0, 20), { shape: [20, 1] })];
      expectClose(
        call(x, name, line).dataSync(),
        column(300, (i) => f(a[i], b[i % 15])),
        3e-6,
        3e-6,
      );
      expectClose(
        call(x, name, post).dataSync(),
        column(300, (i) => f(a[i], b[Math.floor(i / 15)])),
        3e-6,
        3e-6,
      );
    });
  });
  it.each(Object.entries(losses))('%s', async (name, f) => {
    const [a, b] = [sample(60, [0.05, 0.95], 7), sample(60, [0, 1], 8)];
    await here(() => {
      const run = (reduction: nn.functional.Reduction) =>
        nn.functional[name as 'mseLoss'](tensor(a), tensor(b), { reduction }).dataSync();
      const each = column(60, (i) => f(a[i], b[i]));
      const total = each.reduce((sum, v) => sum + v, 0);
      expectClose(run('none'), each, 2e-6, 2e-6);
      expectClose(run('sum'), [total], 2e-6);
      expectClose(run('mean'), [total / 60], 2e-6);
    });
  });
  it('softmax, its logarithm and cross-entropy', async () => {
    const x = sample(7 * 13, [-4, 4], 9);
    const labels = Array.from({ length: 7 }, (_, i) => (i * 5) % 13);
    const shares = rowsOf(x, 13).map((row) => {
      const total = row.reduce((sum, v) => sum + Math.exp(v), 0);
      return row.map((v) => Math.exp(v) / total);
    });
    await here(() => {
      const logits = tensor(x, { shape: [7, 13], requiresGrad: true });
      expectClose(logits.softmax(1).dataSync(), shares.flat(), 2e-6, 1e-7);
      expectClose(logits.logSoftmax(1).dataSync(), shares.flat().map(Math.log), 2e-6, 2e-6);
      const loss = (reduction: nn.functional.Reduction) =>
        nn.functional.crossEntropy(logits, tensor(labels), { reduction });
      const each = labels.map((label, r) => -Math.log(shares[r][label]));
      const mean = each.reduce((sum, v) => sum + v, 0) / 7;
      expectClose(loss('none').dataSync(), each, 2e-6, 2e-6);
      expectClose(loss('sum').dataSync(), [7 * mean], 2e-6);
      const out = loss('mean');
      expectClose(out.dataSync(), [mean], 2e-6);
      out.backward();
      const gradient = shares.flatMap((row, r) => row.map((p, c) => (p - Number(labels[r] === c)) / 7));
      expectClose(logits.grad!.dataSync(), gradient, 2e-6, 1e-7);
    });
  });
  it('sum, mean, max, min and argmax along each dimension', async () => {
    const [outer, length, inner] = [3, 21, 5];
    const x = sample(outer * length * inner, [-3, 3], 10);
    const sorted = Array.from({ length: outer * inner }, (_, i) => {
      const own = Array.from({ length }, (_, l) => x[(Math.floor(i / inner) * length + l) * inner + (i % inner)]);
      return { own, order: own.map((v, l) => [v, l]).sort((p, q) => p[0] - q[0]) };
    });
    await here(() => {
      const t = tensor(x, { shape: [outer, length, inner] });
      const got = (name: string) => call(t, name, 1).dataSync();
      const total = sorted.map(({ own }) => own.reduce((sum, v) => sum + v, 0));
      expectClose(got('sum'), total, 2e-6, 2e-5);
      expectClose(
        got('mean'),
        total.map((v) => v / length),
        2e-6,
        2e-6,
      );
      expect([...got('min')]).toEqual(sorted.map(({ order }) => order[0][0]));
      expect([...got('max')]).toEqual(sorted.map(({ order }) => order[length - 1][0]));
      expect([...got('argmax')]).toEqual(sorted.map(({ order }) => order[length - 1][1]));
    });
  });
  it('a product, a layer and their gradients', async () => {
    const [m, k, n] = [6, 19, 11];
    const [a, b, bias] = [sample(m * k, [-1, 1], 11), sample(k * n, [-1, 1], 12), sample(n, [-1, 1], 13)];
    const [rows, weights] = [rowsOf(a, k), rowsOf(b, n)];
    const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, v, i) => sum + v * y[i], 0);
    const columns = Array.from({ length: n }, (_, j) => weights.map((row) => row[j]));
    const product = rows.flatMap((row) => columns.map((c) => dot(row, c)));
    await here(() => {
      const [x, w] = [tensor(a, { shape: [m, k], requiresGrad: true }), tensor(b, { shape: [k, n] })];
      expectClose(x.matmul(w).dataSync(), product, 2e-6, 2e-6);
      const flipped = tensor(columns.flat(), { shape: [n, k], requiresGrad: true });
      const out = nn.functional.linear(x, flipped, tensor(bias));
      expectClose(
        out.dataSync(),
        product.map((v, i) => v + bias[i % n]),
        2e-6,
        2e-6,
      );
      out.sum().backward();
      // d Σ x wᵀ: of x the sums of the columns of w, of w the sums of the rows of x.
      const [ofRow, ofColumn] = [weights, Array.from({ length: k }, (_, i) => rows.map((row) => row[i]))].map((lists) =>
        lists.map((list) => list.reduce((sum, v) => sum + v, 0)),
      );
      expectClose(
        x.grad!.dataSync(),
        rows.flatMap(() => ofRow),
        2e-6,
        2e-6,
      );
      expectClose(
        flipped.grad!.dataSync(),
        columns.flatMap(() => ofColumn),
        2e-6,
        2e-6,
      );
    });
  });
  it('transposing, reshaping and spreading', async () => {
    const x = sample(12, [-1, 1], 14);
    const rows = rowsOf(x, 4);
    await here(() => {
      const t = tensor(x, { shape: [3, 4] });
      expect(t.transpose(0, 1).toArraySync()).toEqual([0, 1, 2, 3].map((c) => rows.map((row) => row[c])));
      expect(t.reshape([2, 6]).toArraySync()).toEqual(rowsOf(x, 6));
      expect(
        tensor(x.slice(0, 4))
          .add(tensor([[0], [0]]))
          .toArraySync(),
      ).toEqual([rows[0], rows[0]]);
    });
  });
});
