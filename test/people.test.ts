import { describe, expect, it, vi } from 'vitest';
import {
  arange,
  data,
  eye,
  full,
  linspace,
  manualSeed,
  metrics,
  nn,
  ones,
  onesLike,
  optim,
  rand,
  randLike,
  randn,
  type Tensor,
  tensor,
  zeros,
  zerosLike,
} from '../src/index.js';
import { parseIdx } from '../src/io/index.js';
import { table } from '../src/ops/table.js';
import { examples } from './examples-of-ops.js';
import { errorOf, sampleTensor } from './helpers.js';

// What people do who know other libraries, or who slip.

const leaf = (values: number[]) => tensor(values, { requiresGrad: true });
const any = (value: unknown) => value as never;

describe('JavaScript itself', () => {
  it('cannot compute with tensors, and says so', async () => {
    const x = any(tensor([1, 2])) as number;
    for (const run of [() => x + 1, () => x < 1, () => +x, () => `loss `.concat(any('')) + x]) {
      const error = await errorOf(run);
      expect(error.message).toContain('[tensor] a tensor of shape [2]');
      expect(error.message).toContain('x.add(1)');
      expect(error.shapes).toEqual([[2]]);
    }
    expect(`${x}`).toBe('tensor([1., 2.])');
    expect(String(x)).toBe('tensor([1., 2.])');
  });
  it('writes the numbers as JSON, and tensor() takes them back', async () => {
    const x = tensor([
      [1.5, Number.NaN],
      [Infinity, -Infinity],
    ]);
    const text = JSON.stringify({ x });
    expect(text).toBe('{"x":{"shape":[2,2],"data":[1.5,"NaN","Infinity","-Infinity"]}}');
    const back = tensor(JSON.parse(text).x);
    expect(back.shape).toEqual([2, 2]);
    expect([...back.dataSync()]).toEqual([1.5, Number.NaN, Infinity, -Infinity]);
    expect(JSON.parse(JSON.stringify(x.t())).data).toEqual([1.5, 'Infinity', 'NaN', '-Infinity']);
    expect((await errorOf(() => tensor({ shape: [1], data: ['7'] }))).message).toContain("data[0] is '7'");
    expect((await errorOf(() => tensor({ shape: [2], data: [1] }))).message).toContain('1 values for the shape [2]');
  });
  it('refuses to write JSON where the host cannot read', async () => {
    const x = tensor([1]);
    vi.spyOn(x, 'backend', 'get').mockReturnValue({ ...x.backend, device: 'gpu', readSync: undefined } as never);
    expect((await errorOf(() => JSON.stringify(x))).message).toContain(
      "[toJSON] the host cannot read from the device 'gpu'",
    );
  });
  it('does not clone a tensor without its numbers', () => {
    expect(() => structuredClone(tensor([1.5]))).toThrow('Send x.shape and await x.data()');
    expect(() => structuredClone(new nn.Linear(1, 1).weight)).toThrow('cannot be cloned');
  });
  it('does not clone a preprocessor without its fitted values', () => {
    for (const p of [new data.StandardScaler(), new data.MinMaxScaler(), new data.Imputer()])
      expect(() => structuredClone(p.fit(tensor([[1]])))).toThrow('Send toJSON(), then use fromJSON.');
  });
  it('does not write an optimizer as JSON', async () => {
    for (const optimizer of [
      new optim.SGD([leaf([1])], { lr: 1 }),
      new optim.SGD([{ params: leaf([1]) }], { lr: 1, momentum: 0.9 }),
    ])
      expect((await errorOf(() => JSON.stringify({ optimizer }))).message).toContain(
        'an optimizer cannot be written as JSON; use save(optimizer.stateDict(), path)',
      );
  });
});

