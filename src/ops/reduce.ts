import { describe, fail } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { type KeepdimOptions, reduceRows } from './families.js';
import type { ReduceRow } from './row.js';
import { addition } from './view.js';

// `keepdim` is a flag or an option: x.sum(0, true) and x.sum(0, { keepdim: true }) are the same.

/** Reductions over dimensions. */
export interface ReduceMethods {
  /**
   * The sum over `dim`. Derivative 1. As torch.sum.
   * @param dim a dimension or several; negative ones count from the end. Default: all dimensions
   * @param keepdim whether the result keeps the reduced dimensions as 1; default false
   * @returns a tensor without the dimensions `dim`, or with 1 in their place; 0 for no elements
   * @throws TapegradError for a dimension that does not exist or is given twice
   */
  sum(dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /**
   * The mean over `dim`. Derivative 1 / n for n elements. As torch.mean.
   * @param dim a dimension or several; negative ones count from the end. Default: all dimensions
   * @param keepdim whether the result keeps the reduced dimensions as 1; default false
   * @returns a tensor without the dimensions `dim`, or with 1 in their place; NaN for no elements
   * @throws TapegradError for a dimension that does not exist or is given twice
   */
  mean(dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /**
   * The maximum over `dim`. The derivative is 1 for the maximum; equal maxima share it evenly. As torch.amax.
   * @param dim a dimension or several; negative ones count from the end. Default: all dimensions
   * @param keepdim whether the result keeps the reduced dimensions as 1; default false
   * @returns a tensor without the dimensions `dim`, or with 1 in their place; NaN where an element is NaN
   * @throws TapegradError for a dimension that does not exist or is given twice, and for no elements
   */
  max(dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /**
   * The minimum over `dim`. The derivative is 1 for the minimum; equal minima share it evenly. As torch.amin.
   * @param dim a dimension or several; negative ones count from the end. Default: all dimensions
   * @param keepdim whether the result keeps the reduced dimensions as 1; default false
   * @returns a tensor without the dimensions `dim`, or with 1 in their place; NaN where an element is NaN
   * @throws TapegradError for a dimension that does not exist or is given twice, and for no elements
   */
  min(dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /**
   * The index of the first maximum along a dimension; NaN counts as the maximum. As torch.argmax.
   * @param dim one dimension; a negative one counts from the end. Default: indices are those of the elements in row-major order
   * @param keepdim whether the result keeps the reduced dimensions as 1; default false
   * @returns a tensor without the dimension `dim`, or with 1 in its place; a constant, without a gradient
   * @throws TapegradError for a dimension that does not exist, several dimensions, no elements, and more than 2^24 elements,
   *   whose indices float32 cannot represent
   */
  argmax(dim?: number, keepdim?: boolean | KeepdimOptions): Tensor;
  /**
   * The index of the first minimum along a dimension; NaN counts as the minimum. As torch.argmin.
   * @param dim one dimension; a negative one counts from the end. Default: indices are those of the elements in row-major order
   * @param keepdim whether the result keeps the reduced dimensions as 1; default false
   * @returns a tensor without the dimension `dim`, or with 1 in its place; a constant, without a gradient
   * @throws TapegradError for a dimension that does not exist, several dimensions, no elements, and more than 2^24 elements,
   *   whose indices float32 cannot represent
   */
  argmin(dim?: number, keepdim?: boolean | KeepdimOptions): Tensor;
}

/** Splits the gradient evenly among the elements that are equal to the result. */
function amongEqual(g: Tensor, x: Tensor, y: Tensor): Tensor {
  const hit = x.detach().eq(y.detach());
  const dims = x.dims.flatMap((d, i) => (y.dims[i] === d ? [] : [i]));
  return g.mul(hit).div(dims.length > 0 ? hit.sum(dims, true) : hit);
}

const largest = {
  init: -Infinity,
  combine: Math.max,
  gpu: 'x > acc ? x : acc === acc ? (x === x ? acc : x) : acc',
  finish: (acc: number) => acc,
};

const smallest = {
  init: Infinity,
  combine: Math.min,
  gpu: 'x < acc ? x : acc === acc ? (x === x ? acc : x) : acc',
  finish: (acc: number) => acc,
};

export const reduce = /* @__PURE__ */ reduceRows({
  sum: {
    ...addition,
    saves: 'nothing',
    grad: (g) => g,
  },
  mean: {
    ...addition,
    finish: (acc, n) => acc / n,
    gpuFinish: 'acc / n',
    saves: 'nothing',
    grad: (g, _x, _y, n) => g.div(n),
  },
  max: { ...largest, result: 'value', saves: 'both', grad: amongEqual },
  min: { ...smallest, result: 'value', saves: 'both', grad: amongEqual },
  argmax: { ...largest, result: 'index', saves: 'nothing' },
  argmin: { ...smallest, result: 'index', saves: 'nothing' },
} satisfies Record<keyof ReduceMethods, ReduceRow>);

/** Requires the argument of argmax and argmin: one dimension, or none. */
export function checkOneDim(op: string, dim: unknown): number | undefined {
  if (dim !== undefined && typeof dim !== 'number')
    fail(op, `dim is ${describe(dim)}`, 'pass one dimension as a number, or none');
  return dim;
}
