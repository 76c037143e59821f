import { checkBoolean, checkChoice, checkNumber, checkOptions } from '../errors.js';
import type { Tensor } from '../methods.js';
import { checkTensors } from '../ops/dispatch.js';
import {
  type BCELossOptions,
  type BCEWithLogitsLossOptions,
  bceLoss,
  bceWithLogitsLoss,
} from './functions/binary-loss.js';
import { checkReduction, type LossOptions, type Reduction } from './functions/checks.js';
import {
  type HuberLossOptions,
  huberLoss,
  type KLDivOptions,
  klDiv,
  l1Loss,
  mseLoss,
  type SmoothL1LossOptions,
  smoothL1Loss,
} from './functions/loss.js';
import { Module } from './module.js';
import { Buffer } from './parameter.js';

/** The base of the losses. */
export abstract class Loss extends Module {
  /** @internal */
  protected readonly options: { readonly reduction: Reduction };

  /**
   * @param options the reduction
   * @param others the options that only this loss has
   * @throws TapegradError for unknown options and reductions
   */
  constructor(options: LossOptions = {}, others?: readonly string[]) {
    super();
    this.options = { reduction: checkReduction(new.target.name, options, others) };
  }

  /** How the losses of all elements are combined. */
  get reduction(): Reduction {
    return this.options.reduction;
  }

  /**
   * Computes the loss.
   *
   * @param prediction the model's output
   * @param target the targets
   * @returns the loss: a scalar, except for the reduction 'none'
   */
  abstract override forward(prediction: Tensor, target: Tensor): Tensor;
}

/** A tensor of factors as a buffer of a loss, or null. @internal */
export function factorOf(op: string, weight: Tensor | null | undefined): Buffer | null {
  if (weight === null || weight === undefined) return null;
  checkTensors(op, [weight]);
  return new Buffer(weight.detach());
}

/**
 * The mean squared error; see {@link functional.mseLoss}. Same as [torch.nn.MSELoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const criterion = new nn.MSELoss();
 * console.log(criterion.forward(tensor([1, 2]), tensor([1, 4])).itemSync());
 * ```
 */
export class MSELoss extends Loss {
  /**
   * Computes the loss.
   *
   * @param prediction predictions of any shape
   * @param target targets, same shape
   * @returns a scalar; with the reduction 'none' a tensor of the shape of the inputs
   * @throws TapegradError as functional.mseLoss
   */
  override forward(prediction: Tensor, target: Tensor): Tensor {
    return mseLoss(prediction, target, this.options);
  }
}

/**
 * The mean absolute error; see {@link functional.l1Loss}. Same as [torch.nn.L1Loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.L1Loss.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(new nn.L1Loss().forward(tensor([1, 2]), tensor([1, 4])).itemSync()); // 1
 * ```
 */
export class L1Loss extends Loss {
  /**
   * Computes the loss.
   *
   * @param prediction predictions of any shape
   * @param target targets, same shape
   * @returns a scalar; with the reduction 'none' a tensor of the shape of the inputs
   * @throws TapegradError as functional.l1Loss
   */
  override forward(prediction: Tensor, target: Tensor): Tensor {
    return l1Loss(prediction, target, this.options);
  }
}

/**
 * The squared error up to beta, and the absolute error beyond; see {@link functional.smoothL1Loss}. Same as [torch.nn.SmoothL1Loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.SmoothL1Loss.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(new nn.SmoothL1Loss().forward(tensor([0, 3]), tensor([1, 0])).itemSync()); // 1.5
 * ```
 */
export class SmoothL1Loss extends Loss {
  /** The absolute error from which the loss is linear. */
  readonly beta: number;

  /**
   * @param options `beta` (default 1) and the reduction
   * @throws TapegradError for a beta below 0, and unknown options
   */
  constructor(options: SmoothL1LossOptions = {}) {
    super(options, ['beta']);
    this.beta = checkNumber('SmoothL1Loss', 'beta', options.beta ?? 1, 0);
  }

  /**
   * Computes the loss.
   *
   * @param prediction predictions of any shape
   * @param target targets, same shape
   * @returns a scalar; with the reduction 'none' a tensor of the shape of the inputs
   * @throws TapegradError as functional.smoothL1Loss
   */
  override forward(prediction: Tensor, target: Tensor): Tensor {
    return smoothL1Loss(prediction, target, { ...this.options, beta: this.beta });
  }

  protected override extraRepr(): string {
    return `beta=${this.beta}`;
  }
}

/**
 * Half the squared error up to delta, and a line beyond; see {@link functional.huberLoss}. Same as [torch.nn.HuberLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(new nn.HuberLoss({ delta: 2 }).forward(tensor([0, 3]), tensor([1, 0])).itemSync()); // 2.25
 * ```
 */
export class HuberLoss extends Loss {
  /** The absolute error from which the loss is linear. */
  readonly delta: number;

  /**
   * @param options `delta` (default 1) and the reduction
   * @throws TapegradError for a delta that is not above 0, and unknown options
   */
  constructor(options: HuberLossOptions = {}) {
    super(options, ['delta']);
    this.delta = checkNumber('HuberLoss', 'delta', options.delta ?? 1, Number.MIN_VALUE);
  }

