import { describe, expect, it } from 'vitest';
import type { Backend, MatmulPlan } from '../src/backends/backend.js';
import { backendOf } from '../src/backends/registry.js';
import { arange, memory, nn, ones, rand, type Tensor, tensor, zeros } from '../src/index.js';
import { crossEntropy, crossEntropyGrad } from '../src/ops/cross-entropy.js';
import { dispatch } from '../src/ops/dispatch.js';
import { update, updateRow } from '../src/ops/fused.js';
import { gather, scatter } from '../src/ops/indexing.js';
import { join } from '../src/ops/join.js';
import { squaredError } from '../src/ops/loss.js';
import { narrowBackward, unbroadcast } from '../src/ops/view.js';
import { startLateDevice } from './helpers.js';

// What operations ask of a backend: which kernels they call, and which copies they make first. The results alone would not
// show an operand that is copied without need, nor a call that the kernels of a GPU do not support.

interface Call {
  readonly name: keyof Backend;
  readonly args: readonly unknown[];
}

const KERNELS = 'unary binary reduce matmul softmax copy put cat gather scatter finite fused'.split(
  ' ',
) as (keyof Backend)[];

/** The kernels that a function calls on the CPU. */
function calls(fn: () => unknown): Call[] {
  const backend = backendOf('cpu') as unknown as Record<string, (...args: unknown[]) => unknown>;
  const made: Call[] = [];
  for (const name of KERNELS) {
    const own = Object.getPrototypeOf(backend)[name] as (...args: unknown[]) => unknown;
    backend[name] = (...args) => {
      made.push({ name, args });
      return own.apply(backend, args);
    };
  }
  try {
    fn();
  } finally {
    for (const name of KERNELS) delete backend[name];
  }
  return made;
}

const names = (fn: () => unknown) => calls(fn).map((c) => c.name);
const plansOf = (fn: () => unknown) =>
  calls(fn)
    .filter((c) => c.name === 'matmul')
    .map((c) => c.args[0] as MatmulPlan);
const blocks = () => memory('cpu').blocks;
function growth(fn: () => unknown): number {
  const before = blocks();
  fn();
  return blocks() - before;
}

/** By the plainest loops. */
function product(a: Tensor, b: Tensor): number[][] {
  const [x, y] = [a.toArraySync() as number[][], b.toArraySync() as number[][]];
  return x.map((row) => y[0].map((_, j) => row.reduce((sum, v, k) => sum + v * y[k][j], 0)));
}

const grid = (...shape: number[]) => arange(shape.reduce((a, b) => a * b, 1)).reshape(shape);

describe('for tensors without elements no kernel runs', () => {
  const none = zeros([0, 3]);
  const row = updateRow({ name: 'none', changes: [0], flops: () => 1, equals: ([p]) => [p] });
  it.each<[string, () => unknown]>([
    ['a function of one tensor', () => none.exp()],
    ['a function of two', () => none.mul(none)],
    ['broadcasting', () => none.mul(ones([3]))],
    ['a comparison', () => none.gt(1)],
    ['a sum', () => none.sum(0)],
    ['softmax', () => none.softmax(1)],
    ['a product without rows', () => none.matmul(rand([3, 2]))],
    ['a product without columns', () => rand([2, 3]).matmul(zeros([3, 0]))],
    ['a product of nothing', () => rand([2, 0]).matmul(zeros([0, 4]))],
    ['products of no batch', () => zeros([0, 2, 3]).matmul(rand([3, 2]))],
    ['products of nothing', () => zeros([2, 2, 0]).matmul(zeros([2, 0, 3]))],
    ['a layer without samples', () => nn.functional.linear(none, ones([2, 3]))],
    ['a layer without inputs', () => nn.functional.linear(zeros([2, 0]), zeros([4, 0]))],
    ['gather', () => dispatch(gather, [none, zeros([0])], { dim: 0, length: 0 })],
    ['scatter', () => dispatch(scatter, [none, zeros([0])], { dim: 0, length: 3 })],
    ['cat', () => dispatch(join, [none, none], 1)],
    ['the gradient of a range', () => dispatch(narrowBackward, [none], { dim: 0, start: 1, length: 4 })],
    ['the gradient of broadcasting', () => dispatch(unbroadcast, [none], [3])],
    ['copyFrom', () => none.copyFrom(ones([1, 3]))],
    ['the step of an optimizer', () => update(row, [none], [], null)],
  ])('%s', (_, run) => {
    expect(names(run)).toEqual([]);
  });
  it('not even the fused ones, whose composition takes over', () => {
    const fused = (fn: () => unknown) => names(fn).filter((name) => name === 'fused');
    expect(fused(() => dispatch(squaredError, [none, none], 1))).toEqual([]);
    expect(fused(() => dispatch(crossEntropy, [none, zeros([0])], null))).toEqual([]);
    expect(fused(() => dispatch(squaredError, [ones([1]), ones([1])], 1))).toEqual(['fused']);
  });
});

