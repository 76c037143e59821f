import { describe, expect, it } from 'vitest';
import { gradcheck, type Tensor, tensor } from '../src/index.js';
import { dispatch } from '../src/ops/dispatch.js';
import { applyBinary, applyReduce } from '../src/ops/families.js';
import { type Dispatchable, Operation } from '../src/ops/row.js';
import { table } from '../src/ops/table.js';
import { loopNest, sizeOf } from '../src/shape.js';
import { examples } from './examples-of-ops.js';
import { errorOf, expectClose, fallbackSteps, sample, sampleTensor } from './helpers.js';

// Walks the op table: a row is tested by being in it and having examples.

const differentiableReductions = Object.entries(table.reduce).filter(([, row]) => row.grad !== undefined);
const sizes = [1, 3, 4, 17, 33, 513];
const pairs: [number[], number[]][] = [
  [[7], [7]],
  [[3, 5], [5]],
  [
    [3, 5],
    [3, 1],
  ],
  [
    [3, 1],
    [1, 5],
  ],
  [[], [2, 3]],
  [[2, 3], []],
  [
    [2, 1, 4],
    [3, 1],
  ],
  [
    [4, 1, 3, 1],
    [2, 1, 17],
  ],
  [[513], [1]],
  [
    [33, 17],
    [33, 17],
  ],
];
const reductions: { shape: number[]; dim?: number | number[]; keepdim?: boolean }[] = [
  { shape: [] },
  { shape: [1] },
  { shape: [17] },
  { shape: [3, 5], dim: 0 },
  { shape: [3, 5], dim: -1, keepdim: true },
  { shape: [2, 3, 4], dim: 1 },
  { shape: [2, 3, 4], dim: [0, 2] },
  { shape: [2, 3, 4], dim: [1, 2], keepdim: true },
  { shape: [65, 33], dim: 0 },
  { shape: [3, 1100], dim: 1 },
];

describe.each(Object.entries(table.unary))('%s', (name, row) => {
  const { domain, edges } = examples.unary[name as keyof typeof table.unary];
  it('has the right first and second derivatives', () => {
    const x = sampleTensor([2, 3], domain, 1, 'cpu', true);
    gradcheck((t) => dispatch(row, [t], null), [x], { secondOrder: true });
    gradcheck((t) => dispatch(row, [t.mul(1.1)], null).mul(t), [x], { secondOrder: true });
  });
  it.each(fallbackSteps)('equals the reference on $name', ({ start }) => {
    const backend = start();
    for (const n of sizes) {
      const x = sample(n, domain);
      expectClose(backend.readSync!(backend.unary(row, backend.upload(x))), x.map(row.f));
    }
    const x = Float32Array.from(edges);
    expectClose(backend.readSync!(backend.unary(row, backend.upload(x))), x.map(row.f), 1e-6, 1e-45);
    const zeros = Float32Array.from([0, -0]);
    expect([...backend.readSync!(backend.unary(row, backend.upload(zeros)))]).toEqual([...zeros.map(row.f)]);
  });
});

describe.each(Object.entries(table.binary))('%s', (name, row) => {
  const { domainA, domainB } = examples.binary[name as keyof typeof table.binary];
  it.each([
    [
      [2, 3],
      [2, 3],
    ],
    [[2, 3], [3]],
    [
      [2, 1],
      [1, 3],
    ],
    [[], [2]],
  ])('has the right first and second derivatives for %j and %j', (a, b) => {
    const inputs = [sampleTensor(a, domainA, 1, 'cpu', true), sampleTensor(b, domainB, 2, 'cpu', true)];
    gradcheck((x, y) => applyBinary(row, x, y), inputs, { secondOrder: true });
    gradcheck((x, y) => applyBinary(row, x.mul(1), y).mul(y), inputs, { secondOrder: true });
  });
  it('refuses shapes that do not go together', async () => {
    const error = await errorOf(() => applyBinary(row, sampleTensor([2, 3], domainA), sampleTensor([4], domainB)));
    expect(error.op).toBe(name);
    expect(error.shapes).toEqual([[2, 3], [4]]);
    expect(error.message).toContain('[2, 3] and [4]');
  });
});