describe('slips', () => {
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  let deep: unknown = 1;
  for (let i = 0; i < 20_000; i++) deep = [deep];
  const x = ones([2, 3]);
  it.each<[string, () => unknown, string]>([
    [
      'zeros(2, 3)',
      () => zeros(any(2), any(3)),
      '[zeros] shape is the number 2; pass the dimensions in one array, as in zeros([2, 3])',
    ],
    ['ones(2)', () => ones(any(2)), '[ones] shape is the number 2; pass the dimensions in one array, as in ones([2])'],
    ['full(2, 3)', () => full(any(2), 3), '[full] shape is the number 2'],
    ['full([2])', () => full([2], any(undefined)), '[full] value is undefined'],
    ['rand(2, 3)', () => rand(any(2), any(3)), 'as in rand([2, 3])'],
    ['randn()', () => randn(any(undefined)), '[randn] shape is undefined'],
    ['null options', () => zeros([1], any(null)), '[zeros] options are null'],
    ['a null shape', () => tensor([1], { shape: any(null) }), '[tensor] shape is null'],
    ['a null device', () => zeros([1], { device: any(null) }), 'device is null'],
    ['reshape(2, 3)', () => x.reshape.call(x, any(2)), '[reshape] shape is 2; pass one array, as in reshape([2, -1])'],
    ['view()', () => x.view(any(undefined)), '[view] shape is undefined'],
    ['20000 nested arrays', () => tensor(any(deep)), 'nested more than 64 deep'],
    ['a cyclic array', () => tensor(any(cyclic)), 'nested more than 64 deep'],
    ['a cyclic array as a shape', () => zeros(any(cyclic)), 'has the dimension [[[[…]]]]'],
    ['a hole', () => tensor(any(new Array(2))), 'values[0] is undefined'],
    ['a date', () => tensor(any(new Date())), 'values is a Date'],
    ['a set', () => tensor(any(new Set([1]))), 'values is a Set; pass numbers in an array, such as Array.from(values)'],
    ['a bigint', () => tensor(any([1n])), 'values[0] is 1n; convert it with Number(value)'],
    ['a view', () => tensor(any([new DataView(new ArrayBuffer(8))])), 'values[0] is a DataView'],
    ['a tensor', () => tensor(any(x)), 'values is a Tensor; use x.clone()'],
    ['tensors', () => tensor(any([x])), 'values[0] is a Tensor; read its numbers first'],
    ['add()', () => x.add(any(undefined)), '[add] operand 1 is undefined'],
    ['sum(null)', () => x.sum(any(null)), '[sum] dim is null'],
    ['an unknown option of sum', () => x.sum(0, any({ keepDim: true })), "[sum] unknown option 'keepDim'"],
    ['a keepdim that is none', () => x.sum(0, { keepdim: any(1) }), '[sum] keepdim is 1'],
    ['a null keepdim', () => x.argmax(0, any(null)), '[argmax] keepdim is null'],
    [
      'backward(options)',
      () => leaf([1]).backward(any({ retainGraph: true })),
      'options come second: backward(undefined, { … })',
    ],
    ['zerosLike of an array', () => zerosLike(any([1])), '[zerosLike] the argument is [1]'],
    ['eye of a shape', () => eye(any([2, 2])), '[eye] n is [2, 2]'],
    ['linspace without steps', () => linspace(0, 1, any(undefined)), '[linspace] steps is undefined'],
    ['arange beyond float32', () => arange(2 ** 24 - 1, 2 ** 24 + 2), 'equal in float32 or rounded by it'],
    ['a long arange', () => arange(-(2 ** 24) - 2, -(2 ** 24)), 'or take larger steps'],
    ['relu of an array', () => nn.functional.relu(any([1])), '[relu] operand 0 is [1]; pass a tensor'],
    ['sigmoid of a number', () => nn.functional.sigmoid(any(1)), '[sigmoid] operand 0 is 1'],
    ['tanh of what has one', () => nn.functional.tanh(any(Math)), '[tanh] operand 0 is a Object'],
    ['softmax of nothing', () => nn.functional.softmax(any(undefined), 0), '[softmax] operand 0 is undefined'],
    ['logSoftmax of null', () => nn.functional.logSoftmax(any(null), 0), '[logSoftmax] operand 0 is null'],
    ['a bias that is 0', () => new nn.Linear(1, 1, { bias: any(0) }), '[Linear] bias is 0; pass true or false'],
    ['a null bias', () => new nn.Linear(1, 1, { bias: any(null) }), '[Linear] bias is null'],
    ['no samples', () => metrics.kolmogorovSmirnov(any(undefined), any(undefined)), 'the sample is undefined'],
    ['no reference', () => metrics.kolmogorovSmirnov([1], any(null)), 'the reference is null; pass an array'],
    ['no bytes', () => parseIdx(any(undefined)), '[parseIdx] the bytes are undefined; pass a Uint8Array'],
    ['a path', () => parseIdx(any('train.idx')), "the bytes are 'train.idx'"],
    ['a buffer', () => parseIdx(any(new ArrayBuffer(8))), 'the bytes are a ArrayBuffer'],
    ['an array of bytes', () => parseIdx(any([0, 0, 8, 1])), 'the bytes are [0, 0, 8, 1]'],
    ['an empty file', () => parseIdx(new Uint8Array()), 'the file has 0 bytes'],
    ['steps too small for float32', () => arange(1000, 1000.0001, 0.00001), 'in steps of 0.00001'.slice(0, 12)],
  ])('%s', async (_, run, text) => {
    const error = await errorOf(run);
    expect(error.name).toBe('TapegradError');
    expect(error.message).toContain(text);
  });
});

