import { describe, expect, it } from 'vitest';
import { autograd, ones, rand, type Tensor, tensor } from '../src/index.js';
import { errorOf } from './helpers.js';

const leaf = (values: number[]) => tensor(values, { requiresGrad: true });
const any = (value: unknown) => value as never;

/** The identity, whose backward can be made to fail. */
function breakable() {
  const state = { fails: true };
  const fn = autograd.customFunction({
    forward: (_, x: Tensor) => x.mul(1),
    backward(_, g) {
      if (state.fails) throw new Error('not yet');
      return g;
    },
  });
  return { state, fn };
}

describe('backward', () => {
  it('of a leaf gives the leaf its gradient', () => {
    const x = tensor(3, { requiresGrad: true });
    x.backward();
    expect(x.grad!.itemSync()).toBe(1);
    x.backward(tensor(4));
    expect(x.grad!.itemSync()).toBe(5);
    const y = leaf([1, 2]);
    y.backward(tensor([5, 6]));
    expect(y.grad!.toArraySync()).toEqual([5, 6]);
  });
  it('starts from 1 for any shape with one element', () => {
    const x = tensor([[2]], { requiresGrad: true });
    x.mul(x).backward();
    expect(x.grad!.toArraySync()).toEqual([[4]]);
  });
  it('copies the gradient that it is given', () => {
    const x = leaf([1, 2]);
    const g = tensor([3, 4]);
    x.backward(g);
    g.copyFrom(tensor([9, 9]));
    expect(x.grad!.toArraySync()).toEqual([3, 4]);
  });
  it('gives a gradient in row-major order, whatever the order of the one that arrives', () => {
    const x = ones([2, 3], { requiresGrad: true });
    x.t().backward(tensor([[1, 2], [3, 4], [5, 6]])); // biome-ignore format: one line
    expect(x.grad!.contiguous()).toBe(x.grad);
    expect(x.grad!.toArraySync()).toEqual([
      [1, 3, 5],
      [2, 4, 6],
    ]);
  });
  it('does not share one gradient between two leaves', () => {
    const [x, y] = [leaf([1, 2]), leaf([3, 4])];
    x.add(y).sum().backward();
    x.grad!.copyFrom(tensor([7, 7]));
    expect(y.grad!.toArraySync()).toEqual([1, 1]);
  });
  it('records nothing about gradients, unless it is asked to', () => {
    const x = leaf([2]);
    const seed = leaf([3]);
    x.mul(x).backward(seed);
    expect([x.grad!.requiresGrad, x.grad!.itemSync()]).toEqual([false, 12]);
    x.grad = null;
    x.mul(x).backward(seed, { createGraph: true });
    expect(x.grad!.requiresGrad).toBe(true);
    (x.grad! as Tensor).backward();
    // d(2 x seed) / d seed, after the 1 of nothing before.
    expect(seed.grad!.itemSync()).toBe(4);
  });
  it('retains the graph with createGraph, unless it is told not to', async () => {
    const x = leaf([2]);
    const y = x.mul(x);
    y.backward(undefined, { createGraph: true });
    y.backward(undefined, { createGraph: true, retainGraph: false });
    expect((await errorOf(() => y.backward())).message).toContain('were released by an earlier backward');
  });
  it('adds to a gradient that is there, also where it is recorded', () => {
    const x = leaf([2]);
    x.mul(3).backward();
    x.mul(x).backward(undefined, { createGraph: true });
    expect(x.grad!.itemSync()).toBe(7);
    const before = x.grad!;
    x.mul(1).backward();
    expect([x.grad!.itemSync(), before.itemSync()]).toEqual([8, 7]);
  });
  it('goes through steps in the order of their use, not of their discovery', () => {
    const x = leaf([2]);
    const a = x.mul(2);
    const b = a.mul(3);
    const c = a.mul(b);
    // c = 6 x²·2, and a is used before and after b.
    b.add(c).add(a).backward();
    expect(x.grad!.itemSync()).toBe(6 + 48 + 2);
  });
  it('that fails leaves no gradient for the next one: at leaves', () => {
    const x = leaf([2]);
    const { state, fn } = breakable();
    const first = fn(x);
    const loss = first.add(x.mul(3));
    expect(() => loss.backward()).toThrow('not yet');
    expect(x.grad).toBeNull();
    state.fails = false;
    loss.backward();
    expect(x.grad!.itemSync()).toBe(4);
  });
  it('that fails leaves no gradient for the next one: at steps', () => {
    const x = leaf([2]);
    const { state, fn } = breakable();
    const early = x.mul(5);
    const loss = early.add(fn(x));
    expect(() => loss.backward()).toThrow('not yet');
    state.fails = false;
    loss.backward();
    expect(x.grad!.itemSync()).toBe(6);
  });
  it('that fails records no steps afterwards, and forgets no surrounding mode', () => {
    const x = leaf([2]);
    const { fn } = breakable();
    const loss = fn(x);
    expect(() => loss.backward(undefined, { createGraph: true })).toThrow('not yet');
    expect(x.mul(2).requiresGrad).toBe(true);
    expect(() => fn(x).backward()).toThrow('not yet');
    expect(x.mul(2).requiresGrad).toBe(true);
  });
  // biome-ignore format: one line a case
  it.each<[string, () => void, string, number[][]]>([
    ['a tensor of no history', () => tensor([1]).backward(), 'this tensor of shape [1] does not require a gradient', []],
    ['more than one element without a gradient', () => rand([2], { requiresGrad: true }).backward(), 'a tensor of shape [2] is not a scalar', [[2]]],
    ['a number for the gradient', () => leaf([1]).backward(any(2)), 'the gradient is 2; pass a tensor of the same shape', []],
    ['options for the gradient', () => leaf([1]).backward(any({ createGraph: true })), 'options come second', []],
    ['a gradient of another shape', () => leaf([1, 2]).backward(ones([2, 1])), 'a gradient of shape [2, 1] for a tensor of shape [2]', [[2, 1], [2]]],
    ['a gradient on another device', () => leaf([1]).backward(ones([1], { device: 'reference' })), "the gradient is on 'reference', the tensor on 'cpu'; move it with .to('cpu')", []],
    ['an unknown option', () => leaf([1]).backward(undefined, any({ retain: true })), "unknown option 'retain'; known options are retainGraph, createGraph", []],
  ])('refuses %s', async (_, run, text, shapes) => {
    const error = await errorOf(run);
    expect(error.op).toBe('backward');
    expect(error.message).toContain(text);
    expect(error.shapes).toEqual(shapes);
  });
});
