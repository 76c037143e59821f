import { checkNumber, describe, fail } from '../errors.js';
import { temporary } from '../lifetime.js';
import { sizeOf } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { dispatch, generalRow, unrecorded } from './dispatch.js';
import { reluGrad } from './elementwise.js';
import { type KeepdimOptions, reduction } from './families.js';
import { reduce } from './reduce.js';
import type { NamedGeneral, Reduction } from './row.js';
import { reshapeTo } from './view.js';

/** Options of `var` and `std`. */
export interface SpreadOptions extends KeepdimOptions {
  /** What is subtracted from the number of elements in the divisor. Default 1, Bessel's correction. */
  correction?: number;
}

/** Statistics over dimensions. */
export interface StatisticsMethods {
  /**
   * The variance over `dim`: Σ (x - mean)² / max(0, n - correction) for n elements. Derivative 2 (x - mean) / (n - correction).
   * As torch.var.
   * @param dim a dimension or several; negative ones count from the end. Default: all dimensions
   * @param options `correction`, 1 by default; `keepdim`: whether the result keeps the reduced dimensions as 1
   * @returns a tensor without the dimensions `dim`, or with 1 in their place; NaN where n is the correction
   * @throws TapegradError for a dimension that does not exist or is given twice, and for a correction that is not a number
   * @example
   * tensor([[1, 2], [3, 6]]).var(1); // [0.5, 4.5]
   */
  var(dim?: number | readonly number[], options?: boolean | SpreadOptions): Tensor;
  /**
   * The standard deviation over `dim`: the square root of `var`. Where it is 0 the derivative is 0. As torch.std.
   * @param dim a dimension or several; negative ones count from the end. Default: all dimensions
   * @param options `correction`, 1 by default; `keepdim`: whether the result keeps the reduced dimensions as 1
   * @returns a tensor without the dimensions `dim`, or with 1 in their place; NaN where n is the correction
   * @throws TapegradError for a dimension that does not exist or is given twice, and for a correction that is not a number
   * @example
   * tensor([[1, 2], [3, 7]]).std(0, { correction: 0 }); // [1, 2.5]
   */
  std(dim?: number | readonly number[], options?: boolean | SpreadOptions): Tensor;
  /**
   * The product over `dim`. The derivative is the product of the other elements. As torch.prod.
   * @param dim a dimension or several; negative ones count from the end. Default: all dimensions
   * @param keepdim whether the result keeps the reduced dimensions as 1; default false
   * @returns a tensor without the dimensions `dim`, or with 1 in their place; 1 for no elements
   * @throws TapegradError for a dimension that does not exist or is given twice
   */
  prod(dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /**
   * The norm (Σ |x|^p)^(1/p) over `dim`; the largest absolute value for Infinity, the smallest for -Infinity, the number of
   * elements that are not 0 for p = 0. Where it is 0 the derivative is 0. As torch.norm.
   * @param p the order, or 'fro' for 2; default 2
   * @param dim a dimension or several; negative ones count from the end. Default: all dimensions
   * @param keepdim whether the result keeps the reduced dimensions as 1; default false
   * @returns a tensor without the dimensions `dim`, or with 1 in their place
   * @throws TapegradError for a dimension that does not exist or is given twice, for another p, and for no elements where p is
   *   infinite or negative
   * @example
   * tensor([3, 4]).norm(); // 5
   */
  norm(p?: number | 'fro', dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /**
   * ln Σ e^x over `dim`, without overflow. The derivative is softmax. As torch.logsumexp.
   * @param dim a dimension or several; negative ones count from the end
   * @param keepdim whether the result keeps the reduced dimensions as 1; default false
   * @returns a tensor without the dimensions `dim`, or with 1 in their place; -Infinity for no elements
   * @throws TapegradError for a dimension that does not exist or is given twice, or is missing
   */
  logsumexp(dim: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /**
   * The same as `max`, by the name of torch.amax.
   * @param dim a dimension or several; negative ones count from the end. Default: all dimensions
   * @param keepdim whether the result keeps the reduced dimensions as 1; default false
   * @returns a tensor without the dimensions `dim`, or with 1 in their place
   * @throws TapegradError as `max`
   */
  amax(dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
  /**
   * The same as `min`, by the name of torch.amin.
   * @param dim a dimension or several; negative ones count from the end. Default: all dimensions
   * @param keepdim whether the result keeps the reduced dimensions as 1; default false
   * @returns a tensor without the dimensions `dim`, or with 1 in their place
   * @throws TapegradError as `min`
   */
  amin(dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions): Tensor;
}

type Dims = number | readonly number[];

/** The same reduction with a result that keeps the dimensions. */
const kept = (r: Reduction): Reduction => ({ ...r, shape: r.kept });

/**
 * x - mean x. Before that the first element is subtracted, because the mean of equal numbers may be rounded: so the deviations of
 * equal numbers are 0. It has no influence on gradients.
 */
function deviations(x: Tensor, r: Reduction): Tensor {
  let first = x.detach();
  if (x.size > 0) for (const dim of r.dims) first = first.narrow(dim, 0, 1);
  const d = x.size > 0 ? x.sub(first) : x;
  return d.sub(dispatch(reduce.mean, [d], kept(r)));
}

/** The attributes of `var`. */
interface Spread extends Reduction {
  readonly divisor: number;
}

/** In two passes, so that digits are kept where the mean is large. */
export const variance: NamedGeneral<Spread> = /* @__PURE__ */ generalRow('var', {
  forward: ([x], r) =>
    unrecorded(() => {
      const d = deviations(x, r);
      temporary(d.storage);
      const squares = d.mul(d);
      temporary(squares.storage);
      return dispatch(reduce.sum, [squares], r).div(Math.max(0, r.divisor));
    }),
  saves: 'inputs',
  grad: (g, node, r) => [deviations(node.input(0), r).mul(reshapeTo(g, r.kept).mul(2 / r.divisor))],
});

/** x^(1/p) for what is not negative, with the gradient 0 where a factor 0 would meet an infinite one. */
export const root: NamedGeneral<number> = /* @__PURE__ */ generalRow('root', {
  forward: ([x], p) => unrecorded(() => (p === 2 ? x.sqrt() : x.pow(1 / p))),
  saves: 'output',
  grad: (g, node, p) => {
    const y = node.output;
    return [g.div((p === 2 ? y : y.pow(p - 1)).mul(p).add(y.detach().eq(0)))];
  },
});

export const logsumexp: NamedGeneral<Reduction> = /* @__PURE__ */ generalRow('logsumexp', {
  forward: ([x], r) =>
    unrecorded(() => {
      if (x.size === 0) return dispatch(reduce.sum, [x], r).log();
      const top = dispatch(reduce.max, [x], kept(r));
      // Infinite ones are not subtracted: a difference would be NaN.
      const finite = reluGrad(top, top.mul(0).eq(0));
      const e = x.sub(finite).exp();
      temporary(e.storage);
      return dispatch(reduce.sum, [e], r).log().add(reshapeTo(finite, r.shape));
    }),
  saves: 'both',
  grad: (g, node, r) => [reshapeTo(g, r.kept).mul(node.input(0).sub(reshapeTo(node.output, r.kept)).exp())],
});

function spread(op: string, x: Tensor, dim: Dims | undefined, options: boolean | SpreadOptions = false): Tensor {
  const r = reduction(op, x, dim, options, 'correction');
  const { correction = 1 } = options as SpreadOptions;
  checkNumber(op, 'correction', correction);
  return dispatch(variance, [x], { ...r, divisor: sizeOf(x.dims) / sizeOf(r.kept) - correction });
}

/** Halves are multiplied until one element is left: so the gradient is right where elements are 0, too. */
function product(x: Tensor, r: Reduction): Tensor {
  if (x.size === 0) return dispatch(reduce.sum, [x], r).add(1);
  const others = x.dims.map((_, i) => i).filter((i) => !r.dims.includes(i));
  let n = x.size / sizeOf(r.kept);
  let y = x.permute([...r.dims, ...others]).reshape([n, -1]);
  let odd: Tensor | number = 1;
  while (n > 1) {
    const half = n >> 1;
    if (n % 2 > 0) odd = y.narrow(0, n - 1, 1).mul(odd);
    y = y.narrow(0, 0, half).mul(y.narrow(0, half, half));
    n = half;
  }
  return y.mul(odd).reshape(r.shape);
}

function norm(x: Tensor, order: number | 'fro', r: Reduction): Tensor {
  const p = order === 'fro' ? 2 : order;
  if (typeof p !== 'number' || Number.isNaN(p)) fail('norm', `p is ${describe(order)}`, "pass a number or 'fro'");
  const sum = (t: Tensor) => dispatch(reduce.sum, [t], r);
  if (p === 2) return dispatch(root, [sum(x.mul(x))], 2);
  const a = x.abs();
  // Nothing has no least number, which a negative p needs as -Infinity does.
  if (Math.abs(p) === Infinity || (p < 0 && r.dims.some((d) => x.dims[d] === 0)))
    return dispatch(p > 0 ? reduce.max : reduce.min, [a], r);
  if (p === 1) return sum(a);
  if (p > 1) return dispatch(root, [sum(a.pow(p))], p);
  // The power of 0 is left out of the graph, because its derivative is infinite.
  const zero = a.detach().eq(0);
  const powers = a.add(zero).pow(p);
  const total = sum(powers.add(p < 0 ? zero.div(zero.neg().add(1)) : zero.neg()));
  return p === 0 ? total : dispatch(root, [total], p);
}

type Keep = boolean | KeepdimOptions;

/** The methods. */
export const statistics = {
  var(this: Tensor, dim?: Dims, options?: boolean | SpreadOptions) {
    return spread('var', this, dim, options);
  },
  std(this: Tensor, dim?: Dims, options?: boolean | SpreadOptions) {
    return dispatch(root, [spread('std', this, dim, options)], 2);
  },
  prod(this: Tensor, dim?: Dims, keepdim?: Keep) {
    return product(this, reduction('prod', this, dim, keepdim));
  },
  norm(this: Tensor, p: number | 'fro' = 2, dim?: Dims, keepdim?: Keep) {
    return norm(this, p, reduction('norm', this, dim, keepdim));
  },
  logsumexp(this: Tensor, dim: Dims, keepdim?: Keep) {
    if (dim === undefined) fail('logsumexp', 'dim is undefined', 'pass a dimension, or several in an array');
    return dispatch(logsumexp, [this], reduction('logsumexp', this, dim, keepdim));
  },
} satisfies Partial<StatisticsMethods>;