describe('names from PyTorch', () => {
  it('make tensors like others', () => {
    const x = randn([2, 3], { device: 'reference' });
    expect(zerosLike(x).toArraySync()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
    expect(onesLike(x, { requiresGrad: true }).requiresGrad).toBe(true);
    expect([...onesLike(x).dataSync()]).toEqual([1, 1, 1, 1, 1, 1]);
    expect([zerosLike(x), onesLike(x), randLike(x)].map((t) => t.device)).toEqual([
      'reference',
      'reference',
      'reference',
    ]);
    expect(zerosLike(x, { device: 'cpu' }).device).toBe('cpu');
    manualSeed(4);
    const drawn = randLike(x).toArraySync();
    manualSeed(4);
    expect(drawn).toEqual(rand([2, 3]).toArraySync());
  });
  it('make unit matrices and even distances', () => {
    expect(eye(2).toArraySync()).toEqual([
      [1, 0],
      [0, 1],
    ]);
    expect(eye(2, 3).toArraySync()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
    ]);
    expect(eye(2, 1).toArraySync()).toEqual([[1], [0]]);
    expect(linspace(0, 1, 5).toArraySync()).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect(linspace(3, -3, 3).toArraySync()).toEqual([3, 0, -3]);
    expect(linspace(2, 9, 1).toArraySync()).toEqual([2]);
  });
  it('count exactly as far as float32 does', () => {
    expect(arange(2 ** 24 - 1, 2 ** 24 + 1).toArraySync()).toEqual([16777215, 16777216]);
    expect(arange(2 ** 24, 2 ** 24 + 5, 2).toArraySync()).toEqual([16777216, 16777218, 16777220]);
    expect(arange(0, 1, 0.1).numel()).toBe(10);
  });
  it('reshape and reduce', () => {
    const x = arange(6).view([2, 3]);
    expect(x.numel()).toBe(6);
    expect(x.view([3, -1]).shape).toEqual([3, 2]);
    expect(x.sum(0, { keepdim: true }).shape).toEqual([1, 3]);
    expect(x.sum(0, {}).shape).toEqual([3]);
    expect(x.argmax(1, { keepdim: true }).toArraySync()).toEqual([[2], [2]]);
    expect(x.mean(undefined, { keepdim: true }).shape).toEqual([1, 1]);
  });
});

