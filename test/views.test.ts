import { describe, expect, it } from 'vitest';
import {
  arange,
  gradcheck,
  type NestedArray,
  nn,
  noGrad,
  ones,
  optim,
  rand,
  type Tensor,
  tensor,
  zeros,
} from '../src/index.js';
import { Generator } from '../src/random.js';
import { sizeOf, stridesOf } from '../src/shape.js';
import { errorOf, sampleTensor } from './helpers.js';

/** An array by the rules of NumPy, in the plainest way: every element is looked up by its index. */
interface Model {
  readonly shape: readonly number[];
  at(index: readonly number[]): number;
}

function base(shape: readonly number[]): Model {
  const strides = stridesOf(shape);
  return { shape, at: (index) => index.reduce((sum, i, d) => sum + i * strides[d], 0) };
}

function elements({ shape, at }: Model): number[] {
  const strides = stridesOf(shape);
  return Array.from({ length: sizeOf(shape) }, (_, n) => at(shape.map((d, i) => Math.floor(n / strides[i]) % d)));
}

const without = (index: readonly number[], d: number) => index.filter((_, i) => i !== d);
const replaced = (index: readonly number[], d: number, value: number) => index.map((v, i) => (i === d ? value : v));
const inserted = (index: readonly number[], d: number, value: number) => [
  ...index.slice(0, d),
  value,
  ...index.slice(d),
];

/** One view at random, of a tensor and of its model. */
function step(random: () => number, x: Tensor, m: Model): [Tensor, Model] {
  const pick = (n: number) => Math.floor(random() * n);
  const n = x.ndim;
  const { shape } = m;
  const kind = n === 0 ? 5 : pick(7);
  const d = pick(Math.max(n, 1));
  if (kind === 0) {
    const e = pick(n);
    const swap = (list: readonly number[]) => replaced(replaced(list, d, list[e]), e, list[d]);
    return [x.transpose(d - n, e), { shape: swap(shape), at: (index) => m.at(swap(index)) }];
  }
  if (kind === 1) {
    const order = shape.map((_, i) => i).sort(() => random() - 0.5);
    const at = (index: readonly number[]) => m.at(shape.map((_, i) => index[order.indexOf(i)]));
    return [x.permute(order), { shape: order.map((i) => shape[i]), at }];
  }
  if (kind === 2) {
    const start = pick(shape[d]);
    const length = 1 + pick(shape[d] - start);
    const at = (index: readonly number[]) => m.at(replaced(index, d, index[d] + start));
    return [x.narrow(d, start, length), { shape: replaced(shape, d, length), at }];
  }
  if (kind === 3) {
    const i = pick(shape[d]);
    return [x.select(d, i - shape[d]), { shape: without(shape, d), at: (index) => m.at(inserted(index, d, i)) }];
  }
  if (kind === 4 && shape[d] === 1) {
    return [x.squeeze(d), { shape: without(shape, d), at: (index) => m.at(inserted(index, d, 0)) }];
  }
  if (kind === 5 && n < 5) {
    const at = pick(n + 1);
    return [x.unsqueeze(at), { shape: inserted(shape, at, 1), at: (index) => m.at(without(index, at)) }];
  }
  if (kind === 6 && sizeOf(shape) < 200) {
    const target = [2, ...shape.map((s) => (s === 1 ? 3 : s))];
    const at = (index: readonly number[]) => m.at(index.slice(1).map((v, i) => (shape[i] === 1 ? 0 : v)));
    return [x.expand(target), { shape: target, at }];
  }
  const all = elements(m);
  const flat = { shape: [all.length], at: ([i]: readonly number[]) => all[i] };
  return [x.reshape([-1]), flat];
}

