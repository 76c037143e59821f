import { describe, expect, it } from 'vitest';
import { cat, einsum, nn, ones, stack, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf, startLateDevice } from './helpers.js';

const matrix = ones([2, 3]);
const { pad } = nn.functional;
const bad = <T>(x: unknown): T => x as T;

describe('what PyTorch refuses is refused', () => {
  it.each<[string, () => unknown, string, string]>([
    ['cat of nothing', () => cat([]), 'cat', 'there are no tensors'],
    ['cat of no list', () => cat(bad(matrix)), 'cat', 'tensors is a Tensor'],
    ['cat of numbers', () => cat([matrix, bad(1)]), 'cat', 'operand 1 is 1'],
    ['cat of other shapes', () => cat([matrix, ones([2, 4])]), 'cat', '[2, 3] and [2, 4] do not fit along dimension 0'],
    ['cat of other ranks', () => cat([matrix, ones([3])]), 'cat', '[2, 3] and [3]'],
    ['cat along no dimension', () => cat([matrix], 2), 'cat', 'dim is 2 for a tensor of shape [2, 3]'],
    ['cat of scalars', () => cat([ones([]), ones([])]), 'cat', 'a scalar has no dimensions'],
    ['stack of nothing', () => stack([]), 'stack', 'there are no tensors'],
    ['stack of other shapes', () => stack([matrix, ones([3, 2])]), 'stack', '[2, 3] and [3, 2]'],
    ['stack along no dimension', () => stack([matrix], 3), 'stack', 'dim is 3'],
    [
      'tensors on two devices',
      () => cat([matrix, ones([1, 3], { device: 'reference' })]),
      'cat',
      "'cpu' and 'reference'",
    ],

    ['no equation', () => einsum(bad(1), matrix), 'einsum', 'the equation is 1'],
    ['no operand', () => einsum('i'), 'einsum', 'there are no tensors'],
    ['two arrows', () => einsum('i->i->i', matrix), 'einsum', 'more than one'],
    ['too few terms', () => einsum('ij', matrix, matrix), 'einsum', '1 terms for 2 tensors'],
    ['digits', () => einsum('i1', matrix), 'einsum', "'i1' is no term"],
    ['two ellipses', () => einsum('...i...', matrix), 'einsum', "'...i...' is no term"],
    ['two dots', () => einsum('..i', matrix), 'einsum', "'..i' is no term"],
    ['too few letters', () => einsum('i', matrix), 'einsum', "'i' does not name the dimensions of shape [2, 3]"],
    ['too many letters', () => einsum('ijk', matrix), 'einsum', "'ijk' does not name the dimensions of shape [2, 3]"],
    ['other dimensions', () => einsum('ij,ij', matrix, ones([3, 3])), 'einsum', "'i' has 2 elements and 3"],
    [
      'other dimensions of an ellipsis',
      () => einsum('...,...', ones([2]), ones([3])),
      'einsum',
      'dimension -1 of the ellipsis',
    ],
    ['a diagonal of no square', () => einsum('ii', matrix), 'einsum', "'i' has 2 elements and 3 in one tensor"],
    ['a result with a new letter', () => einsum('ij->k', matrix), 'einsum', "the result has 'k', which no term has"],
    ['a result with a letter twice', () => einsum('ij->ii', matrix), 'einsum', "the result has 'i' twice"],

    ['too many ranges', () => matrix.slice(0, 0, 0), 'slice', '3 ranges for a tensor of shape [2, 3]'],
    ['too many beside an ellipsis', () => matrix.slice(0, '...', 0, 0), 'slice', '3 ranges'],
    ['an index out of range', () => matrix.slice(null, 3), 'slice', 'index 3 for dimension 1 of shape [2, 3]'],
    ['an index before the first', () => matrix.slice(-3), 'slice', 'index -3 for dimension 0'],
    ['a broken index', () => matrix.slice(0.5), 'slice', 'index is 0.5'],
    ['a step of 0', () => matrix.slice([0, 1, 0]), 'slice', 'the step of range 0 is 0'],
    ['a broken step', () => matrix.slice([0, 1, 0.5]), 'slice', 'step is 0.5'],
    ['a broken start', () => matrix.slice([Number.NaN, 1]), 'slice', 'start is NaN'],
    ['a range of one number', () => matrix.slice(bad([1])), 'slice', 'range 0 is [1]'],
    ['undefined', () => matrix.slice(bad(undefined)), 'slice', 'range 0 is undefined'],
    ['an ellipsis twice', () => matrix.slice('...', '...'), 'slice', "range 1 is '...'"],

    ['parts of nothing', () => matrix.split(0), 'split', 'sizes is 0'],
    ['parts of less', () => matrix.split(-1), 'split', 'sizes is -1'],
    ['parts that are too few', () => matrix.split([1, 1], 1), 'split', 'the sizes [1, 1] are 2 in all for dimension 1'],
    ['parts of a negative size', () => matrix.split([3, -1]), 'split', 'sizes[1] is -1'],
    ['parts of a scalar', () => ones([]).split(1), 'split', 'a scalar has no dimensions'],
    ['no parts', () => matrix.chunk(0), 'chunk', 'n is 0'],
    ['parts of no dimension', () => matrix.chunk(2, 2), 'chunk', 'dim is 2'],
    ['dimensions in the wrong order', () => matrix.flatten(1, 0), 'flatten', 'start is 1 and end 0'],
    ['no dimension', () => matrix.flatten(2), 'flatten', 'dim is 2'],
    ['too few sizes', () => matrix.repeat([2]), 'repeat', 'sizes is [2] for a tensor of shape [2, 3]'],
    ['a size for all', () => matrix.repeat(bad(2)), 'repeat', 'sizes is 2'],
    ['negative sizes', () => matrix.repeat([1, -1]), 'repeat', 'sizes[1] is -1'],
    ['a dimension reversed twice', () => matrix.flip([0, -2]), 'flip', 'names dimension 0 twice'],
    ['no dimension to reverse', () => matrix.flip(bad(undefined)), 'flip', 'dims is undefined'],
    ['a broken shift', () => matrix.roll(0.5), 'roll', 'shift is 0.5'],
    ['two shifts and a dimension', () => matrix.roll([1, 2], 0), 'roll', 'shifts is [1, 2] and dims 0'],
    ['two shifts and no dimension', () => matrix.roll([1, 2]), 'roll', 'shifts is [1, 2]'],
    ['no shift', () => matrix.roll([], []), 'roll', 'shifts is []'],
    ['the triangle of a vector', () => ones([2]).tril(), 'tril', 'shape [2] has no matrices'],
    ['a broken diagonal', () => matrix.triu(0.5), 'triu', 'k is 0.5'],
    ['the outer product of a matrix', () => matrix.outer(ones([2])), 'outer', '[2, 3] and [2]'],

    ['a matrix of indices', () => matrix.indexSelect(0, zeros([1, 1])), 'indexSelect', 'the index has shape [1, 1]'],
    ['an array of indices', () => matrix.indexSelect(0, bad([0])), 'indexSelect', 'operand 1 is [0]'],
    ['an index of no dimension', () => matrix.indexSelect(2, tensor([0])), 'indexSelect', 'dim is 2'],
    ['an index beyond', () => matrix.indexSelect(0, tensor([0, 2])), 'indexSelect', 'index 1 is 2 for 2 elements'],
    ['a negative index', () => matrix.indexSelect(0, tensor([-1])), 'indexSelect', 'index 0 is -1'],
    ['NaN', () => matrix.gather(1, tensor([[0], [Number.NaN]])), 'gather', 'index 1 is NaN for 3 elements'],
    ['a fraction', () => matrix.gather(1, tensor([[0.5]])), 'gather', 'index 0 is 0.5'],
    ['an infinite index', () => matrix.gather(1, tensor([[Infinity]])), 'gather', 'index 0 is Infinity'],
    ['an index beyond 32 bits', () => matrix.gather(1, tensor([[2 ** 32]])), 'gather', 'index 0 is 4294967296'],
    ['an index of another rank', () => matrix.gather(0, tensor([0])), 'gather', '[2, 3] and the index [1]'],
    ['a longer index', () => matrix.gather(0, zeros([1, 4])), 'gather', '[2, 3] and the index [1, 4]'],
    [
      'a shorter source',
      () => matrix.scatterAdd(0, zeros([2, 3]), zeros([2, 2])),
      'scatterAdd',
      'the source has shape [2, 2]',
    ],
    [
      'a longer index',
      () => matrix.scatterAdd(0, zeros([2, 4]), zeros([2, 4])),
      'scatterAdd',
      'the tensor has shape [2, 3]',
    ],
    [
      'a bad index',
      () => matrix.scatterAdd(0, tensor([[2]]), ones([1, 1])),
      'scatterAdd',
      'index 0 is 2 for 2 elements',
    ],

    ['an odd number', () => pad(matrix, [1]), 'pad', 'padding is [1] for a tensor of shape [2, 3]'],
    ['too many pairs', () => pad(matrix, [1, 1, 1, 1, 1, 1]), 'pad', 'for a tensor of shape [2, 3]'],
    ['a number for all', () => pad(matrix, bad(1)), 'pad', 'padding is 1'],
    ['a fraction', () => pad(matrix, [0.5, 1]), 'pad', 'padding[0] is 0.5'],
    ['too much taken away', () => pad(matrix, [-2, -2]), 'pad', 'leaves -1 elements of dimension 1'],
    ['all taken away', () => pad(matrix, [-3, 0], { mode: 'replicate' }), 'pad', 'leaves 0 elements'],
    ['an unknown mode', () => pad(matrix, [1, 1], { mode: bad('mirror') }), 'pad', "mode is 'mirror'"],
    ['an unknown option', () => pad(matrix, [1, 1], bad({ fill: 1 })), 'pad', "unknown option 'fill'"],
    [
      'a value elsewhere',
      () => pad(matrix, [1, 1], { mode: 'reflect', value: 1 }),
      'pad',
      "value is 1 for the mode 'reflect'",
    ],
    ['a value that is no number', () => pad(matrix, [1, 1], { value: bad('1') }), 'pad', "value is '1'"],
    ['too much to reflect', () => pad(matrix, [3, 0], { mode: 'reflect' }), 'pad', 'give at most 2 on each side'],
    ['too much for a circle', () => pad(matrix, [0, 4], { mode: 'circular' }), 'pad', 'give at most 3 on each side'],
    ['nothing to repeat', () => pad(zeros([2, 0]), [1, 1], { mode: 'replicate' }), 'pad', 'give at most 0'],
    [
      'a vector to reflect',
      () => pad(ones([3]), [1, 1], { mode: 'reflect' }),
      'pad',
      "the mode 'reflect' with 1 pairs",
    ],
    ['all dimensions of a matrix', () => pad(matrix, [1, 1, 1, 1], { mode: 'circular' }), 'pad', 'with 2 pairs'],
  ])('%s', async (_, run, op, message) => {
    const error = await errorOf(run);
    expect(error.op).toBe(op);
    expect(error.message).toContain(message);
  });
});

