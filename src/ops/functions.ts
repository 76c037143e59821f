import { functions as library } from '../backends/cpu/generated/functions.js';
import { Layout } from '../layout.js';
import { Tensor } from '../tensor.js';
import { unaryRows } from './families.js';
import type { UnaryRow } from './row.js';

/** Further element-wise functions of one tensor. */
export interface FunctionMethods {
  /**
   * The sine of x in radians, element by element. Derivative cos x. As torch.sin.
   * @returns a tensor of the same shape; NaN where x is infinite
   */
  sin(): Tensor;
  /**
   * The cosine of x in radians, element by element. Derivative -sin x. As torch.cos.
   * @returns a tensor of the same shape; NaN where x is infinite
   */
  cos(): Tensor;
  /**
   * The error function, 2/√π ∫ e^-t² dt from 0 to x, element by element. Derivative 2/√π e^-x². As torch.erf.
   * @returns a tensor of the same shape
   */
  erf(): Tensor;
  /**
   * The largest integer that is not above x, element by element. Derivative 0. As torch.floor.
   * @returns a tensor of the same shape
   */
  floor(): Tensor;
  /**
   * The smallest integer that is not below x, element by element. Derivative 0. As torch.ceil.
   * @returns a tensor of the same shape
   */
  ceil(): Tensor;
  /**
   * The nearest integer, element by element; the even one where two are as near. Derivative 0. As torch.round.
   * @returns a tensor of the same shape
   */
  round(): Tensor;
  /**
   * 1 where x > 0, -1 where x < 0, else 0, also for NaN, element by element. Derivative 0. As torch.sign.
   * @returns a tensor of the same shape
   */
  sign(): Tensor;
  /**
   * x², element by element. Derivative 2 x. As torch.square.
   * @returns a tensor of the same shape
   */
  square(): Tensor;
  /**
   * y = 1 / √x, element by element. Derivative -y³ / 2. As torch.rsqrt.
   * @returns a tensor of the same shape; Infinity where x is 0, NaN where it is negative
   */
  rsqrt(): Tensor;
  /**
   * ln(1 + x), element by element, with all digits where x is near 0. Derivative 1 / (1 + x). As torch.log1p.
   * @returns a tensor of the same shape; -Infinity where x is -1, NaN where it is less
   */
  log1p(): Tensor;
  /**
   * y = e^x - 1, element by element, with all digits where x is near 0. Derivative y + 1. As torch.expm1.
   * @returns a tensor of the same shape
   */
  expm1(): Tensor;
}

/** Of a function that is constant between its steps. */
const flat = (g: Tensor): Tensor => new Tensor(Layout.rowMajor(g.dims), g.backend.fill(g.size, 0));

export const functions = /* @__PURE__ */ unaryRows({
  sin: {
    f: Math.sin,
    gpu: 'sinOf(x)',
    cost: 2,
    library,
    saves: 'inputs',
    grad: (g, x) => g.mul(x.cos()),
  },
  cos: {
    f: Math.cos,
    gpu: 'cosOf(x)',
    cost: 2,
    library,
    saves: 'inputs',
    grad: (g, x) => g.mul(x.sin()).neg(),
  },
  erf: {
    f: erf,
    gpu: 'erfOf(x)',
    cost: 2,
    library,
    saves: 'inputs',
    grad: (g, x) => g.mul(x.square().neg().exp().mul(TWO_BY_ROOT_PI)),
  },
  floor: { f: Math.floor, gpu: 'Math.floor(x)', library, saves: 'nothing', grad: flat },
  ceil: { f: Math.ceil, gpu: 'Math.ceil(x)', library, saves: 'nothing', grad: flat },
  round: {
    f: (x) => {
      const up = Math.round(x);
      return up - x === 0.5 && up % 2 ? up - 1 : up;
    },
    gpu: 'roundOf(x)',
    library,
    saves: 'nothing',
    grad: flat,
  },
  sign: {
    f: (x) => (x > 0 ? 1 : x < 0 ? -1 : 0),
    gpu: 'x > 0 ? 1 : x < 0 ? -1 : 0',
    library,
    saves: 'nothing',
    grad: flat,
  },
  square: { f: (x) => x * x, gpu: 'x * x', library, saves: 'inputs', grad: (g, x) => g.mul(x.mul(2)) },
  rsqrt: {
    f: (x) => 1 / Math.sqrt(x),
    gpu: '1 / Math.sqrt(x)',
    library,
    saves: 'output',
    grad: (g, _, y) => g.mul(y.mul(y).mul(y).mul(-0.5)),
  },
  log1p: {
    f: Math.log1p,
    gpu: 'log1pOf(x)',
    cost: 2,
    library,
    saves: 'inputs',
    grad: (g, x) => g.div(x.add(1)),
  },
  expm1: {
    f: Math.expm1,
    gpu: 'expm1Of(x)',
    cost: 1.2,
    library,
    saves: 'output',
    grad: (g, _, y) => g.mul(y.add(1)),
  },
} satisfies Record<keyof FunctionMethods, UnaryRow>);

/** 2 / √π. */
export const TWO_BY_ROOT_PI = 1.1283791670955126;

/**
 * The error function in double precision: 2/√π e^-x² Σ 2^n x^(2n+1) / (1·3·5…(2n+1)), whose terms have one sign, so that
 * nothing cancels. Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.6.
 */
export function erf(x: number): number {
  if (!(Math.abs(x) < 6)) return Math.sign(x);
  let sum = x;
  for (let n = 1, term = x; Math.abs(term) > 1e-17 * Math.abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return TWO_BY_ROOT_PI * Math.exp(-x * x) * sum;
}
