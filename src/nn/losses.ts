import { checkChoice, checkOptions } from '../errors.js';
import type { Tensor } from '../methods.js';
import * as F from './functional.js';
import { Module } from './module.js';

abstract class Loss extends Module {
  protected readonly options: { reduction: F.Reduction };

  /** @throws TapegradError for an unknown reduction */
  constructor(options: F.LossOptions = {}) {
    super();
    checkOptions(new.target.name, options, ['reduction']);
    this.options = {
      reduction: checkChoice(new.target.name, 'reduction', options.reduction ?? 'mean', ['mean', 'sum', 'none']),
    };
  }

  /** How the losses of the elements become one number. */
  get reduction(): F.Reduction {
    return this.options.reduction;
  }

  abstract override forward(prediction: Tensor, target: Tensor): Tensor;
}

/** Mean squared error; see functional.mseLoss. */
export class MSELoss extends Loss {
  override forward(prediction: Tensor, target: Tensor): Tensor {
    return F.mseLoss(prediction, target, this.options);
  }
}

/** Softmax cross-entropy of logits [n, classes] and class indices [n]; see functional.crossEntropy. */
export class CrossEntropyLoss extends Loss {
  override forward(logits: Tensor, labels: Tensor): Tensor {
    return F.crossEntropy(logits, labels, this.options);
  }
}

/** Binary cross-entropy of probabilities; see functional.bceLoss. */
export class BCELoss extends Loss {
  override forward(prediction: Tensor, target: Tensor): Tensor {
    return F.bceLoss(prediction, target, this.options);
  }
}

/** Binary cross-entropy of logits; see functional.bceWithLogitsLoss. */
export class BCEWithLogitsLoss extends Loss {
  override forward(prediction: Tensor, target: Tensor): Tensor {
    return F.bceWithLogitsLoss(prediction, target, this.options);
  }
}
