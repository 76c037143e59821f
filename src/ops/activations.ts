import { functions as library } from '../backends/cpu/generated/functions.js';
import { checkChoice, checkOptions } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { dispatch } from './dispatch.js';
import { unary } from './elementwise.js';
import { applyBinary, binaryRows, unaryRows } from './families.js';
import { erf } from './functions.js';
import type { BinaryRow, UnaryRow } from './row.js';

/** Options of gelu. */
export interface GeluOptions {
  /** 'none' for the exact function, 'tanh' for its approximation. Default 'none'. */
  approximate?: 'none' | 'tanh';
}

/** Activation functions of one tensor. */
export interface ActivationMethods {
  /**
   * The Gaussian error linear unit x Φ(x), where Φ is the distribution function of the normal distribution, element by
   * element. Derivative Φ(x) + x φ(x). As torch.nn.functional.gelu. Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
   * @param options `approximate`: 'tanh' for x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))
   * @returns a tensor of the same shape; NaN where x is -Infinity
   * @throws TapegradError for unknown options
   */
  gelu(options?: GeluOptions): Tensor;
  /**
   * The sigmoid linear unit x / (1 + e^-x), element by element. With σ = sigmoid(x), derivative σ (1 + x (1 - σ)). As
   * torch.nn.functional.silu.
   * @returns a tensor of the same shape; NaN where x is -Infinity
   */
  silu(): Tensor;
  /**
   * ln(1 + e^x), element by element, without overflow. Derivative sigmoid(x). As torch.nn.functional.softplus.
   * @returns a tensor of the same shape
   */
  softplus(): Tensor;
}

const ROOT_HALF = Math.SQRT1_2;
/** 1 / √(2π). */
const DENSITY = 0.3989422804014327;

/** The distribution function of the normal distribution; a continued fraction for its lower tail, A&S 26.2.14. */
function phi(x: number): number {
  if (x > -2) return 0.5 + 0.5 * erf(x * ROOT_HALF);
  let rest = 0;
  for (let k = 90; k > 0; k--) rest = k / (rest - x);
  return (DENSITY * Math.exp((-x * x) / 2)) / (rest - x);
}

const logistic = unary.sigmoid.f;
/** tanh(u) of the approximation is 2 sigmoid(2 u) - 1, and this is 2 u. */
const A = 1.5957691216057308;
const B = 0.044715;

export const activations = /* @__PURE__ */ unaryRows({
  gelu: {
    f: (x) => x * phi(x),
    gpu: 'x * phiOf(x)',
    cost: 2,
    library,
    saves: 'inputs',
    grad: (g, x) => geluGrad(g, x),
  },
  silu: {
    f: (x) => x * logistic(x),
    gpu: 'x >= 0 ? x / (1 + expOf(-x)) : x * (expOf(x) / (1 + expOf(x)))',
    cost: 1.5,
    library,
    saves: 'inputs',
    grad: (g, x) => siluGrad(g, x),
  },
  softplus: {
    f: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    gpu: 'softplusOf(x)',
    cost: 3,
    library,
    saves: 'inputs',
    grad: (g, x) => g.mul(x.sigmoid()),
  },
} satisfies Record<keyof ActivationMethods, UnaryRow>);

/** Activation functions that are not methods. */
export const approximations = /* @__PURE__ */ unaryRows({
  geluTanh: {
    f: (x) => x * logistic(A * (x + B * x * x * x)),
    gpu: `x / (1 + expOf(-${A} * (x + ${B} * x * x * x)))`,
    cost: 1.5,
    library,
    saves: 'inputs',
    grad: (g, x) => geluTanhGrad(g, x),
  },
} satisfies Record<string, UnaryRow>);

/** g f'(x), for speed; the derivatives of these are compositions. */
export const activationGradients = /* @__PURE__ */ binaryRows({
  geluGrad: {
    f: (g, x) => g * (phi(x) + x * DENSITY * Math.exp((-x * x) / 2)),
    gpu: `a * (phiOf(b) + b * ${DENSITY} * expOf(-0.5 * b * b))`,
    library,
    saves: 'inputs',
    gradA: (h, _, x) => geluGrad(h, x),
    gradB: (h, g, x) => {
      const z = x.square();
      return h.mul(g).mul(z.mul(-0.5).exp().mul(z.sub(2).mul(-DENSITY)));
    },
  },
  siluGrad: {
    f: (g, x) => g * slope(logistic(x), x, 1),
    gpu: 'a * slopeOf(b, b, 1)',
    library,
    saves: 'inputs',
    gradA: (h, _, x) => siluGrad(h, x),
    gradB: (h, g, x) => {
      // σ' (2 + x (1 - 2 σ))
      const s = x.sigmoid();
      return h
        .mul(g)
        .mul(s.sub(s.square()))
        .mul(x.sub(x.mul(s).mul(2)).add(2));
    },
  },
  geluTanhGrad: {
    f: (g, x) => g * slope(logistic(A * (x + B * x * x * x)), x, A * (1 + 3 * B * x * x)),
    gpu: `a * slopeOf(${A} * (b + ${B} * b * b * b), b, ${A} * (1 + ${3 * B} * b * b))`,
    library,
    saves: 'inputs',
    gradA: (h, _, x) => geluTanhGrad(h, x),
    gradB: (h, g, x) => {
      // With u of the logistic function: σ' (2 u' + x u'' + x u'² (1 - 2 σ)), where x u'' = 6 A B x².
      const z = x.square();
      const s = x.mul(z.mul(B).add(1)).mul(A).sigmoid();
      const du = z
        .mul(3 * B)
        .add(1)
        .mul(A);
      const bend = x.mul(du.square()).mul(s.mul(-2).add(1));
      return h
        .mul(g)
        .mul(s.sub(s.square()))
        .mul(
          du
            .mul(2)
            .add(z.mul(6 * A * B))
            .add(bend),
        );
    },
  },
} satisfies Record<string, BinaryRow>);

function geluGrad(g: Tensor, x: Tensor): Tensor {
  return applyBinary(activationGradients.geluGrad, g, x);
}

function siluGrad(g: Tensor, x: Tensor): Tensor {
  return applyBinary(activationGradients.siluGrad, g, x);
}

function geluTanhGrad(g: Tensor, x: Tensor): Tensor {
  return applyBinary(activationGradients.geluTanhGrad, g, x);
}

/** The derivative of x σ(u), where s is σ(u) and du the derivative of u. */
function slope(s: number, x: number, du: number): number {
  return s * (1 + x * du * (1 - s));
}

export function applyGelu(x: Tensor, options?: GeluOptions): Tensor {
  checkOptions('gelu', options, ['approximate']);
  const how = checkChoice('gelu', 'approximate', options?.approximate ?? 'none', ['none', 'tanh']);
  return dispatch(how === 'tanh' ? approximations.geluTanh : activations.gelu, [x], null);
}