describe('products', () => {
  // GPU kernels address matrices by their number, so an offset must be a multiple of the elements of a matrix.
  it.each<[string, Tensor, 0 | 1, boolean]>([
    ['a matrix', grid(6, 4), 0, false],
    ['its transpose', grid(4, 6).t(), 0, true],
    ['the last rows', grid(12, 4).narrow(0, 6, 6), 0, false],
    ['the last columns of a transpose', grid(12, 4).narrow(0, 6, 6).t().narrow(0, 0, 4), 0, true],
    ['rows in the middle', grid(12, 4).narrow(0, 3, 6), 1, false],
    ['some columns', grid(6, 8).narrow(1, 0, 4), 1, false],
    ['every other column', grid(6, 4, 2).select(2, 0), 1, false],
    ['every other column of a transpose', grid(4, 6, 2).select(2, 0).t(), 1, false],
    ['one row of some columns', grid(6, 8).narrow(0, 1, 1).narrow(1, 0, 4), 0, false],
    ['one column', grid(6, 1, 3).select(1, 0).narrow(1, 0, 1), 1, false],
    ['one element', grid(5, 6, 2).select(2, 0).narrow(0, 1, 1).narrow(1, 2, 1), 0, false],
    ['the transpose of one row', grid(6, 8).narrow(0, 1, 1).t(), 0, true],
    ['repeated rows', grid(1, 4).expand([6, 4]), 1, false],
    ['repeated columns', grid(6, 1).expand([6, 4]), 1, false],
  ])('read %s where it lies, or one copy', (_, x, copies, transposed) => {
    const right = grid(x.shape[1], 3);
    const left = grid(2, x.shape[0]);
    let [y, z] = [right, left];
    const [first] = plansOf(() => {
      y = x.matmul(right);
    });
    const made = calls(() => {
      z = left.matmul(x);
    });
    expect(y.toArraySync()).toEqual(product(x, right));
    expect(z.toArraySync()).toEqual(product(left, x));
    expect(made.map((c) => c.name)).toEqual([...Array(copies).fill('copy'), 'matmul']);
    for (const offset of [...first.offsetsA, ...(made.at(-1)!.args[0] as MatmulPlan).offsetsB])
      expect(offset % x.size).toBe(0);
    if (x.shape[0] > 1 && x.shape[1] > 1) expect(first.transA).toBe(transposed);
  });
  it.each<[string, Tensor, 0 | 1]>([
    ['a batch', grid(3, 4, 5), 0],
    ['transposes', grid(3, 5, 4).transpose(1, 2), 0],
    ['the last of them', grid(5, 4, 5).narrow(0, 2, 3), 0],
    ['an even number of rows of each', grid(3, 8, 5).narrow(1, 4, 4), 0],
    ['an odd number of rows of each', grid(3, 6, 5).narrow(1, 1, 4), 1],
    ['some rows of each, from the first', grid(3, 6, 5).narrow(1, 0, 4), 1],
    ['some columns of each', grid(3, 4, 7).narrow(2, 0, 5), 1],
    ['one repeated', grid(4, 5).expand([3, 4, 5]), 0],
    ['the middle dimension as the batch', grid(4, 3, 5).transpose(0, 1), 1],
    ['two dimensions of batches, one of them out of step', grid(3, 2, 5, 5).narrow(2, 0, 4).select(1, 1), 1],
  ])('read %s where they lie, or one copy', (_, x, copies) => {
    const right = grid(3, 5, 2);
    const made = calls(() => expect(x.matmul(right).shape).toEqual([3, 4, 2]));
    const { offsetsA, offsetsB } = made.at(-1)!.args[0] as MatmulPlan;
    expect(made.map((c) => c.name)).toEqual([...Array(copies).fill('copy'), 'matmul']);
    expect(offsetsA.every((o) => o % 20 === 0)).toBe(true);
    expect(offsetsB).toEqual([0, 10, 20]);
    const y = x.matmul(right);
    for (let i = 0; i < 3; i++)
      expect(y.select(0, i).toArraySync()).toEqual(product(x.select(0, i), right.select(0, i)));
  });
  it('of a batch with one matrix are one product of a long matrix, and so are their gradients', () => {
    const [x, w] = [grid(2, 3, 4, 5), grid(5, 6)];
    const [plan] = plansOf(() => x.matmul(w));
    expect([plan.m, plan.n, plan.k, plan.offsetsA, plan.offsetsB]).toEqual([24, 6, 5, [0], [0]]);
    expect(plansOf(() => x.matmul(grid(1, 5, 6)))[0].m).toBe(24);
    expect(plansOf(() => x.matmul(grid(3, 5, 6)))[0].offsetsA).toHaveLength(6);
    const leaf = rand([5, 6], { requiresGrad: true });
    const y = x.matmul(leaf);
    const g = rand([2, 3, 4, 6]);
    const backward = calls(() => y.backward(g)).filter((c) => c.name === 'matmul' || c.name === 'reduce');
    expect(backward.map((c) => c.name)).toEqual(['matmul']);
    expect((backward[0].args[0] as MatmulPlan).k).toBe(24);
  });
  it('take a weight that lies within another tensor', () => {
    const all = grid(9, 4);
    const [x, w] = [grid(2, 4), all.narrow(0, 3, 3)];
    expect(nn.functional.linear(x, w).toArraySync()).toEqual(product(x, w.t()));
    expect(names(() => nn.functional.linear(x, w))).toEqual(['matmul']);
    expect(names(() => nn.functional.linear(x, grid(4, 3).t()))).toEqual(['matmul']);
  });
});

