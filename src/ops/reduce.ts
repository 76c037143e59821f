import { describe, fail } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { type KeepdimOptions, reduceRows } from './families.js';
import type { ReduceRow } from './row.js';
import { addition } from './view.js';

// `keepdim` is a flag or an option: x.sum(0, true) and x.sum(0, { keepdim: true }) are the same.

export interface ReduceMethods {
  /** The sum over `dim` (all dimensions by default), which keepdim leaves as 1. Derivative 1. @throws TapegradError for a dimension that is not there */
  sum(dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /** The mean over `dim` (all dimensions by default), which keepdim leaves as 1. Derivative 1 / n. @throws TapegradError for a dimension that is not there */
  mean(dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /** The largest over `dim` (all by default); NaN if one is NaN. Equal maxima share the gradient, as torch.amax. @throws TapegradError for a dimension that is not there */
  max(dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /** The smallest over `dim` (all by default); NaN if one is NaN. Equal minima share the gradient, as torch.amin. @throws TapegradError for a dimension that is not there */
  min(dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /** The index of the first largest element along one dimension, or in row-major order without `dim`. NaN counts as the largest. A constant: no gradient reaches it. @throws TapegradError for a dimension that is not there, more than one, or more than 2^24 elements, whose indices float32 cannot hold */
  argmax(dim?: number, keepdim?: boolean | KeepdimOptions): Tensor;
}

/** Splits the gradient evenly among the elements that are equal to the result. */
function amongEqual(g: Tensor, x: Tensor, y: Tensor): Tensor {
  const hit = x.detach().eq(y.detach());
  const dims = x.dims.flatMap((d, i) => (y.dims[i] === d ? [] : [i]));
  return g.mul(hit).div(dims.length > 0 ? hit.sum(dims, true) : hit);
}

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
  max: {
    init: -Infinity,
    combine: Math.max,
    gpu: 'x > acc ? x : acc === acc ? (x === x ? acc : x) : acc',
    finish: (acc) => acc,
    result: 'value',
    saves: 'both',
    grad: amongEqual,
  },
  min: {
    init: Infinity,
    combine: Math.min,
    gpu: 'x < acc ? x : acc === acc ? (x === x ? acc : x) : acc',
    finish: (acc) => acc,
    result: 'value',
    saves: 'both',
    grad: amongEqual,
  },
  argmax: {
    init: -Infinity,
    combine: Math.max,
    gpu: 'x > acc ? x : acc === acc ? (x === x ? acc : x) : acc',
    finish: (acc) => acc,
    result: 'index',
    saves: 'nothing',
  },
} satisfies Record<keyof ReduceMethods, ReduceRow>);

/** Requires what argmax takes: one dimension, or none. */
export function checkOneDim(op: string, dim: unknown): number | undefined {
  if (dim !== undefined && typeof dim !== 'number')
    fail(op, `dim is ${describe(dim)}`, 'pass one dimension as a number, or none');
  return dim;
}