describe.each([...Object.entries(table.binary), ...Object.entries(table.compare)])('%s', (name, row) => {
  const { domainA, domainB, edges: e } = { ...examples.binary, ...examples.compare }[name as keyof typeof table.binary];
  it.each(fallbackSteps)('equals the reference on $name', ({ start }) => {
    const backend = start();
    const run = (a: Float32Array, b: Float32Array, sa: number[], sb: number[], shape: readonly number[]) =>
      backend.readSync!(
        backend.binary(row, backend.upload(a), backend.upload(b), loopNest(sa, sb, shape), sizeOf(shape)),
      );
    for (const [sa, sb] of pairs) {
      const a = sampleTensor(sa, domainA, 1, 'reference');
      const b = sampleTensor(sb, domainB, 2, 'reference');
      const expected = applyBinary(row, a, b);
      expectClose(run(a.dataSync(), b.dataSync(), sa, sb, expected.shape), expected.dataSync());
    }
    const a = Float32Array.from(e.flatMap((v) => e.map(() => v)));
    const b = Float32Array.from(e.flatMap(() => e));
    expectClose(
      run(a, b, [a.length], [a.length], [a.length]),
      a.map((v, i) => row.f(v, b[i])),
      1e-6,
      0,
    );
  });
});

describe.each(Object.entries(table.compare))('%s', (_, row) => {
  it('is a constant factor to the gradient', async () => {
    const x = sampleTensor([3], [-1, 1], 1, 'cpu', true);
    const mask = applyBinary(row, x, 0);
    expect(mask.requiresGrad).toBe(false);
    expect((await errorOf(() => mask.sum().backward())).message).toContain('does not require a gradient');
    mask.mul(x).sum().backward();
    expect([...x.grad!.dataSync()]).toEqual([...mask.dataSync()]);
  });
});

describe.each(differentiableReductions)('%s', (_, row) => {
  it.each(
    reductions.filter((c) => sizeOf(c.shape) < 100),
  )('has the right first and second derivatives for $shape over $dim', ({ shape, dim, keepdim = false }) => {
    const x = sampleTensor(shape, [-3, 3], 3, 'cpu', true);
    gradcheck((t) => applyReduce(row, t, dim, keepdim), [x], { secondOrder: true });
    gradcheck((t) => applyReduce(row, t.mul(t), dim, true).mul(t), [x], { secondOrder: true });
  });
});

describe.each(Object.entries(table.reduce))('%s', (name, row) => {
  it.each(fallbackSteps)('equals the reference on $name', ({ start }) => {
    const backend = start();
    for (const [outer, length, inner] of [
      [1, 1, 1],
      [1, 17, 1],
      [3, 5, 1],
      [2, 3, 4],
      [1, 65, 33],
      [3, 1100, 1],
      [2, 130, 5],
      [1, 4, 17],
    ]) {
      const x = sample(outer * length * inner, [-3, 3]);
      const expected = new Float64Array(outer * inner);
      for (let i = 0; i < expected.length; i++) {
        const column = Array.from({ length }, (_, l) => x[(Math.floor(i / inner) * length + l) * inner + (i % inner)]);
        const total = column.reduce((a, b) => a + b, 0);
        expected[i] = {
          sum: total,
          mean: total / length,
          max: Math.max(...column),
          min: Math.min(...column),
          argmax: column.indexOf(Math.max(...column)),
          argmin: column.indexOf(Math.min(...column)),
        }[name]!;
      }
      expectClose(
        backend.readSync!(backend.reduce(row, backend.upload(x), outer, length, inner)),
        expected,
        1e-5,
        1e-5,
      );
    }
    for (const special of [NaN, Infinity, -Infinity]) {
      const x = sample(37, [-1, 1]);
      x[20] = special;
      const [got] = backend.readSync!(backend.reduce(row, backend.upload(x), 1, 37, 1));
      const expected =
        row.result === 'index'
          ? special === -row.init
            ? 20
            : Number.isNaN(special)
              ? 20
              : x.indexOf(x.reduce((a, b) => row.combine(a, b)))
          : row.finish(
              x.reduce((acc, v) => row.combine(acc, v), row.init),
              37,
            );
      expect(
        Object.is(got, Math.fround(expected)) || Math.abs(got - expected) < 1e-5,
        `${special}: ${got} for ${expected}`,
      ).toBe(true);
    }
  });
});