describe('pairs of operands', () => {
  const dense = grid(3, 4);
  it.each<[string, Tensor, Tensor, number]>([
    ['dense ones', dense, grid(3, 4), 0],
    ['a transpose on the right', dense, grid(4, 3).t(), 1],
    ['a transpose on the left', grid(4, 3).t(), dense, 1],
    ['two transposes', grid(4, 3).t(), grid(4, 3).t(), 2],
    ['the first columns on the right', dense, grid(3, 6).narrow(1, 0, 4), 0],
    ['the first columns on the left', grid(3, 6).narrow(1, 0, 4), dense, 0],
    ['the first columns of two', grid(3, 6).narrow(1, 0, 4), grid(3, 5).narrow(1, 0, 4), 0],
    ['the last columns on the right', dense, grid(3, 6).narrow(1, 2, 4), 1],
    ['the last columns on the left', grid(3, 6).narrow(1, 2, 4), dense, 1],
    ['a repeated column on the right', dense, grid(3, 1).expand([3, 4]), 0],
    ['a repeated column on the left', grid(3, 1).expand([3, 4]), dense, 0],
    ['a repeated column of some', grid(3, 5).narrow(1, 0, 1), dense, 0],
    ['every other column', grid(3, 4, 2).select(2, 0), dense, 1],
  ])('%s are read where they lie, or copied', (_, a, b, copies) => {
    let y = a;
    const made = names(() => {
      y = a.sub(b);
    });
    const numbers = (x: Tensor) => [...x.expand([3, 4]).dataSync()];
    expect([...y.dataSync()]).toEqual(numbers(a).map((v, i) => v - numbers(b)[i]));
    expect(made).toEqual([...Array(copies).fill('copy'), 'binary']);
  });
});

