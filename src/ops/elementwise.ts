import type { Tensor } from '../tensor.js';
import { applyBinary, binaryRows, compareRows, unaryRows } from './families.js';
import type { BinaryRow, CompareRow, UnaryRow } from './row.js';

export interface UnaryMethods {
  /** -x, element by element. Derivative -1. */
  neg(): Tensor;
  /** e^x, element by element. Derivative y. */
  exp(): Tensor;
  /** Natural logarithm, element by element; -Infinity at 0, NaN below. Derivative 1 / x. */
  log(): Tensor;
  /** Square root, element by element; NaN below 0. Derivative 1 / (2 y). */
  sqrt(): Tensor;
  /** Absolute value, element by element. Derivative the sign of x, 0 at 0. */
  abs(): Tensor;
  /** max(x, 0), element by element. Derivative 1 above 0, else 0. */
  relu(): Tensor;
  /** The logistic function 1 / (1 + e^-x), element by element. Derivative y (1 - y). */
  sigmoid(): Tensor;
  /** Hyperbolic tangent, element by element. Derivative 1 - y². */
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
    saves: 'output',
    grad: (g, _, y) => g.mul(y),
  },
  log: {
    f: Math.log,
    gpu: 'logOf(x)',
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
    saves: 'output',
    grad: (g, _, y) => g.mul(y.mul(y.neg().add(1))),
  },
  tanh: {
    f: Math.tanh,
    gpu: 'tanhOf(x)',
    saves: 'output',
    grad: (g, _, y) => g.mul(y.mul(y).neg().add(1)),
  },
} satisfies Record<keyof UnaryMethods, UnaryRow>);

export interface BinaryMethods {
  /** a + b, element by element under broadcasting. Derivatives 1 and 1. @throws TapegradError for shapes that do not go together */
  add(other: Tensor | number): Tensor;
  /** a - b, element by element under broadcasting. Derivatives 1 and -1. @throws TapegradError for shapes that do not go together */
  sub(other: Tensor | number): Tensor;
  /** a b, element by element under broadcasting. Derivatives b and a. @throws TapegradError for shapes that do not go together */
  mul(other: Tensor | number): Tensor;
  /** a / b, element by element under broadcasting. Derivatives 1 / b and -y / b. @throws TapegradError for shapes that do not go together */
  div(other: Tensor | number): Tensor;
  /** a^b, element by element under broadcasting; NaN for a negative a with a fractional b. Derivatives b a^(b-1) and y ln a (0 where a is 0). @throws TapegradError for shapes that do not go together */
  pow(other: Tensor | number): Tensor;
  /** The larger of a and b under broadcasting; NaN if one is NaN. The gradient goes to the larger, halved between equals. @throws TapegradError for shapes that do not go together */
  maximum(other: Tensor | number): Tensor;
  /** The smaller of a and b under broadcasting; NaN if one is NaN. The gradient goes to the smaller, halved between equals. @throws TapegradError for shapes that do not go together */
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
    // a^0 has the gradient 0 even where a^-1 is infinite, and 0^b does not move with b > 0, although ln 0 is infinite.
    gradA: (g, a, b) => g.mul(b).mul(a.pow(b.sub(1).mul(b.detach().eq(0).neg().add(1)))),
    gradB: (g, a, _, y) => g.mul(y).mul(a.add(a.detach().eq(0)).log()),
  },
  maximum: {
    f: Math.max,
    gpu: 'b > a ? b : a === a ? (b === b ? a : b) : a',
    saves: 'inputs',
    gradA: (g, a, b) => g.mul(wins(a, b, 'gt')),
    gradB: (g, a, b) => g.mul(wins(b, a, 'gt')),
  },
  minimum: {
    f: Math.min,
    gpu: 'b < a ? b : a === a ? (b === b ? a : b) : a',
    saves: 'inputs',
    gradA: (g, a, b) => g.mul(wins(a, b, 'lt')),
    gradB: (g, a, b) => g.mul(wins(b, a, 'lt')),
  },
} satisfies Record<keyof BinaryMethods, BinaryRow>);

/** Parts of gradients that are worth a kernel of their own. */
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

/** 1 where a wins against b, 1/2 where they are equal, 0 elsewhere; a constant. */
function wins(a: Tensor, b: Tensor, how: 'gt' | 'lt'): Tensor {
  const [x, y] = [a.detach(), b.detach()];
  return x[how](y).add(x.eq(y).mul(0.5));
}

export interface CompareMethods {
  /** 1 where a = b, else 0, under broadcasting. A constant: no gradient reaches it. @throws TapegradError for shapes that do not go together */
  eq(other: Tensor | number): Tensor;
  /** 1 where a > b, else 0, under broadcasting. A constant: no gradient reaches it. @throws TapegradError for shapes that do not go together */
  gt(other: Tensor | number): Tensor;
  /** 1 where a < b, else 0, under broadcasting. A constant: no gradient reaches it. @throws TapegradError for shapes that do not go together */
  lt(other: Tensor | number): Tensor;
}

export const compare = /* @__PURE__ */ compareRows({
  eq: { f: (a, b) => (a === b ? 1 : 0), gpu: 'a === b ? 1 : 0', differentiable: false },
  gt: { f: (a, b) => (a > b ? 1 : 0), gpu: 'a > b ? 1 : 0', differentiable: false },
  lt: { f: (a, b) => (a < b ? 1 : 0), gpu: 'a < b ? 1 : 0', differentiable: false },
} satisfies Record<keyof CompareMethods, CompareRow>);