  /**
   * Computes the loss.
   *
   * @param prediction predictions of any shape
   * @param target targets, same shape
   * @returns a scalar; with the reduction 'none' a tensor of the shape of the inputs
   * @throws TapegradError as functional.huberLoss
   */
  override forward(prediction: Tensor, target: Tensor): Tensor {
    return huberLoss(prediction, target, { ...this.options, delta: this.delta });
  }

  protected override extraRepr(): string {
    return `delta=${this.delta}`;
  }
}

/**
 * The Kullback-Leibler divergence of log probabilities from a target; see {@link functional.klDiv}. Same as [torch.nn.KLDivLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const criterion = new nn.KLDivLoss({ reduction: 'batchmean' });
 * const [input, target] = [tensor([[0.5, 0.5]]).log(), tensor([[0.25, 0.75]])];
 * console.log(criterion.forward(input, target).itemSync().toFixed(4)); // 0.1308
 * ```
 */
export class KLDivLoss extends Module {
  /** How the losses of all elements are combined. */
  readonly reduction: Reduction | 'batchmean';
  /** Whether the target has logarithms. */
  readonly logTarget: boolean;

  /**
   * @param options the reduction (default 'mean'), and `logTarget` (default false): whether targets are logarithms, too
   * @throws TapegradError for unknown options and reductions
   */
  constructor(options: KLDivOptions = {}) {
    super();
    const op = 'KLDivLoss';
    checkOptions(op, options, ['reduction', 'logTarget']);
    this.reduction = checkChoice(op, 'reduction', options.reduction ?? 'mean', ['mean', 'sum', 'none', 'batchmean']);
    this.logTarget = checkBoolean(op, 'logTarget', options.logTarget ?? false);
  }

  /**
   * Computes the loss.
   *
   * @param input logarithms of probabilities, any shape
   * @param target probabilities, or with `logTarget` their logarithms, same shape
   * @returns a scalar; with the reduction 'none' a tensor of the shape of the inputs
   * @throws TapegradError as functional.klDiv
   */
  override forward(input: Tensor, target: Tensor): Tensor {
    return klDiv(input, target, { reduction: this.reduction, logTarget: this.logTarget });
  }

  protected override extraRepr(): string {
    return `logTarget=${this.logTarget}`;
  }
}

/**
 * The binary cross-entropy of probabilities; see {@link functional.bceLoss}. Same as [torch.nn.BCELoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const criterion = new nn.BCELoss();
 * console.log(criterion.forward(tensor([0.9, 0.2]), tensor([1, 0])).itemSync());
 * ```
 */
export class BCELoss extends Loss {
  /** The factor for each loss, a buffer; or null. */
  readonly weight: Buffer | null;

  /**
   * @param options `weight`: a factor for each loss, which broadcasts to the prediction; and the reduction
   * @throws TapegradError for unknown options and reductions, and a weight that is not a tensor
   */
  constructor(options: BCELossOptions = {}) {
    super(options, ['weight']);
    this.weight = factorOf('BCELoss', options.weight);
  }

  /**
   * Computes the loss.
   *
   * @param prediction probabilities in 0..1, any shape
   * @param target targets in 0..1, same shape
   * @returns a scalar; with the reduction 'none' a tensor of the shape of the inputs
   * @throws TapegradError as functional.bceLoss
   */
  override forward(prediction: Tensor, target: Tensor): Tensor {
    return bceLoss(prediction, target, { ...this.options, weight: this.weight });
  }
}

/**
 * The binary cross-entropy of logits; see {@link functional.bceWithLogitsLoss}. Same as [torch.nn.BCEWithLogitsLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const criterion = new nn.BCEWithLogitsLoss();
 * console.log(criterion.forward(tensor([0, 0]), tensor([1, 0])).itemSync());
 * ```
 */
export class BCEWithLogitsLoss extends Loss {
  /** The factor for each loss, a buffer; or null. */
  readonly weight: Buffer | null;
  /** The factor for the part of positive targets, a buffer with the name 'pos_weight' in state dicts; or null. */
  readonly posWeight: Buffer | null;

  /**
   * @param options `weight`: a factor for each loss, and `posWeight`: one for the part of positive targets, which broadcast to
   *   the prediction; and the reduction
   * @throws TapegradError for unknown options and reductions, and factors that are not tensors
   */
  constructor(options: BCEWithLogitsLossOptions = {}) {
    super(options, ['weight', 'posWeight']);
    this.weight = factorOf('BCEWithLogitsLoss', options.weight);
    this.posWeight = factorOf('BCEWithLogitsLoss', options.posWeight);
  }

  /**
   * Computes the loss.
   *
   * @param prediction logits of any shape
   * @param target targets in 0..1, same shape
   * @returns a scalar; with the reduction 'none' a tensor of the shape of the inputs
   * @throws TapegradError as functional.bceWithLogitsLoss
   */
  override forward(prediction: Tensor, target: Tensor): Tensor {
    const { weight, posWeight } = this;
    return bceWithLogitsLoss(prediction, target, { ...this.options, weight, posWeight });
  }

  protected override members(): [string, unknown][] {
    return Object.entries(this).map(([name, value]) => [name === 'posWeight' ? 'pos_weight' : name, value]);
  }
}
