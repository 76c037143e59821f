import { checkChoice, checkOptions } from '../errors.js';
import type { Tensor } from '../methods.js';
import * as F from './functional.js';
import { Module } from './module.js';

/** The base of the losses. */
abstract class Loss extends Module {
  /** @internal */
  protected readonly options: { reduction: F.Reduction };

  /**
   * @param options the reduction
   * @throws TapegradError for unknown options and reductions
   */
  constructor(options: F.LossOptions = {}) {
    super();
    checkOptions(new.target.name, options, ['reduction']);
    this.options = {
      reduction: checkChoice(new.target.name, 'reduction', options.reduction ?? 'mean', ['mean', 'sum', 'none']),
    };
  }

  /** How the losses of all elements are combined. */
  get reduction(): F.Reduction {
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
    return F.mseLoss(prediction, target, this.options);
  }
}

/**
 * The softmax cross-entropy of logits and class indices; see {@link functional.crossEntropy}. Same as [torch.nn.CrossEntropyLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const criterion = new nn.CrossEntropyLoss();
 * console.log(criterion.forward(tensor([[2, 0], [0, 0]]), tensor([0, 1])).itemSync());
 * ```
 */
export class CrossEntropyLoss extends Loss {
  /**
   * Computes the loss.
   *
   * @param logits shape [n, classes]
   * @param labels class indices, shape [n]
   * @returns a scalar; with the reduction 'none' a tensor of shape [n]
   * @throws TapegradError as functional.crossEntropy
   */
  override forward(logits: Tensor, labels: Tensor): Tensor {
    return F.crossEntropy(logits, labels, this.options);
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
  /**
   * Computes the loss.
   *
   * @param prediction probabilities in 0..1, any shape
   * @param target targets in 0..1, same shape
   * @returns a scalar; with the reduction 'none' a tensor of the shape of the inputs
   * @throws TapegradError as functional.bceLoss
   */
  override forward(prediction: Tensor, target: Tensor): Tensor {
    return F.bceLoss(prediction, target, this.options);
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
  /**
   * Computes the loss.
   *
   * @param prediction logits of any shape
   * @param target targets in 0..1, same shape
   * @returns a scalar; with the reduction 'none' a tensor of the shape of the inputs
   * @throws TapegradError as functional.bceWithLogitsLoss
   */
  override forward(prediction: Tensor, target: Tensor): Tensor {
    return F.bceWithLogitsLoss(prediction, target, this.options);
  }
}
