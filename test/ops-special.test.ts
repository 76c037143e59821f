import { describe, expect, it } from 'vitest';
import { backendOf } from '../src/backends/registry.js';
import { gradcheck, memory, rand, type Tensor, tensor } from '../src/index.js';
import { crossEntropy, crossEntropyTotal } from '../src/ops/cross-entropy.js';
import { dispatch, generalRow, unrecorded } from '../src/ops/dispatch.js';
import { applyReduce, reduceRows } from '../src/ops/families.js';
import { dense } from '../src/ops/operand.js';
import { table } from '../src/ops/table.js';
import { errorOf, expectClose, sampleTensor, startLateDevice } from './helpers.js';

// Special values and cases of operations, with results from mathematics or from plain loops.

describe.each(['cpu', 'reference'] as const)('on %s', (device) => {
  it.each([
    [1, Number.NaN, 1],
    [1, Infinity, 1],
    [1, -Infinity, 1],
    [-1, Infinity, 1],
    [-1, -Infinity, 1],
    [-1, Number.NaN, Number.NaN],
    [Number.NaN, 0, 1],
    [Infinity, 0, 1],
    [0, 0, 1],
    [-1, 3, -1],
    [-1, 2, 1],
    [-1, 0.5, Number.NaN],
    [-2, 3, -8],
    [2, Infinity, Infinity],
    [-2, Infinity, Infinity],
    [0.5, Infinity, 0],
    [-0.5, -Infinity, Infinity],
  ])('%d to the power of %d is %d, as in C and NumPy', (a, b, expected) => {
    expect(tensor([a], { device }).pow(b).dataSync()[0]).toBe(expected);
    expect(
      tensor([a], { device })
        .pow(tensor([b], { device }))
        .dataSync()[0],
    ).toBe(expected);
  });
  it('softmax works along any dimension', () => {
    const x = sampleTensor([2, 3, 4, 2], [-3, 3], 1, device);
    for (const d of [0, 1, 2, 3, -1, -2, -4]) {
      const e = x.exp();
      const p = x.softmax(d);
      expectClose(p.dataSync(), e.div(e.sum(d, true)).dataSync());
      expectClose(x.logSoftmax(d).dataSync(), p.log().dataSync(), 1e-5, 1e-5);
      expect(p.shape).toEqual([2, 3, 4, 2]);
    }
  });
  it('the compositions of softmax and its logarithm have the range of their kernels', () => {
    const x = tensor([[1000, 999, -1000]], { device });
    for (const name of ['softmax', 'logSoftmax'] as const) {
      const row = table.general.find((r) => r.name === name)!;
      expectClose(row.equals!([x], null).dataSync(), x[name](-1).dataSync());
    }
  });
});

it('the sigmoid keeps the smallest results of double precision', () => {
  const { f } = table.unary.sigmoid;
  expect(f(-720)).toBe(Math.exp(-720));
  expect(f(-720)).toBeGreaterThan(0);
  expect([f(0), f(800), f(-800), f(-Infinity)]).toEqual([0.5, 1, 0, 0]);
});

describe('the tape', () => {
  const labels = () => tensor([0, 2]);
  const leaf = (device: 'cpu' | 'reference') => sampleTensor([2, 3], [-1, 1], 1, device, true);
  it.each(['cpu', 'reference'] as const)('has one step for an operation that consists of others, on %s', (device) => {
    const x = leaf(device);
    const index = labels().to(device);
    const first = x.neg().node!.sequence;
    const total = dispatch(crossEntropyTotal, [x, index], 'mean').node!;
    const each = dispatch(crossEntropy, [x, index], null).node!;
    expect([total.sequence, each.sequence]).toEqual([first + 1, first + 2]);
    expect([total.rule.name, each.rule.name]).toEqual(['crossEntropyTotal', 'crossEntropy']);
  });
  it('has one step for softmax over the last dimension', () => {
    const x = leaf('cpu');
    expect([x.softmax(1).node!.rule.name, x.logSoftmax(-1).node!.edges[0]]).toEqual(['softmax', x]);
  });
});

describe('an operation within another', () => {
  const blocks = () => memory('cpu').blocks;
  /** x + |x|, by another operation, whose own copy is freed while this one still needs its copy. */
  const nested = generalRow<null>('nested', {
    forward: ([x]) => {
      const own = dense(x);
      const other = unrecorded(() => x.abs());
      // What was freed too early would be given to these.
      const taken = [1, 2, 3].map(() => x.backend.fill(x.size, 9));
      const loops = { sizes: [x.size], a: [1], b: [1] };
      const sum = x.backend.binary(table.binary.add, own, other.storage, loops, x.size);
      for (const storage of [other.storage, ...taken]) x.backend.free(storage);
      return tensor(x.backend.readSync!(sum) as Float32Array, { shape: [...x.shape] });
    },
    saves: 'nothing',
    grad: (g) => [g],
  });
  it('frees its own copies only', () => {
    const x = tensor([
      [1, -2, 3],
      [-4, 5, -6],
    ]).t();
    expect(dispatch(nested, [x], null).toArraySync()).toEqual([
      [2, 0],
      [0, 10],
      [6, 0],
    ]);
  });
  it('does not keep later ones from freeing what one that failed has left', () => {
    const view = rand([5, 7]).t();
    dispatch(nested, [view], null);
    const { backend } = view;
    backend.unary = () => {
      throw new Error('a kernel that fails');
    };
    const before = blocks();
    expect(() => view.neg()).toThrow('a kernel that fails');
    delete (backend as { unary?: unknown }).unary;
    expect(blocks() - before).toBe(1);
    view.exp().dispose();
    expect(blocks() - before).toBe(0);
    expect(backendOf('cpu')).toBe(backend);
  });
});

describe('a reduction of one row', () => {
  const { logSum } = reduceRows({
    /** ln Σ x. Its gradient needs the result only. */
    logSum: {
      init: 0,
      combine: (acc: number, x: number) => acc + x,
      gpu: 'acc + x',
      finish: (acc: number) => Math.log(acc),
      result: 'value',
      saves: 'output',
      grad: (g: Tensor, _x: Tensor, y: Tensor) => g.mul(y.neg().exp()),
    },
  });
  it.each([
    [undefined, false],
    [0, false],
    [1, false],
    [1, true],
    [[0, 2], false],
  ] as const)('gets its result with the reduced dimensions, over %j', (dim, keepdim) => {
    const x = sampleTensor([2, 3, 2], [0.5, 2], 1, 'cpu', true);
    gradcheck((t) => applyReduce(logSum, t, dim, keepdim), [x], { secondOrder: true });
  });
});

describe('to', () => {
  it('is the tensor itself where it is', () => {
    const x = rand([2], { requiresGrad: true });
    expect(x.to('cpu')).toBe(x);
    const y = x.to('reference');
    expect([y === x, y.device, y.node!.rule.name]).toEqual([false, 'reference', 'to']);
    y.sum().backward();
    expect([x.grad!.device, x.grad!.toArraySync()]).toEqual(['cpu', [1, 1]]);
  });
  it('says what to do where the host would have to wait', async () => {
    startLateDevice();
    const x = tensor([1, 2], { device: 'gpu' });
    expect((await errorOf(() => x.neg().to('cpu'))).message).toContain('the host cannot read without waiting');
  });
});
