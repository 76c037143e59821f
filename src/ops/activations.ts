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

/** x σ(u), where u = a (x + b x³): its row, and that of g times its derivative σ(u) (1 + x u' (1 - σ(u))). */
function unit(a: number, b: number, gradient: (g: Tensor, x: Tensor) => Tensor): [UnaryRow, BinaryRow] {
  // Without b nothing may be multiplied by it: x may be infinite.
  const u = (x: number) => (b ? a * (x + b * x * x * x) : x);
  const text = (x: string) => (b ? `${a} * (${x} + ${b} * ${x} * ${x} * ${x})` : x);
  const shared = { library, saves: 'inputs' } as const;
  return [
    { ...shared, f: (x) => x * logistic(u(x)), gpu: `x / (1 + expOf(-(${text('x')})))`, cost: 1.5, grad: gradient },
    {
      ...shared,
      f: (g, x) => {
        const s = logistic(u(x));
        return g * s * (1 + x * a * (1 + 3 * b * x * x) * (1 - s));
      },
      gpu: `a * slopeOf(${text('b')}, b, ${a} + ${3 * a * b} * b * b)`,
      gradA: (h, _, x) => gradient(h, x),
      gradB: (h, g, x) => {
        // σ(u) σ(-u) (2 u' + x u'' + x u'² (σ(-u) - σ(u)))
        const z = x.square();
        const v = x.mul(z.mul(b).add(1)).mul(a);
        const [s, rest] = [v.sigmoid(), v.neg().sigmoid()];
        const du = z.mul(3 * a * b).add(a);
        const bend = z.mul(6 * a * b).add(x.mul(du.square()).mul(rest.sub(s)));
        return h.mul(g).mul(s.mul(rest)).mul(du.mul(2).add(bend));
      },
    },
  ];
}

const [silu, siluGrad] = /* @__PURE__ */ unit(1, 0, (g, x) => applyBinary(activationGradients.siluGrad, g, x));
// tanh(w) is 2 σ(2 w) - 1, and u is 2 w.
const [geluTanh, geluTanhGrad] = /* @__PURE__ */ unit(1.5957691216057308, 0.044715, (g, x) =>
  applyBinary(activationGradients.geluTanhGrad, g, x),
);

export const activations = /* @__PURE__ */ unaryRows({
  gelu: {
    f: (x) => x * phi(x),
    gpu: 'x * phiOf(x)',
    cost: 2,
    library,
    saves: 'inputs',
    grad: geluGrad,
  },
  silu,
  softplus: {
    f: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    gpu: '(x > 0 ? x : 0) + log1pOf(expOf(x > 0 ? -x : x))',
    cost: 3,
    library,
    saves: 'inputs',
    grad: (g, x) => g.mul(x.sigmoid()),
  },
} satisfies Record<keyof ActivationMethods, UnaryRow>);

/** Activation functions that are not methods. */
export const approximations = /* @__PURE__ */ unaryRows({ geluTanh } satisfies Record<string, UnaryRow>);

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
  siluGrad,
  geluTanhGrad,
} satisfies Record<string, BinaryRow>);

function geluGrad(g: Tensor, x: Tensor): Tensor {
  return applyBinary(activationGradients.geluGrad, g, x);
}

export function applyGelu(x: Tensor, options?: GeluOptions): Tensor {
  checkOptions('gelu', options, ['approximate']);
  const how = checkChoice('gelu', 'approximate', options?.approximate ?? 'none', ['none', 'tanh']);
  return dispatch(how === 'tanh' ? approximations.geluTanh : activations.gelu, [x], null);
}
