import { functions as library } from '../backends/cpu/generated/functions.js';
import type { Tensor } from '../tensor.js';
import { applyBinary, binaryRows, compareRows, unaryRows } from './families.js';
import type { BinaryRow, CompareRow, UnaryRow } from './row.js';

/** Element-wise functions of one tensor. */
export interface UnaryMethods {
  /**
   * -x, element by element. Derivative -1. As torch.neg.
   * @returns a tensor of the same shape
   */
  neg(): Tensor;
  /**
   * y = e^x, element by element. Derivative y. As torch.exp.
   * @returns a tensor of the same shape
   */
  exp(): Tensor;
  /**
   * The natural logarithm, element by element. Derivative 1 / x. As torch.log.
   * @returns a tensor of the same shape; -Infinity where x is 0, NaN where it is negative
   */
  log(): Tensor;
  /**
   * The square root y, element by element. Derivative 1 / (2 y). As torch.sqrt.
   * @returns a tensor of the same shape; NaN where x is negative
   */
  sqrt(): Tensor;
  /**
   * The absolute value, element by element. Derivative: the sign of x, 0 at 0. As torch.abs.
   * @returns a tensor of the same shape
   */
  abs(): Tensor;
  /**
   * max(x, 0), element by element. Derivative 1 where x > 0, else 0. As torch.relu.
   * @returns a tensor of the same shape; NaN where x is NaN
   */
  relu(): Tensor;
  /**
   * The logistic function y = 1 / (1 + e^-x), element by element. Derivative y (1 - y). As torch.sigmoid.
   * @returns a tensor of the same shape
   */
  sigmoid(): Tensor;
  /**
   * The hyperbolic tangent y, element by element. Derivative 1 - y². As torch.tanh.
   * @returns a tensor of the same shape
   */
  tanh(): Tensor;
}

export const unary = /* @__PURE__ */ unaryRows({
  neg: {
    f: (x) => -x,
    gpu: '-x',
    saves: 'nothing',
    grad: (g) => g.neg(),
  },
  exp: {
    f: Math.exp,
    gpu: 'expOf(x)',
    cost: 1,
    saves: 'output',
    grad: (g, _, y) => g.mul(y),
  },
  log: {
    f: Math.log,
    gpu: 'logOf(x)',
    cost: 1.5,
    saves: 'inputs',
    grad: (g, x) => g.div(x),
  },
  sqrt: {
    f: Math.sqrt,
    gpu: 'Math.sqrt(x)',
    saves: 'output',
    grad: (g, _, y) => g.div(y.mul(2)),
  },
  abs: {
    f: Math.abs,
    gpu: 'Math.abs(x)',
    saves: 'inputs',
    grad: (g, x) => g.mul(x.detach().gt(0).sub(x.detach().lt(0))),
  },
  relu: {
    f: (x) => (x < 0 ? 0 : x),
    gpu: 'x < 0 ? 0 : x',
    saves: 'output',
    grad: (g, _, y) => reluGrad(g, y),
  },
  sigmoid: {
    f: (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))),
    gpu: 'x >= 0 ? 1 / (1 + expOf(-x)) : expOf(x) / (1 + expOf(x))',
    cost: 1.5,
    saves: 'output',
    grad: (g, _, y) => g.mul(y.mul(y.neg().add(1))),
  },
  tanh: {
    f: Math.tanh,
    gpu: 'tanhOf(x)',
    cost: 2,
    saves: 'output',
    grad: (g, _, y) => g.mul(y.mul(y).neg().add(1)),
  },
} satisfies Record<keyof UnaryMethods, UnaryRow>);

