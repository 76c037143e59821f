import { checkChoice, checkInteger, checkNumber, checkOptions } from '../errors.js';
import type { Tensor } from '../methods.js';
import type { GeluOptions } from '../ops/activations.js';
import { elu, gelu, leakyRelu, mish, relu6, type SoftplusOptions, silu, softplus } from './activations.js';
import { logSoftmax, softmax } from './functional.js';
import { Module } from './module.js';

// Activation functions as layers. Their functions are in activations.ts.

/**
 * The Gaussian error linear unit, elementwise; see `Tensor.gelu`. Same as
 * [torch.nn.GELU](https://docs.pytorch.org/docs/stable/generated/torch.nn.GELU.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.GELU().forward(tensor([-1, 0, 2]))));
 * ```
 */
export class GELU extends Module {
  /** Whether an approximation is computed: 'none' or 'tanh'. */
  readonly approximate: 'none' | 'tanh';

  /**
   * @param options `approximate`: 'none' (default) for the exact function, 'tanh' for its approximation
   * @throws TapegradError for unknown options
   */
  constructor(options: GeluOptions = {}) {
    super();
    checkOptions('GELU', options, ['approximate']);
    this.approximate = checkChoice('GELU', 'approximate', options.approximate ?? 'none', ['none', 'tanh']);
  }

  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   */
  override forward(x: Tensor): Tensor {
    return gelu(x, { approximate: this.approximate });
  }

  protected override extraRepr(): string {
    return `approximate='${this.approximate}'`;
  }
}

/**
 * The sigmoid linear unit x / (1 + e^-x), elementwise; see `Tensor.silu`. Same as
 * [torch.nn.SiLU](https://docs.pytorch.org/docs/stable/generated/torch.nn.SiLU.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.SiLU().forward(tensor([-1, 0, 2]))));
 * ```
 */
export class SiLU extends Module {
  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   */
  override forward(x: Tensor): Tensor {
    return silu(x);
  }
}

/**
 * x tanh(ln(1 + e^x)), elementwise; see {@link functional.mish}. Same as
 * [torch.nn.Mish](https://docs.pytorch.org/docs/stable/generated/torch.nn.Mish.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.Mish().forward(tensor([-1, 0, 2]))));
 * ```
 */
export class Mish extends Module {
  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   */
  override forward(x: Tensor): Tensor {
    return mish(x);
  }
}

/**
 * x for positive elements, slope x for others; see {@link functional.leakyRelu}. Same as
 * [torch.nn.LeakyReLU](https://docs.pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.LeakyReLU(0.1).forward(tensor([-1, 0, 2]))));
 * ```
 */
export class LeakyReLU extends Module {
  /**
   * @param slope the factor of negative elements. Default 0.01
   * @throws TapegradError for a number that is not finite
   */
  constructor(
    /** The factor of negative elements. */
    readonly slope = 0.01,
  ) {
    super();
    checkNumber('LeakyReLU', 'slope', slope);
  }

  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   */
  override forward(x: Tensor): Tensor {
    return leakyRelu(x, this.slope);
  }

  protected override extraRepr(): string {
    return `slope=${this.slope}`;
  }
}

/**
 * x for positive elements, alpha (e^x - 1) for others; see {@link functional.elu}. Same as
 * [torch.nn.ELU](https://docs.pytorch.org/docs/stable/generated/torch.nn.ELU.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.ELU().forward(tensor([-1, 0, 2]))));
 * ```
 */
export class ELU extends Module {
  /**
   * @param alpha the value at -Infinity, without its sign. Default 1
   * @throws TapegradError for a number that is not finite
   */
  constructor(
    /** The value at -Infinity, without its sign. */
    readonly alpha = 1,
  ) {
    super();
    checkNumber('ELU', 'alpha', alpha);
  }

  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   */
  override forward(x: Tensor): Tensor {
    return elu(x, this.alpha);
  }

  protected override extraRepr(): string {
    return `alpha=${this.alpha}`;
  }
}

/**
 * min(max(x, 0), 6), elementwise; see {@link functional.relu6}. Same as
 * [torch.nn.ReLU6](https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU6.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.ReLU6().forward(tensor([-1, 0, 2]))));
 * ```
 */
export class ReLU6 extends Module {
  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   */
  override forward(x: Tensor): Tensor {
    return relu6(x);
  }
}

/**
 * ln(1 + e^(beta x)) / beta, elementwise; see {@link functional.softplus}. Same as
 * [torch.nn.Softplus](https://docs.pytorch.org/docs/stable/generated/torch.nn.Softplus.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.Softplus().forward(tensor([-1, 0, 2]))));
 * ```
 */
export class Softplus extends Module {
  /** The sharpness of the corner. */
  readonly beta: number;
  /** Where beta x is above it, the result is x. */
  readonly threshold: number;

  /**
   * @param options `beta` (default 1): the sharpness of the corner; `threshold` (default 20): where beta x is above it, the
   *   result is x
   * @throws TapegradError for numbers that are not finite, and unknown options
   */
  constructor(options: SoftplusOptions = {}) {
    super();
    checkOptions('Softplus', options, ['beta', 'threshold']);
    this.beta = checkNumber('Softplus', 'beta', options.beta ?? 1);
    this.threshold = checkNumber('Softplus', 'threshold', options.threshold ?? 20);
  }

  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   */
  override forward(x: Tensor): Tensor {
    return softplus(x, { beta: this.beta, threshold: this.threshold });
  }

  protected override extraRepr(): string {
    return `beta=${this.beta}, threshold=${this.threshold}`;
  }
}

/**
 * The softmax along a dimension; see `Tensor.softmax`. Same as
 * [torch.nn.Softmax](https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.Softmax(0).forward(tensor([-1, 0, 2]))));
 * ```
 */
export class Softmax extends Module {
  /**
   * @param dim the dimension; negative values count from the end
   * @throws TapegradError for a dimension that is not an integer
   */
  constructor(
    /** The dimension. */
    readonly dim: number,
  ) {
    super();
    checkInteger('Softmax', 'dim', dim, -Infinity);
  }

  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   * @throws TapegradError for a dimension that does not exist
   */
  override forward(x: Tensor): Tensor {
    return softmax(x, this.dim);
  }

  protected override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/**
 * The logarithm of the softmax along a dimension; see `Tensor.logSoftmax`. Same as
 * [torch.nn.LogSoftmax](https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.LogSoftmax(0).forward(tensor([-1, 0, 2]))));
 * ```
 */
export class LogSoftmax extends Module {
  /**
   * @param dim the dimension; negative values count from the end
   * @throws TapegradError for a dimension that is not an integer
   */
  constructor(
    /** The dimension. */
    readonly dim: number,
  ) {
    super();
    checkInteger('LogSoftmax', 'dim', dim, -Infinity);
  }

  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   * @throws TapegradError for a dimension that does not exist
   */
  override forward(x: Tensor): Tensor {
    return logSoftmax(x, this.dim);
  }

  protected override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}