describe.each(
  table.general.filter((row) => examples.general[row.name]?.length).map((row) => [row.name, row] as const),
)('%s', (name, row) => {
  const own = examples.general[name];
  const inputsOf = (i: number, device: 'cpu' | 'reference', requiresGrad: boolean): Tensor[] => {
    const { shapes, values = {}, domain = [-2, 2] } = own[i];
    return shapes.map((shape, j) =>
      values[j] ? tensor([...values[j]], { shape, device }) : sampleTensor(shape, domain, j + 1, device, requiresGrad),
    );
  };
  it.each(
    own.map((e, i) => [JSON.stringify(e.shapes), JSON.stringify(e.attributes), i] as const),
  )('%s %s: derivatives, parity, fusion', (_s, _a, i) => {
    const { attributes, shapes } = own[i];
    const call = (...inputs: Tensor[]) => dispatch(row, inputs, attributes);
    const small = shapes.every((s) => sizeOf(s) < 100);
    if (small) {
      const inputs = inputsOf(i, 'cpu', true);
      gradcheck(call, inputs, { secondOrder: true });
      gradcheck((...t) => call(...t.map((x) => (x.requiresGrad ? x.mul(1.1) : x))).tanh(), inputs, {
        secondOrder: true,
      });
    }
    const expected = call(...inputsOf(i, 'reference', false));
    const got = call(...inputsOf(i, 'cpu', false));
    expect(got.shape).toEqual(expected.shape);
    expectClose(got.dataSync(), expected.dataSync(), 1e-5, 1e-5);
    if (row.equals)
      expectClose(row.equals(inputsOf(i, 'reference', false), attributes).dataSync(), expected.dataSync());
    // Gradients too, from the backend under test.
    const gradients = (device: 'cpu' | 'reference') => {
      const inputs = inputsOf(i, device, true);
      call(...inputs)
        .mul(0.7)
        .sum()
        .backward();
      return inputs.map((t) => t.grad?.dataSync() ?? new Float32Array());
    };
    const expectedGradients = gradients('reference');
    for (const [j, g] of gradients('cpu').entries()) expectClose(g, expectedGradients[j], 1e-5, 1e-5);
  });
});

/** A row with another gradient. */
function withGradient<A>({ name, operation }: Dispatchable<A>, backward: Operation<A>['backward']): Dispatchable<A> {
  return { name, operation: new Operation(name, operation.saves, operation.forward, backward) };
}

describe('the harness', () => {
  it('has examples for every row of the table, and for no other', () => {
    for (const family of ['unary', 'binary', 'compare'] as const)
      expect(Object.keys(examples[family]).sort()).toEqual(Object.keys(table[family]).sort());
    expect(Object.keys(examples.general).sort()).toEqual(table.general.map((row) => row.name).sort());
    const without = Object.keys(examples.general).filter((name) => examples.general[name].length === 0);
    expect(without).toEqual(['to']);
  });
  it('catches one deliberately wrong derivative', async () => {
    const wrong = withGradient(table.unary.tanh, (g) => [g.mul(2)]);
    const x = sampleTensor([2, 3], [-2, 2], 1, 'cpu', true);
    const error = await errorOf(() => gradcheck((t) => dispatch(wrong, [t], null), [x]));
    expect(error.op).toBe('gradcheck');
    expect(error.message).toContain('the gradient of input 0 [2, 3], element 0');
  });
  it('catches a derivative that is right only to first order', async () => {
    const once = withGradient(table.unary.exp, (g, node) => [g.mul(node.output.detach())]);
    const x = sampleTensor([2], [-1, 1], 1, 'cpu', true);
    expect(gradcheck((t) => dispatch(once, [t], null), [x])).toBe(true);
    expect(
      (await errorOf(() => gradcheck((t) => dispatch(once, [t], null), [x], { secondOrder: true }))).message,
    ).toContain('second derivative');
  });
});