describe('views of views', () => {
  it.each(Array.from({ length: 60 }, (_, i) => i + 1))('hold the elements that NumPy would show, seed %i', (seed) => {
    const stream = new Generator(seed);
    const random = () => stream.uniform(new Float32Array(1))[0];
    const shape = [2, 3, 4, 5].slice(Math.floor(random() * 3));
    let m = base(shape);
    let x = arange(sizeOf(shape)).reshape(shape);
    const depth = x.storage;
    for (let i = 0; i < 6; i++) {
      [x, m] = step(random, x, m);
      expect(x.shape).toEqual(m.shape);
      const expected = elements(m);
      expect([...x.dataSync()]).toEqual(expected);
      // What kernels make of it: element by element, reduced, as a copy, and as an operand of broadcasting.
      expect([...x.add(1).dataSync()]).toEqual(expected.map((v) => v + 1));
      expect([...x.neg().dataSync()]).toEqual(expected.map((v) => -v));
      expect(x.sum().itemSync()).toBe(expected.reduce((a, b) => a + b, 0));
      expect([...x.contiguous().dataSync()]).toEqual(expected);
      expect([...x.clone().dataSync()]).toEqual(expected);
      expect([...x.mul(x.mul(0).add(2)).dataSync()]).toEqual(expected.map((v) => 2 * v));
    }
    expect([...arange(sizeOf(shape)).dataSync()]).toEqual(elements(base(shape)));
    expect(depth.version).toBe(0);
  });
  it.each<[string, readonly number[], (x: Tensor) => Tensor]>([
    ['transpose', [2, 3, 4], (x) => x.transpose(0, 2)],
    ['permute', [2, 3, 4], (x) => x.permute([2, 0, 1])],
    ['narrow', [3, 4], (x) => x.narrow(1, 1, 2)],
    ['select', [3, 4], (x) => x.select(1, -1)],
    ['expand', [3, 1], (x) => x.expand([2, -1, 4])],
    ['squeeze', [1, 3, 1], (x) => x.squeeze()],
    ['unsqueeze', [3, 2], (x) => x.unsqueeze(-1)],
    ['contiguous', [3, 2], (x) => x.t().contiguous()],
    ['reshape', [4, 6], (x) => x.narrow(0, 1, 2).t().reshape([2, -1])],
  ])('%s has the right first and second derivatives', (_, shape, view) => {
    const x = sampleTensor(shape, [-2, 2], 1, 'cpu', true);
    gradcheck(view, [x], { secondOrder: true });
    gradcheck((t) => view(t.mul(1.1)).tanh(), [x], { secondOrder: true });
  });
  it.each<[string, (x: Tensor) => Tensor, (y: Tensor) => Tensor]>([
    ['t', (x) => x.t(), (y) => y],
    ['rows', (x) => x.narrow(0, 2, 3), (y) => y.t()],
    ['columns', (x) => x.narrow(1, 1, 4), (y) => y.narrow(1, 1, 4).t()],
    ['one repeated', (x) => x.select(0, 1).expand([4, 6]), (y) => y.t()],
  ])('products read %s where it lies, or a copy', (_, left, right) => {
    const x = rand([6, 6]);
    const y = rand([6, 6]);
    const [a, b] = [left(x), right(y)];
    const product = a.matmul(b.narrow(0, 0, Math.min(a.shape[1], b.shape[0])));
    const expected = a.contiguous().matmul(b.narrow(0, 0, Math.min(a.shape[1], b.shape[0])).clone());
    expect(product.toArraySync()).toEqual(expected.toArraySync());
  });
  it('products of batches read them where they lie', () => {
    const x = rand([4, 3, 5]);
    const batch = x.permute([0, 2, 1]);
    const each = Array.from({ length: 2 }, (_, i) =>
      batch
        .select(0, i + 1)
        .matmul(x.select(0, i + 1))
        .toArraySync(),
    );
    expect(
      batch
        .narrow(0, 1, 2)
        .matmul(x.narrow(0, 1, 2))
        .toArraySync(),
    ).toEqual(each);
  });
});

