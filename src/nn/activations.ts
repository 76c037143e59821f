import { checkNumber, checkOptions } from '../errors.js';
import { Tensor } from '../methods.js';
import type { GeluOptions } from '../ops/activations.js';
import { checkTensors } from '../ops/dispatch.js';
import { where } from '../ops/masks.js';

// Activation functions. Those with a corner choose between its sides, so that the gradient at the corner is that of PyTorch.

/** Options of softplus. */
export interface SoftplusOptions {
  /** The sharpness of the corner. Default 1. */
  beta?: number;
  /** Where beta x is above it, the result is x. Default 20. */
  threshold?: number;
}

/** Requires a tensor of this copy of the library; other objects with a method of the same name are refused. */
function checked(op: string, x: Tensor): Tensor {
  if (!(x instanceof Tensor)) checkTensors(op, [x]);
  return x;
}

/**
 * The Gaussian error linear unit, x Φ(x), elementwise; see `Tensor.gelu`. Same as [torch.nn.functional.gelu](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gelu.html).
 *
 * @param x input of any shape
 * @param options `approximate`: 'tanh' for the approximation by tanh
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor, and for unknown options
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.gelu(tensor([0, 10])).toArraySync()); // [0, 10]
 * ```
 */
export function gelu(x: Tensor, options?: GeluOptions): Tensor {
  return checked('gelu', x).gelu(options);
}

/**
 * The sigmoid linear unit, x / (1 + e^-x), elementwise; see `Tensor.silu`. Same as [torch.nn.functional.silu](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.silu.html).
 *
 * @param x input of any shape
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.silu(tensor([0])).toArraySync()); // [0]
 * ```
 */
export function silu(x: Tensor): Tensor {
  return checked('silu', x).silu();
}

/**
 * x tanh(softplus(x)), elementwise (Misra, Mish: A Self Regularized Non-Monotonic Activation Function, 2019). Same as [torch.nn.functional.mish](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mish.html).
 *
 * @param x input of any shape
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.mish(tensor([0])).toArraySync()); // [0]
 * ```
 */
export function mish(x: Tensor): Tensor {
  return checked('mish', x).mul(x.softplus().tanh());
}

/**
 * x where x > 0, else slope x, elementwise. Same as [torch.nn.functional.leaky_relu](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.leaky_relu.html).
 *
 * @param x input of any shape
 * @param slope the slope below 0. Default 0.01
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor, and for a slope that is not a finite number
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.leakyRelu(tensor([-2, 2]), 0.5).toArraySync()); // [-1, 2]
 * ```
 */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  const factor = checkNumber('leakyRelu', 'slope', slope);
  return where(checked('leakyRelu', x).gt(0), x, x.mul(factor));
}

/**
 * x where x > 0, else alpha (e^x - 1), elementwise (Clevert et al., Fast and Accurate Deep Network Learning by Exponential Linear Units, 2015). Same as [torch.nn.functional.elu](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.elu.html).
 *
 * @param x input of any shape
 * @param alpha what the function tends to below, with the other sign. Default 1
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor, and for an alpha that is not a finite number
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.elu(tensor([-100, 2])).toArraySync()); // [-1, 2]
 * ```
 */
export function elu(x: Tensor, alpha = 1): Tensor {
  const factor = checkNumber('elu', 'alpha', alpha);
  // Without the bound the exponential of what is not chosen could be infinite, and its gradient NaN.
  return where(checked('elu', x).gt(0), x, x.clamp(null, 0).expm1().mul(factor));
}

/**
 * min(max(x, 0), 6), elementwise. The gradient is 0 at 0 and at 6. Same as [torch.nn.functional.relu6](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.relu6.html).
 *
 * @param x input of any shape
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.relu6(tensor([-1, 3, 9])).toArraySync()); // [0, 3, 6]
 * ```
 */
export function relu6(x: Tensor): Tensor {
  return where(checked('relu6', x).ge(6), 6, x.relu());
}

/**
 * ln(1 + e^(beta x)) / beta, elementwise, a smooth relu. Same as [torch.nn.functional.softplus](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softplus.html).
 *
 * @param x input of any shape
 * @param options `beta` and `threshold`
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor, for unknown options, and for options that are not finite numbers
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.softplus(tensor([0, 100])).select(0, 1).itemSync()); // 100
 * ```
 */
export function softplus(x: Tensor, options: SoftplusOptions = {}): Tensor {
  checkOptions('softplus', options, ['beta', 'threshold']);
  const beta = checkNumber('softplus', 'beta', options.beta ?? 1);
  const threshold = checkNumber('softplus', 'threshold', options.threshold ?? 20);
  checked('softplus', x);
  // Above 20 the method gives x as well.
  if (beta === 1 && threshold === 20) return x.softplus();
  const scaled = x.mul(beta);
  return where(scaled.gt(threshold), x, scaled.softplus().div(beta));
}