/** Element-wise functions of two tensors a and b; shapes broadcast as in NumPy. */
export interface BinaryMethods {
  /**
   * a + b, element by element. Derivatives 1 and 1. As torch.add.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  add(other: Tensor | number): Tensor;
  /**
   * a - b, element by element. Derivatives 1 and -1. As torch.sub.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  sub(other: Tensor | number): Tensor;
  /**
   * a b, element by element. Derivatives b and a. As torch.mul.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  mul(other: Tensor | number): Tensor;
  /**
   * y = a / b, element by element. Derivatives 1 / b and -y / b. As torch.div.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  div(other: Tensor | number): Tensor;
  /**
   * y = a^b, element by element. Derivatives b a^(b-1) and y ln a (0 where a is 0). As torch.pow.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape; NaN for a negative a with a b that is not an integer
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  pow(other: Tensor | number): Tensor;
  /**
   * The larger of a and b, element by element. The derivative is 1 for the larger, 1/2 for both where they are equal.
   * As torch.maximum.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape; NaN where a or b is NaN
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  maximum(other: Tensor | number): Tensor;
  /**
   * The smaller of a and b, element by element. The derivative is 1 for the smaller, 1/2 for both where they are equal.
   * As torch.minimum.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape; NaN where a or b is NaN
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  minimum(other: Tensor | number): Tensor;
}

export const binary = /* @__PURE__ */ binaryRows({
  add: {
    f: (a, b) => a + b,
    gpu: 'a + b',
    saves: 'nothing',
    gradA: (g) => g,
    gradB: (g) => g,
  },
  sub: {
    f: (a, b) => a - b,
    gpu: 'a - b',
    saves: 'nothing',
    gradA: (g) => g,
    gradB: (g) => g.neg(),
  },
  mul: {
    f: (a, b) => a * b,
    gpu: 'a * b',
    saves: 'inputs',
    gradA: (g, _, b) => g.mul(b),
    gradB: (g, a) => g.mul(a),
  },
  div: {
    f: (a, b) => a / b,
    gpu: 'a / b',
    saves: 'both',
    gradA: (g, _, b) => g.div(b),
    gradB: (g, _, b, y) => g.mul(y).div(b).neg(),
  },
  pow: {
    f: (a, b) => (a === 1 || b === 0 ? 1 : a === -1 && Math.abs(b) === Infinity ? 1 : a ** b),
    gpu: 'powOf(a, b)',
    saves: 'both',
    // The gradient of a^0 is 0, although a^-1 may be infinite; that of 0^b with respect to b > 0 is 0, although ln 0 is infinite.
    gradA: (g, a, b) => g.mul(b).mul(a.pow(b.sub(1).mul(b.detach().eq(0).neg().add(1)))),
    gradB: (g, a, _, y) => g.mul(y).mul(a.add(a.detach().eq(0)).log()),
  },
  maximum: {
    f: Math.max,
    gpu: 'b > a ? b : a === a ? (b === b ? a : b) : a',
    saves: 'inputs',
    gradA: (g, a, b) => g.mul(share(a, b, 'gt')),
    gradB: (g, a, b) => g.mul(share(b, a, 'gt')),
  },
  minimum: {
    f: Math.min,
    gpu: 'b < a ? b : a === a ? (b === b ? a : b) : a',
    saves: 'inputs',
    gradA: (g, a, b) => g.mul(share(a, b, 'lt')),
    gradB: (g, a, b) => g.mul(share(b, a, 'lt')),
  },
} satisfies Record<keyof BinaryMethods, BinaryRow>);

/** Parts of gradients that have kernels of their own, for speed. */
export const gradients = /* @__PURE__ */ binaryRows({
  /** a where b > 0 or is NaN, else 0: the gradient through relu for its result b, a constant. */
  reluGrad: {
    f: (a, b) => (b <= 0 ? 0 : a),
    gpu: 'b <= 0 ? 0 : a',
    saves: 'inputs',
    gradA: (g, _, b) => reluGrad(g, b),
    gradB: (_, __, b) => b.detach().mul(0),
  },
} satisfies Record<string, BinaryRow>);

/** The gradient through relu, which is 0 where its result is. */
export function reluGrad(g: Tensor, y: Tensor): Tensor {
  return applyBinary(gradients.reluGrad, g, y.detach());
}

/** 1 where a is larger than b ('gt') or smaller ('lt'), 1/2 where they are equal, else 0; a constant. */
function share(a: Tensor, b: Tensor, how: 'gt' | 'lt'): Tensor {
  const [x, y] = [a.detach(), b.detach()];
  return x[how](y).add(x.eq(y).mul(0.5));
}

/** Element-wise comparisons of two tensors a and b; shapes broadcast. The results are constants: they have no gradient. */
export interface CompareMethods {
  /**
   * 1 where a = b, else 0, element by element. As torch.eq.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape, without a gradient
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  eq(other: Tensor | number): Tensor;
  /**
   * 1 where a > b, else 0, element by element. As torch.gt.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape, without a gradient
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  gt(other: Tensor | number): Tensor;
  /**
   * 1 where a < b, else 0, element by element. As torch.lt.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape, without a gradient
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  lt(other: Tensor | number): Tensor;
  /**
   * 1 where a >= b, else 0, element by element.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape, without a gradient
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  ge(other: Tensor | number): Tensor;
  /**
   * 1 where a <= b, else 0, element by element.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape, without a gradient
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  le(other: Tensor | number): Tensor;
  /**
   * 1 where a is not b, else 0, element by element. NaN is not equal to NaN.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape, without a gradient
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  ne(other: Tensor | number): Tensor;
}

export const compare = /* @__PURE__ */ compareRows({
  eq: { f: (a, b) => (a === b ? 1 : 0), gpu: 'a === b ? 1 : 0', differentiable: false },
  gt: { f: (a, b) => (a > b ? 1 : 0), gpu: 'a > b ? 1 : 0', differentiable: false },
  lt: { f: (a, b) => (a < b ? 1 : 0), gpu: 'a < b ? 1 : 0', differentiable: false },
  ge: { f: (a, b) => (a >= b ? 1 : 0), gpu: 'a >= b ? 1 : 0', differentiable: false, library },
  le: { f: (a, b) => (a <= b ? 1 : 0), gpu: 'a <= b ? 1 : 0', differentiable: false, library },
  ne: { f: (a, b) => (a !== b ? 1 : 0), gpu: 'a === b ? 0 : 1', differentiable: false, library },
} satisfies Record<keyof CompareMethods, CompareRow>);