describe('views share the numbers of their base', () => {
  it.each<[string, (w: Tensor) => Tensor]>([
    ['t', (w) => w.t()],
    ['transpose', (w) => w.transpose(0, 1)],
    ['permute', (w) => w.permute([1, 0])],
    ['narrow', (w) => w.narrow(0, 0, 2)],
    ['expand', (w) => w.expand([2, 3, 2])],
    ['reshape', (w) => w.reshape([6])],
    ['unsqueeze', (w) => w.unsqueeze(0)],
    ['detach', (w) => w.detach()],
    ['t of t', (w) => w.t().t()],
  ])('%s follows every step of an optimizer', (_, view) => {
    const w = tensor(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      { requiresGrad: true },
    );
    const once = view(w);
    once.toArraySync();
    once.add(1);
    const optimizer = new optim.SGD([w], { lr: 0.5 });
    for (let i = 0; i < 3; i++) {
      w.mul(w).sum().backward();
      optimizer.step();
      optimizer.zeroGrad();
      expect(once.toArraySync()).toEqual(view(w).toArraySync());
    }
    expect((w.toArraySync() as number[][])[0]).toEqual([0, 0]);
  });
  it('a view made once serves in every training step', () => {
    const layer = new nn.Linear(3, 2, { bias: false });
    const wt = layer.weight.t();
    const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
    const x = rand([4, 3]);
    const losses: number[] = [];
    for (let i = 0; i < 5; i++) {
      optimizer.zeroGrad();
      const loss = x.matmul(wt).pow(2).sum();
      loss.backward();
      optimizer.step();
      losses.push(loss.itemSync());
    }
    expect(losses.every((l, i) => i === 0 || l < losses[i - 1])).toBe(true);
  });
  it('a base changed in place is seen by a backward pass through a view, and the other way round', async () => {
    for (const change of [(w: Tensor) => w, (w: Tensor) => w.narrow(0, 1, 1)]) {
      const w = ones([2, 2], { requiresGrad: true });
      const y = w
        .t()
        .exp()
        .mul(w.narrow(0, 0, 1))
        .sum();
      noGrad(() => change(w).copyFrom(zeros([1, 1])));
      expect((await errorOf(() => y.backward())).message).toContain('was changed in place after the forward pass');
    }
  });
  it('no reading of a tensor makes it forget its base', () => {
    const w = tensor([
      [1, 2],
      [3, 4],
    ]);
    const t = w.t();
    const before = t.storage;
    String(t);
    t.dataSync();
    t.toArraySync();
    t.neg();
    t.matmul(t);
    JSON.stringify(t);
    expect(t.storage).toBe(before);
    expect(t.storage).toBe(w.storage);
    expect([w.storage.version, w.storage.tensors]).toEqual([0, 2]);
  });
  it('gradients have numbers of their own, in row-major order', () => {
    const [a, b, c] = [1, 2, 3].map(() => ones([2, 3], { requiresGrad: true }));
    a.add(b).mul(2).sum().backward();
    c.t()
      .mul(
        tensor([
          [1, 2],
          [3, 4],
          [5, 6],
        ]),
      )
      .sum()
      .backward();
    noGrad(() => a.grad!.copyFrom(zeros([1])));
    expect(b.grad!.toArraySync()).toEqual([
      [2, 2, 2],
      [2, 2, 2],
    ]);
    expect(c.grad!.toArraySync()).toEqual([
      [1, 3, 5],
      [2, 4, 6],
    ]);
    expect([a.grad!, b.grad!, c.grad!].map((g) => g.layout.dense)).toEqual([true, true, true]);
  });
});

