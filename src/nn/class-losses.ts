import type { Tensor } from '../methods.js';
import {
  type CrossEntropyOptions,
  checkClassOptions,
  crossEntropy,
  type NLLLossOptions,
  nllLoss,
} from './functions/class-loss.js';
import { factorOf, Loss } from './losses.js';
import type { Buffer } from './parameter.js';

/** The base of losses whose targets are class indices. */
abstract class ClassLoss extends Loss {
  /** The factor for each class, a buffer; or null. */
  readonly weight: Buffer | null;
  /** The label of samples that count for nothing; undefined for -100 where the host can read the labels. */
  readonly ignoreIndex: number | undefined;

  /** @internal */
  constructor(options: CrossEntropyOptions, others: readonly string[]) {
    super(options, others);
    checkClassOptions(new.target.name, options);
    this.weight = factorOf(new.target.name, options.weight);
    this.ignoreIndex = options.ignoreIndex;
  }
}

/**
 * The softmax cross-entropy of logits, and class indices or probabilities; see {@link functional.crossEntropy}. Same as [torch.nn.CrossEntropyLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const criterion = new nn.CrossEntropyLoss();
 * console.log(criterion.forward(tensor([[2, 0], [0, 0]]), tensor([0, 1])).itemSync());
 * ```
 */
export class CrossEntropyLoss extends ClassLoss {
  /** The share of the target that is spread evenly over all classes. */
  readonly labelSmoothing: number;

  /**
   * @param options `weight`: a factor for each class; `ignoreIndex` (default -100): the label of samples that count for
   *   nothing; `labelSmoothing` (default 0); and the reduction
   * @throws TapegradError for unknown options and reductions, and values that make no sense
   */
  constructor(options: CrossEntropyOptions = {}) {
    super(options, ['weight', 'ignoreIndex', 'labelSmoothing']);
    this.labelSmoothing = options.labelSmoothing ?? 0;
  }

  /**
   * Computes the loss.
   *
   * @param logits shape [n, classes], [n, classes, ..] or [classes]
   * @param target class indices, shape [n], [n, ..] or []; or probabilities of the shape of the logits
   * @returns a scalar; with the reduction 'none' a tensor of the shape of the class indices
   * @throws TapegradError as functional.crossEntropy
   */
  override forward(logits: Tensor, target: Tensor): Tensor {
    const { weight, ignoreIndex, labelSmoothing } = this;
    return crossEntropy(logits, target, { ...this.options, weight, ignoreIndex, labelSmoothing });
  }
}

/**
 * The negative log likelihood of class indices; see {@link functional.nllLoss}. Same as [torch.nn.NLLLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const log = tensor([[0.25, 0.75], [0.5, 0.5]]).log();
 * console.log(new nn.NLLLoss().forward(log, tensor([1, 0])).itemSync().toFixed(4)); // 0.4904
 * ```
 */
export class NLLLoss extends ClassLoss {
  /**
   * @param options `weight`: a factor for each class; `ignoreIndex` (default -100): the label of samples that count for
   *   nothing; and the reduction
   * @throws TapegradError for unknown options and reductions, and values that make no sense
   */
  constructor(options: NLLLossOptions = {}) {
    super(options, ['weight', 'ignoreIndex']);
  }

  /**
   * Computes the loss.
   *
   * @param input logarithms of probabilities, shape [n, classes], [n, classes, ..] or [classes]
   * @param labels class indices, shape [n], [n, ..] or []
   * @returns a scalar; with the reduction 'none' a tensor of the shape of the labels
   * @throws TapegradError as functional.nllLoss
   */
  override forward(input: Tensor, labels: Tensor): Tensor {
    const { weight, ignoreIndex } = this;
    return nllLoss(input, labels, { ...this.options, weight, ignoreIndex });
  }
}