describe('shapes', () => {
  it('cannot be changed by their readers, whatever made the tensor', () => {
    const x = arange(6).reshape([2, 3]);
    expect(() => (x.shape as number[]).reverse()).toThrow(TypeError);
    const w = ones([2, 3], { requiresGrad: true });
    const batch = ones([2, 2, 3]);
    const made: Tensor[] = [
      x,
      w,
      tensor([1]),
      tensor(1),
      x.add(1),
      x.add(ones([3, 1, 1])),
      x.sum(),
      x.sum(0),
      x.max(1, true),
    ];
    made.push(x.t(), batch.transpose(0, 1), x.matmul(x.t()), batch.matmul(x.t()), batch.matmul(ones([3])), x.detach());
    made.push(
      x.softmax(1),
      x.clone(),
      x.to('reference'),
      x.gt(0),
      x.argmax(0),
      eye(2),
      linspace(0, 1, 2),
      zerosLike(x),
    );
    made.push(
      new nn.Linear(3, 2).forward(batch),
      nn.functional.mseLoss(x, x),
      nn.functional.crossEntropy(x, zeros([2])),
    );
    w.mul(2).sum().backward();
    made.push(w.grad!);
    for (const row of table.general) {
      for (const { shapes, attributes, values } of examples.general[row.name]) {
        const inputs = shapes.map((s, i) =>
          values?.[i] ? tensor([...values[i]], { shape: s }) : sampleTensor(s, [0.1, 1], i + 1, 'cpu', false),
        );
        made.push(row.forward(inputs, attributes));
      }
    }
    expect(made.filter((t) => !Object.isFrozen(t.shape)).map(String)).toEqual([]);
  });
});

describe('what belongs to a graph', () => {
  it('takes only gradients that fit', async () => {
    const x = leaf([1, 2]);
    for (const [g, text] of [
      [ones([3]), 'a gradient of shape [3] for a tensor of shape [2]'],
      [[1, 2], 'the gradient is [1, 2]'],
      [undefined, 'the gradient is undefined'],
      [
        ones([2], { device: 'reference' }),
        "the gradient is on 'reference', the tensor on 'cpu'; move it with .to('cpu')",
      ],
    ] as const) {
      const error = await errorOf(() => {
        x.grad = any(g);
      });
      expect(error.message).toContain(text);
      expect(x.grad).toBeNull();
    }
    x.grad = ones([2]);
    x.sum().backward();
    expect(x.grad.toArraySync()).toEqual([2, 2]);
  });
  it('is not filled anew', async () => {
    const x = leaf([1, 2]);
    const y = x.exp();
    for (const fill of [
      nn.init.zeros,
      nn.init.ones,
      nn.init.uniform,
      nn.init.normal,
      (t: Tensor) => nn.init.constant(t, 1),
    ])
      expect((await errorOf(() => fill(y))).message).toContain('is the result of exp, not a leaf');
    y.sum().backward();
    expect(x.grad!.toArraySync()).toEqual([...y.dataSync()]);
    // What shares the storage of a saved result is found by its version.
    const z = x.exp();
    nn.init.zeros(z.detach());
    expect((await errorOf(() => z.sum().backward())).message).toContain(
      'the result of exp, shape [2], was changed in place after the forward pass',
    );
  });
  it('is filled with what is sensible only', async () => {
    const w = zeros([2, 2]);
    for (const [run, text] of [
      [() => nn.init.zeros(any([1])), '[init.zeros] target is [1]'],
      [() => nn.init.xavierUniform(any(null)), '[init.xavierUniform] target is null'],
      [() => nn.init.constant(w, any('1')), "[init.constant] value is '1'"],
      [() => nn.init.uniform(w, 1, 0), '[init.uniform] low is 1 and high is 0'],
      [() => nn.init.kaimingNormal(w, Number.NaN), '[init.kaimingNormal] a is NaN'],
      [() => nn.init.kaimingUniform(w, Infinity), '[init.kaimingUniform] a is Infinity'],
      [() => nn.init.xavierNormal(w, -1), '[init.xavierNormal] gain is -1'],
    ] as const)
      expect((await errorOf(run)).message).toContain(text);
    expect(w.abs().sum().itemSync()).toBe(0);
  });
  it('lets a step that saved nothing be gone through again', () => {
    const w = ones([2, 3], { requiresGrad: true });
    const wt = w.t();
    const optimizer = new optim.SGD([w], { lr: 1 });
    for (let i = 0; i < 2; i++) {
      optimizer.zeroGrad();
      ones([1, 3]).matmul(wt).sum().backward();
      optimizer.step();
    }
    expect([...w.dataSync()]).toEqual([-1, -1, -1, -1, -1, -1]);
  });
  it('takes masks as constants', () => {
    const x = leaf([1, -1]);
    x.mul(x.lt(0)).sum().backward();
    expect(x.grad!.toArraySync()).toEqual([0, 1]);
    expect(x.argmax().requiresGrad).toBe(false);
  });
});