describe('copyFrom', () => {
  const grid = () => zeros([3, 4]);
  it.each<[string, (x: Tensor) => Tensor, NestedArray]>([
    [
      'all of it',
      (x) => x,
      [
        [7, 7, 7, 7],
        [7, 7, 7, 7],
        [7, 7, 7, 7],
      ],
    ],
    [
      'a row',
      (x) => x.select(0, 1),
      [
        [0, 0, 0, 0],
        [7, 7, 7, 7],
        [0, 0, 0, 0],
      ],
    ],
    [
      'a column',
      (x) => x.select(1, 2),
      [
        [0, 0, 7, 0],
        [0, 0, 7, 0],
        [0, 0, 7, 0],
      ],
    ],
    [
      'a corner',
      (x) => x.narrow(0, 1, 2).narrow(1, 0, 2),
      [
        [0, 0, 0, 0],
        [7, 7, 0, 0],
        [7, 7, 0, 0],
      ],
    ],
    [
      'one element',
      (x) => x.select(0, 2).select(0, 3),
      [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 7],
      ],
    ],
    [
      'a turned corner',
      (x) => x.t().narrow(0, 2, 2),
      [
        [0, 0, 7, 7],
        [0, 0, 7, 7],
        [0, 0, 7, 7],
      ],
    ],
  ])('writes through a view of %s', (_, view, expected) => {
    for (const device of ['cpu', 'reference'] as const) {
      const x = zeros([3, 4], { device });
      expect(view(x).copyFrom(tensor(7, { device }))).toBeInstanceOf(Object);
      expect(x.toArraySync()).toEqual(expected);
      expect(x.storage.version).toBe(1);
    }
  });
  it('takes the elements of the source in order', () => {
    const x = grid();
    x.t()
      .narrow(0, 1, 2)
      .copyFrom(
        tensor([
          [1, 2, 3],
          [4, 5, 6],
        ]),
      );
    expect(x.toArraySync()).toEqual([
      [0, 1, 4, 0],
      [0, 2, 5, 0],
      [0, 3, 6, 0],
    ]);
    const y = arange(4).reshape([2, 2]);
    y.copyFrom(y.t());
    expect(y.toArraySync()).toEqual([
      [0, 2],
      [1, 3],
    ]);
  });
  it('takes a source from another device', () => {
    const x = grid();
    x.select(0, 0).copyFrom(tensor([1, 2, 3, 4], { device: 'reference' }));
    expect((x.toArraySync() as number[][])[0]).toEqual([1, 2, 3, 4]);
  });
  it('keeps what was computed from the former numbers', () => {
    const n = 50_000;
    const x = ones([n]);
    const y = x.neg();
    x.narrow(0, 0, 2).copyFrom(zeros([1]));
    for (let i = 0; i < 200; i++) zeros([n]);
    expect([y.sum().itemSync(), x.sum().itemSync()]).toEqual([-n, n - 2]);
  });
  it.each<[string, () => unknown, string]>([
    ['another shape', () => grid().copyFrom(ones([3])), 'a source of shape [3] for a target of shape [3, 4]'],
    ['more dimensions', () => grid().copyFrom(ones([1, 3, 4])), 'a source of shape [1, 3, 4]'],
    [
      'a repeated target',
      () =>
        ones([1, 4])
          .expand([3, 4])
          .copyFrom(ones([1])),
      'share one number',
    ],
    ['no tensor', () => grid().copyFrom(1 as never), 'the source is 1'],
    ['a parameter', () => ones([2], { requiresGrad: true }).copyFrom(zeros([2])), 'change parameters inside noGrad'],
    ['a history', () => zeros([2]).copyFrom(ones([2], { requiresGrad: true }).mul(2)), 'pass source.detach()'],
  ])('refuses %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});

describe('bad views', () => {
  const x = zeros([3, 4]);
  it.each<[string, () => unknown, string]>([
    ['a range too long', () => x.narrow(0, 2, 2), 'start 2 and length 2 for dimension 0 of shape [3, 4]'],
    ['a negative length', () => x.narrow(0, 0, -1), 'length is -1'],
    ['an index too far', () => x.select(1, 4), 'pass an integer from -4 to 3'],
    ['half an index', () => x.select(1, 0.5), 'index is 0.5'],
    ['a dimension twice', () => x.permute([0, 0]), 'name each of the 2 dimensions once'],
    ['a dimension too few', () => x.permute([0]), 'dims is [0] for a tensor of shape [3, 4]'],
    ['a shape that does not fit', () => x.expand([3, 5]), 'shape [3, 4] does not expand to [3, 5]'],
    ['fewer dimensions', () => x.expand([4]), 'does not expand to [4]'],
    ['-1 for a new one', () => x.expand([-1, 3, 4]), '-1'],
    ['a dimension that is not there', () => x.unsqueeze(3), 'dim is 3'],
    ['a text', () => x.squeeze('0' as never), "dim is '0'"],
    ['a dimension that is given twice', () => x.squeeze([0, -2]), 'dim [0, -2] names a dimension twice'],
  ])('%s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});
