import { describe, expect, it } from 'vitest';
import { nn, noGrad, ones, zeros } from '../src/index.js';
import { errorOf } from './helpers.js';

// What operations refuse: the whole message, and the shapes that a program can read from the error.

const any = (value: unknown) => value as never;
const x = zeros([3, 4]);
const { linear } = nn.functional;

// biome-ignore format: one line a case
const cases: [string, () => unknown, string, number[][]][] = [
  ['operands on two devices', () => x.add(zeros([3, 4], { device: 'reference' })), "[add] the operands are on 'cpu' and 'reference'; move one of them, with .to('cpu')", [[3, 4], [3, 4]]],
  ['factors on two devices', () => x.matmul(zeros([4, 2], { device: 'reference' })), "[matmul] the operands are on 'cpu' and 'reference'; move one of them, with .to('cpu')", [[3, 4], [4, 2]]],
  ['an operand that is no tensor', () => x.add(any('1')), "[add] operand 1 is '1'; pass a tensor; tensor(values) makes one", []],
  ['shapes that do not broadcast', () => x.mul(zeros([3])), '[mul]', [[3, 4], [3]]],
  ['inner dimensions that differ', () => x.matmul(zeros([3, 4])), '[matmul] shapes [3, 4] and [3, 4] cannot be multiplied: the inner dimensions are 4 and 3; the last dimension of the first must equal the second to last of the second; transpose one operand', [[3, 4], [3, 4]]],
  ['a vector of another length', () => x.matmul(zeros([3])), '[matmul] shapes [3, 4] and [3] cannot be multiplied: the inner dimensions are 4 and 3', [[3, 4], [3]]],
  ['two vectors of different lengths', () => zeros([2]).matmul(zeros([3])), 'the inner dimensions are 2 and 3', [[2], [3]]],
  ['a vector and a matrix', () => zeros([2]).matmul(zeros([3, 2])), 'the inner dimensions are 2 and 3', [[2], [3, 2]]],
  ['a batch of other matrices', () => zeros([5, 3, 4]).matmul(zeros([3, 4])), 'the inner dimensions are 4 and 3', [[5, 3, 4], [3, 4]]],
  ['batches that do not broadcast', () => zeros([2, 3, 4]).matmul(zeros([3, 4, 5])), '[matmul]', [[2], [3]]],
  ['a scalar as the first factor', () => zeros([]).matmul(x), '[matmul] shapes [] and [3, 4]: a scalar is not a matrix; use mul() to scale', [[], [3, 4]]],
  ['a scalar as the second factor', () => x.matmul(zeros([])), '[matmul] shapes [3, 4] and []: a scalar is not a matrix', [[3, 4], []]],
  ['a factor that is no tensor', () => x.matmul(any([[1]])), '[matmul] operand 1 is [[1]]', []],
  ['a maximum of no elements', () => zeros([0, 3]).max(0), '[max] a tensor of shape [0, 3] has no elements, so no maximum or minimum; check x.size first', [[0, 3]]],
  ['too many elements for indices', () => ones([1]).expand([2 ** 24 + 1]).argmax(), '[argmax] 16777217 elements of shape [16777217] have indices that float32 cannot represent; reduce at most 2^24 elements at once', [[2 ** 24 + 1]]],
  ['too many elements of two dimensions', () => ones([1, 1]).expand([2 ** 13, 2 ** 12]).argmax(), '[argmax] 33554432 elements of shape [8192, 4096]', [[2 ** 13, 2 ** 12]]],
  ['two dimensions for argmax', () => x.argmax(any([0, 1])), '[argmax] dim is [0, 1]; pass one dimension as a number, or none', []],
  ['null for keepdim', () => x.sum(0, any(null)), '[sum] keepdim is null; pass true, false or { keepdim: true }', []],
  ['text for keepdim', () => x.sum(0, any('true')), "[sum] keepdim is 'true'; pass true, false or { keepdim: true }", []],
  ['a number within keepdim', () => x.sum(0, { keepdim: any(1) }), '[sum] keepdim is 1; pass true or false', []],
  ['an unknown option of a reduction', () => x.sum(0, any({ keep: true })), "[sum] unknown option 'keep'; known options are keepdim", []],
  ['dimensions that are not in an array', () => x.permute(any(1)), '[permute] dims is 1; pass one array, as in permute([1, 0])', []],
  ['a dimension too many', () => x.permute([0, 1, 0]), '[permute] dims is [0, 1, 0] for a tensor of shape [3, 4]; name each of the 2 dimensions once', [[3, 4]]],
  ['a dimension twice', () => x.permute([1, -1]), 'name each of the 2 dimensions once', [[3, 4]]],
  ['a start below the first', () => x.narrow(0, -4, 1), '[narrow] start -4 and length 1 for dimension 0 of shape [3, 4]; choose a range within its 3 elements', [[3, 4]]],
  ['a range beyond the last', () => x.narrow(1, 3, 2), '[narrow] start 3 and length 2 for dimension 1 of shape [3, 4]; choose a range within its 4 elements', [[3, 4]]],
  ['half a length', () => x.narrow(0, 0, 1.5), '[narrow] length is 1.5', []],
  ['half a start', () => x.narrow(0, 0.5, 1), '[narrow] start is 0.5', []],
  ['an index below the first', () => x.select(1, -5), '[select] index -5 for dimension 1 of shape [3, 4]; pass an integer from -4 to 3', [[3, 4]]],
  ['an index of nothing', () => zeros([2, 0]).select(1, 0), '[select] index 0 for dimension 1 of shape [2, 0]; it has no elements', [[2, 0]]],
  ['a shape that is no array', () => x.expand(any(3)), '[expand] shape is 3; pass one array, as in expand([2, 3])', []],
  ['a shape that x does not expand to', () => x.expand([2, 3, 5]), '[expand] shape [3, 4] does not expand to [2, 3, 5]; only dimensions of one element, and new leading ones, can repeat', [[3, 4]]],
  ['fewer dimensions than x has', () => zeros([1, 4]).expand([4]), '[expand] shape [1, 4] does not expand to [4]', [[1, 4]]],
  ['a dimension that squeeze cannot read', () => x.squeeze(any({})), '[squeeze] dim is', []],
  ['a source of another shape', () => x.copyFrom(ones([4, 3])), '[copyFrom] a source of shape [4, 3] for a target of shape [3, 4]; pass a source that broadcasts to the shape of the target', [[3, 4], [4, 3]]],
  ['a source of more dimensions', () => x.copyFrom(ones([1, 3, 4])), '[copyFrom] a source of shape [1, 3, 4] for a target of shape [3, 4]', [[3, 4], [1, 3, 4]]],
  ['a target of repeated numbers', () => ones([1, 4]).expand([3, 4]).copyFrom(x), '[copyFrom] several elements of the target of shape [3, 4] share one number in memory; copy it first: x.contiguous()', [[3, 4]]],
  ['a target that requires a gradient', () => ones([2], { requiresGrad: true }).copyFrom(zeros([2])), '[copyFrom] the target requires a gradient, and copyFrom is not differentiable; change parameters inside noGrad(() => …)', [[2], [2]]],
  ['a source that requires a gradient', () => ones([2]).copyFrom(zeros([2], { requiresGrad: true })), '[copyFrom] the source requires a gradient, and copyFrom is not differentiable; pass source.detach(), or call inside noGrad(() => …)', [[2], [2]]],
  ['a source that is no tensor', () => x.copyFrom(any([1])), '[copyFrom] the source is [1]; pass a tensor', []],
  ['a weight that is no matrix', () => linear(x, zeros([4])), '[linear] weight has shape [4]; it must be [out, in]', [[3, 4], [4]]],
  ['an input of other features', () => linear(x, zeros([5, 3]), zeros([5])), '[linear] input of shape [3, 4] for a weight of shape [5, 3]; the last dimension of the input must be 3', [[3, 4], [5, 3], [5]]],
  ['a scalar for an input', () => linear(zeros([]), zeros([5, 3])), '[linear] input of shape [] for a weight of shape [5, 3]', [[], [5, 3]]],
  ['a bias of another length', () => linear(x, zeros([5, 4]), zeros([4])), '[linear] bias has shape [4] for a weight of shape [5, 4]; it must be [5]', [[3, 4], [5, 4], [4]]],
  ['a bias that is no vector', () => linear(x, zeros([5, 4]), zeros([5, 1])), '[linear] bias has shape [5, 1] for a weight of shape [5, 4]', [[3, 4], [5, 4], [5, 1]]],
];