describe('indices that the host cannot read', () => {
  it('are checked by the device', async () => {
    startLateDevice();
    const checked: unknown[][] = [];
    const x = ones([4, 3], { device: 'gpu' });
    Object.assign(x.backend, {
      checkIndices: (op: string, index: { size: number }, n: number) => checked.push([op, index.size, n]),
    });
    const index = zeros([2, 2], { device: 'gpu' });
    x.indexSelect(0, index.select(1, 0));
    x.gather(1, index);
    x.scatterAdd(0, index, ones([2, 2], { device: 'gpu' }));
    expect(checked).toEqual([
      ['indexSelect', 2, 4],
      ['gather', 4, 3],
      ['scatterAdd', 4, 4],
    ]);
  });
});

describe('views and copies', () => {
  const values = (x: Tensor) => x.toArraySync();
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  it('slices with positive steps are views', () => {
    const y = x.clone();
    y.slice(1, [null, null, 2]).copyFrom(zeros([2]));
    expect(values(y)).toEqual([
      [1, 2, 3],
      [0, 5, 0],
    ]);
    for (const part of y.split(1, 1)) part.copyFrom(ones([2, 1]));
    expect(values(y)).toEqual([
      [1, 1, 1],
      [1, 1, 1],
    ]);
  });
  it('flip, roll and repeat copy', () => {
    for (const y of [x.flip([]), x.roll(0, 0), x.repeat([1, 1]), x.slice([null, null, -1])])
      expect(y.storage).not.toBe(x.storage);
  });
  it('takes views of any strides', () => {
    const t = x.t();
    expect(values(t.flip(0))).toEqual([
      [3, 6],
      [2, 5],
      [1, 4],
    ]);
    expect(values(t.slice([null, null, 2], [null, null, -1]))).toEqual([
      [4, 1],
      [6, 3],
    ]);
    expect(values(cat([t, t.slice([0, 1])]))).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
      [1, 4],
    ]);
    expect(values(t.indexSelect(1, tensor([1, 1])))).toEqual([
      [4, 4],
      [5, 5],
      [6, 6],
    ]);
    expect(values(ones([]).expand([2, 2]).tril())).toEqual([
      [1, 0],
      [1, 1],
    ]);
  });
  it('keeps what lies beside NaN and infinities', () => {
    const y = tensor([
      [NaN, Infinity],
      [1, NaN],
    ]);
    expect(values(y.tril())).toEqual([
      [NaN, 0],
      [1, NaN],
    ]);
    expect(values(y.triu(1))).toEqual([
      [0, Infinity],
      [0, 0],
    ]);
    expect(values(nn.functional.pad(y, [1, 0]))).toEqual([
      [0, NaN, Infinity],
      [0, 1, NaN],
    ]);
    expect(values(zeros([2, 2]).scatterAdd(0, zeros([1, 2]), y))).toEqual([
      [NaN, Infinity],
      [0, 0],
    ]);
  });
});

describe('sums by index', () => {
  it('are added in ascending order, whatever the sizes', () => {
    // In another order the small numbers would survive.
    const x = tensor(Float32Array.from([1, 2 ** 25, 1, -(2 ** 25)]), { shape: [4, 1] }).expand([4, 37]);
    const sums = zeros([3, 37]).scatterAdd(0, ones([4, 37]), x);
    expect(new Set(sums.select(0, 1).dataSync())).toEqual(new Set([0]));
    const table = zeros([3, 37], { requiresGrad: true });
    table
      .indexSelect(0, ones([4]))
      .mul(x)
      .sum()
      .backward();
    expect([...table.grad!.dataSync()]).toEqual([
      ...zeros([37]).dataSync(),
      ...zeros([37]).dataSync(),
      ...zeros([37]).dataSync(),
    ]);
  });
});
