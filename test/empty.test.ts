import { describe, expect, it } from 'vitest';
import { nn, ones, optim, tensor, zeros } from '../src/index.js';
import { dispatch } from '../src/ops/dispatch.js';
import { table } from '../src/ops/table.js';
import { errorOf } from './helpers.js';

// Tensors without elements, as in NumPy and PyTorch.

describe.each(['cpu', 'reference'] as const)('a tensor without elements on %s', (device) => {
  const none = () => zeros([0, 3], { device, requiresGrad: true });

  it('is made, read and printed', () => {
    expect([none().shape, none().size, none().toArraySync()]).toEqual([[0, 3], 0, []]);
    expect([tensor([], { device }).shape, tensor([[], []], { device }).shape]).toEqual([[0], [2, 0]]);
    expect(tensor([[], []], { device }).toArraySync()).toEqual([[], []]);
    expect([String(tensor([])), String(zeros([2, 0]))]).toEqual(['tensor([])', 'tensor([], shape=[2, 0])']);
    expect(tensor(JSON.parse(JSON.stringify(none()))).shape).toEqual([0, 3]);
  });
  it.each(Object.entries(table.unary))('passes through %s', (_, row) => {
    const x = none();
    const y = dispatch(row, [x], null);
    y.sum().backward();
    expect([y.shape, x.grad!.shape]).toEqual([
      [0, 3],
      [0, 3],
    ]);
  });
  it.each([...Object.keys(table.compare), 'add', 'pow', 'maximum'])('broadcasts in %s', (name) => {
    expect(none()[name as 'add'](tensor([1, 2, 3], { device })).shape).toEqual([0, 3]);
    expect(none()[name as 'add'](1).shape).toEqual([0, 3]);
    expect(zeros([0, 1], { device })[name as 'add'](ones([1, 4], { device })).shape).toEqual([0, 4]);
  });
  it('gives 0 to what is broadcast against it', () => {
    const b = ones([3], { device, requiresGrad: true });
    none().mul(b).sum().backward();
    expect(b.grad!.toArraySync()).toEqual([0, 0, 0]);
  });
  it('sums to 0, has no mean, and no largest element', async () => {
    expect(none().sum().itemSync()).toBe(0);
    expect(none().sum(0).toArraySync()).toEqual([0, 0, 0]);
    expect(none().sum(1).shape).toEqual([0]);
    expect(none().mean(0).toArraySync()).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    expect(none().max(1).shape).toEqual([0]);
    for (const op of ['max', 'min', 'argmax'] as const)
      expect((await errorOf(() => none()[op](0))).message).toContain('has no elements, so no maximum or minimum');
  });
  it('is a factor of products', () => {
    const [a, b] = [zeros([2, 0], { device, requiresGrad: true }), zeros([0, 3], { device, requiresGrad: true })];
    const y = a.matmul(b);
    expect(y.toArraySync()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
    y.sum().backward();
    expect([a.grad!.shape, b.grad!.shape]).toEqual([
      [2, 0],
      [0, 3],
    ]);
    expect(b.matmul(ones([3, 2], { device })).shape).toEqual([0, 2]);
    expect(zeros([0, 2, 3], { device }).matmul(ones([3, 2], { device })).shape).toEqual([0, 2, 2]);
  });
  it('changes its layout', () => {
    const x = none();
    expect([x.t().shape, x.reshape([3, 0]).shape, x.unsqueeze(0).shape]).toEqual([
      [3, 0],
      [3, 0],
      [1, 0, 3],
    ]);
    expect([x.narrow(1, 0, 2).shape, x.expand([2, 0, 3]).shape, x.clone().shape]).toEqual([
      [0, 2],
      [2, 0, 3],
      [0, 3],
    ]);
    expect(ones([2, 3], { device }).narrow(0, 1, 0).shape).toEqual([0, 3]);
    expect(x.detach().copyFrom(ones([1, 3], { device })).shape).toEqual([0, 3]);
    expect([x.softmax(1).shape, x.logSoftmax(0).shape]).toEqual([
      [0, 3],
      [0, 3],
    ]);
  });
});

it('a batch without samples goes through layers, losses and steps', () => {
  const model = new nn.Sequential(new nn.Linear(3, 4), new nn.ReLU(), new nn.Linear(4, 2));
  const y = model.forward(zeros([0, 3]));
  expect(y.shape).toEqual([0, 2]);
  nn.functional.crossEntropy(y, zeros([0]), { reduction: 'sum' }).backward();
  const before = model.parameters().map((p) => p.toArraySync());
  expect(model.parameters().map((p) => p.grad!.sum().itemSync())).toEqual([0, 0, 0, 0]);
  new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 }).step();
  expect(model.parameters().map((p) => p.toArraySync())).toEqual(before);
  expect(nn.functional.mseLoss(y, zeros([0, 2])).itemSync()).toBeNaN();
});