describe('operations refuse', () => {
  it.each(cases)('%s', async (_, run, text, shapes) => {
    const error = await errorOf(run);
    expect(error.message).toContain(text);
    expect(error.shapes).toEqual(shapes);
  });
});

describe('operations accept what is just within the limits', () => {
  it('a range that is the whole dimension, and one of nothing at its end', () => {
    expect(x.narrow(1, 0, 4).shape).toEqual([3, 4]);
    expect(x.narrow(1, -4, 4).shape).toEqual([3, 4]);
    expect(x.narrow(0, 3, 0).shape).toEqual([0, 4]);
    expect([x.select(1, -4).shape, x.select(1, 3).shape]).toEqual([[3], [3]]);
  });
  it('one dimension kept with -1, and new leading ones', () => {
    expect(zeros([1, 4]).expand([2, 3, -1]).shape).toEqual([2, 3, 4]);
    expect(zeros([1, 4]).expand([-1, -1]).shape).toEqual([1, 4]);
  });
  it('keepdim as a flag and as an option', () => {
    for (const options of [false, {}, { keepdim: false }, { keepdim: undefined }, undefined])
      expect(x.sum(0, any(options)).shape).toEqual([4]);
    for (const options of [true, { keepdim: true }]) expect(x.sum(0, options).shape).toEqual([1, 4]);
  });
  it('a target and a source that require a gradient, inside noGrad', () => {
    const [p, q] = [ones([2], { requiresGrad: true }), zeros([2], { requiresGrad: true })];
    noGrad(() => q.copyFrom(p));
    expect(q.toArraySync()).toEqual([1, 1]);
  });
});