describe('reductions', () => {
  it.each<[string, Tensor, number | number[] | undefined, string[]]>([
    ['all dimensions', grid(2, 3, 4), undefined, ['reduce']],
    ['the first', grid(2, 3, 4), 0, ['reduce']],
    ['two neighbours', grid(2, 3, 4), [0, 1], ['reduce']],
    ['the last two', grid(2, 3, 4, 5), [2, 3], ['reduce']],
    ['two in the middle', grid(2, 3, 4, 5), [1, 2], ['reduce']],
    ['a scalar', tensor(3), undefined, ['reduce']],
    ['two that are apart', grid(2, 3, 4), [0, 2], ['copy', 'reduce']],
    ['three, one of them apart', grid(2, 3, 4, 5), [0, 1, 3], ['copy', 'reduce']],
  ])('of %s take one call', (_, x, dim, expected) => {
    expect(names(() => x.sum(dim))).toEqual(expected);
    const total = [...x.dataSync()].reduce((a, b) => a + b, 0);
    expect(x.sum(dim).sum().itemSync()).toBe(total);
  });
  it('of broadcasting back drop dimensions of one element by a copy of their own', () => {
    const x = grid(3, 2).t().unsqueeze(0);
    const y = dispatch(unbroadcast, [x], [2, 3]);
    // What was freed would be given to these.
    const others = Array.from({ length: 8 }, () => zeros([6]));
    expect(y.toArraySync()).toEqual((x.toArraySync() as number[][][])[0]);
    expect(others).toHaveLength(8);
    expect(growth(() => dispatch(unbroadcast, [grid(2, 3, 4)], [3, 1]))).toBe(2);
  });
  it('of more than 2^24 elements are refused only where they count them', () => {
    const n = 2 ** 24;
    const x = ones([1]).expand([n + 1]);
    const backend = backendOf('cpu');
    // Only the check is of interest: no kernel runs.
    backend.copy = () => backend.fill(1, 7);
    backend.reduce = () => backend.fill(1, 7);
    try {
      expect(x.sum().itemSync()).toBe(7);
      expect(x.narrow(0, 0, n).argmax().itemSync()).toBe(7);
      expect(() => x.argmax()).toThrow('16777217 elements');
    } finally {
      delete (backend as Partial<Backend>).copy;
      delete (backend as Partial<Backend>).reduce;
    }
  });
});

describe('a fused kernel', () => {
  const index = tensor([2, 0, 1, 1]);
  it.each<[string, () => Tensor]>([
    ['crossEntropy', () => dispatch(crossEntropy, [rand([4, 3]), index], null)],
    ['crossEntropyGrad', () => dispatch(crossEntropyGrad, [rand([4, 3]), index, tensor(0.5)], 0.25)],
  ])('%s does its units one by one as it does them together, which threads rely on', (name, run) => {
    let whole: number[] = [];
    const [{ args }] = calls(() => (whole = [...run().dataSync()])).filter((c) => c.name === 'fused');
    const [kernel, operands, , bounds, numbers] = args as Parameters<Backend['fused']>;
    const steps = kernel.steps(bounds)!;
    const backend = backendOf('cpu');
    const part = (numbers: ArrayLike<number>, unit: number, step: number) =>
      step === 0 ? Array.from(numbers) : Array.from(numbers).slice(unit * step, (unit + 1) * step);
    const parts = Array.from({ length: bounds[0] }, (_, unit) => {
      const own = operands.map((x, i) => backend.upload(part(backend.readSync!(x!), unit, steps[i])));
      const size = steps[operands.length];
      return [...backend.readSync!(backend.fused(kernel, own, size, [1, ...bounds.slice(1)], numbers, null)!)];
    });
    expect(kernel.name).toBe(name);
    expect(parts.flat()).toEqual(whole);
    // Nanoseconds for a row: more for a longer one.
    expect(kernel.cost([4, 1000])).toBeGreaterThan(kernel.cost([4, 10]));
  });
});

describe('an update in place', () => {
  /** Exchanges two tensors. */
  const swap = updateRow({ name: 'swap', changes: [0, 1], flops: () => 0, equals: ([a, b]) => [b, a] });
  const add = updateRow({
    name: 'addTwice',
    changes: [0, 2],
    flops: () => 2,
    equals: ([p, g, m], [factor]) => [p!.add(g!.mul(factor)), m === null ? null : m.add(g!)],
  });
  it('computes all new values before it writes one', () => {
    const [a, b] = [tensor([1, 2]), tensor([3, 4])];
    update(swap, [a, b], [], null);
    expect([a.toArraySync(), b.toArraySync()]).toEqual([
      [3, 4],
      [1, 2],
    ]);
  });
  it('leaves out what is not there', () => {
    const row = updateRow({ name: 'part', changes: [0, 1, 2], flops: () => 0, equals: ([p]) => [p!.neg(), p!, null] });
    const [p, q] = [tensor([1, 2]), tensor([5, 6])];
    update(row, [p, null, q], [], null);
    expect([p.toArraySync(), q.toArraySync()]).toEqual([
      [-1, -2],
      [5, 6],
    ]);
  });
  it('goes through views to what they share, and copies only these', () => {
    const all = grid(2, 3);
    const [p, g] = [all.t().narrow(0, 1, 2), ones([2, 2]).mul(10)];
    const m = zeros([2, 2]);
    const usual = growth(() => update(add, [ones([2, 2]), g, ones([2, 2])], [2], null)) - 2;
    expect(growth(() => update(add, [p, g, m], [2], null))).toBe(usual);
    expect(all.toArraySync()).toEqual([
      [0, 21, 22],
      [3, 24, 25],
    ]);
    expect(m.toArraySync()).toEqual(g.toArraySync());
    expect(g.toArraySync()).toEqual([
      [10, 10],
      [10, 10],
    ]);
    // An operand that is only read may be a view as well; it keeps its numbers and its version.
    const read = grid(2, 2).t();
    update(add, [m, read, null], [1], null);
    expect(m.toArraySync()).toEqual([
      [10, 12],
      [11, 13],
    ]);
    expect(read.storage.version).toBe(0);
    expect(read.toArraySync()).toEqual([
      [0, 2],
      [1, 3],
    ]);
  });
  it('happens on a device that the host cannot read if the guard there is 0', async () => {
    startLateDevice();
    const device = 'gpu' as const;
    for (const [verdict, expected] of [
      [0, [3, 5]],
      [Number.NaN, [1, 2]],
      [1, [1, 2]],
    ] as const) {
      const g = tensor([1, verdict === 0 ? 1.5 : Number.NaN], { device });
      const guard = tensor(verdict, { device });
      const [all, alone] = [tensor([1, 2, 9], { device }), tensor([1, 2], { device })];
      update(add, [all.narrow(0, 0, 2), g, null], [2], guard);
      update(add, [alone, g, null], [2], guard);
      expect([...(await all.data())]).toEqual([...expected, 9]);
      expect([...(await alone.data())]).toEqual(expected);
    }
  });
});

describe('copyFrom', () => {
  it('copies its source only where it must, and frees the copy', () => {
    const [x, source] = [zeros([2, 3]), grid(2, 3)];
    expect(names(() => x.copyFrom(source))).toEqual(['put']);
    expect(growth(() => x.copyFrom(source))).toBe(0);
    expect(source.toArraySync()).toEqual(x.toArraySync());
    expect(names(() => x.copyFrom(grid(3, 2).t()))).toEqual(['copy', 'put']);
    const view = grid(3, 2).t();
    expect(growth(() => x.copyFrom(view))).toBe(0);
    expect(growth(() => x.t().copyFrom(grid(3, 2)))).toBe(1);
  });
  it.each(['cpu', 'reference'] as const)('reads a source that it overwrites first, on %s', (device) => {
    const x = tensor([...Array(9).keys()], { device }).reshape([3, 3]);
    x.t().copyFrom(x);
    expect(x.toArraySync()).toEqual([
      [0, 3, 6],
      [1, 4, 7],
      [2, 5, 8],
    ]);
  });
  it('repeats a source of fewer dimensions', () => {
    const x = zeros([2, 3]).copyFrom(tensor([1, 2, 3]));
    expect(x.toArraySync()).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
  });
});
