import { noGrad } from '../../autograd/mode.js';
import { fail } from '../../errors.js';
import type { Tensor } from '../../methods.js';
import { binaryCrossEntropies } from '../../ops/bce.js';
import { applyBinary } from '../../ops/families.js';
import { checkFactor, checkPair, checkReduction, finish, type LossOptions } from './checks.js';

/** Options of {@link bceLoss}. */
export interface BCELossOptions extends LossOptions {
  /** A factor for each loss, of a shape that broadcasts to the prediction's. None by default. */
  weight?: Tensor | null;
}

/** Options of {@link bceWithLogitsLoss}. */
export interface BCEWithLogitsLossOptions extends BCELossOptions {
  /** A factor for the part of positive targets, of a shape that broadcasts to the prediction's. None by default. */
  posWeight?: Tensor | null;
}

const BCE = ['weight'];
const BCE_WITH_LOGITS = ['weight', 'posWeight'];

/**
 * The binary cross-entropy of probabilities: mean(-(y log p + (1 - y) log(1 - p))), with logarithms clamped to at least -100.
 * Same as [torch.nn.functional.binary_cross_entropy](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy.html).
 *
 * @param prediction probabilities in 0..1, any shape
 * @param target targets in 0..1, same shape
 * @param options `weight` and the reduction
 * @returns a scalar; with the reduction 'none' a tensor of the same shape
 * @throws TapegradError for different shapes, unknown options, and (where the host can read them without waiting) predictions
 *   or targets that are NaN or outside 0..1
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const loss = nn.functional.bceLoss(tensor([0.9, 0.2]), tensor([1, 0]));
 * console.log(loss.itemSync().toFixed(4)); // 0.1643
 * ```
 */
export function bceLoss(prediction: Tensor, target: Tensor, options: BCELossOptions = {}): Tensor {
  const op = 'bceLoss';
  const reduction = checkReduction(op, options, BCE);
  checkPair(op, prediction, target);
  checkProbabilities(op, 'prediction', prediction, 'apply sigmoid first, or use BCEWithLogitsLoss');
  checkProbabilities(op, 'target', target, 'targets are probabilities, 0 or 1 for plain labels');
  const each = applyBinary(binaryCrossEntropies.binaryCrossEntropy, prediction, target);
  return finish(weighted(op, each, options.weight), reduction);
}

/**
 * The binary cross-entropy of logits: bceLoss(sigmoid(x), y), computed without overflow or loss of digits. Same as
 * [torch.nn.functional.binary_cross_entropy_with_logits](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy_with_logits.html).
 *
 * @param prediction logits of any shape
 * @param target targets in 0..1, same shape
 * @param options `weight`, `posWeight` and the reduction
 * @returns a scalar; with the reduction 'none' a tensor of the same shape
 * @throws TapegradError for different shapes, unknown options, and (where the host can read them without waiting) targets that
 *   are NaN or outside 0..1
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const loss = nn.functional.bceWithLogitsLoss(tensor([0, 0]), tensor([1, 0]));
 * console.log(loss.itemSync().toFixed(4)); // 0.6931
 * ```
 */
export function bceWithLogitsLoss(prediction: Tensor, target: Tensor, options: BCEWithLogitsLossOptions = {}): Tensor {
  const op = 'bceWithLogitsLoss';
  const reduction = checkReduction(op, options, BCE_WITH_LOGITS);
  checkPair(op, prediction, target);
  checkProbabilities(op, 'target', target, 'targets are probabilities, 0 or 1 for plain labels');
  const { weight, posWeight = null } = options;
  return finish(weighted(op, ofLogits(op, prediction, target, posWeight), weight), reduction);
}

/** The loss of each logit; posWeight multiplies -log sigmoid(x), the part of positive targets. */
function ofLogits(op: string, x: Tensor, target: Tensor, posWeight: Tensor | null): Tensor {
  const row = binaryCrossEntropies.binaryCrossEntropyWithLogits;
  if (posWeight === null) return applyBinary(row, x, target);
  checkFactor(op, 'posWeight', posWeight, x);
  // (1 - t) x + (1 + (p - 1) t) (-log sigmoid(x)), where the loss for the target 1 is -log sigmoid(x).
  const factor = posWeight.sub(1).mul(target).add(1);
  return target
    .neg()
    .add(1)
    .mul(x)
    .add(factor.mul(applyBinary(row, x, 1)));
}

function weighted(op: string, each: Tensor, weight: Tensor | null | undefined): Tensor {
  if (weight === null || weight === undefined) return each;
  checkFactor(op, 'weight', weight, each);
  return each.mul(weight);
}

function checkProbabilities(op: string, name: string, x: Tensor, remedy: string): void {
  if (x.backend.readSync === undefined || x.size === 0) return;
  // Minimum and maximum suffice: NaN propagates through both.
  const [low, high] = noGrad(() => [x.min().itemSync(), x.max().itemSync()]);
  if (!(low >= 0 && high <= 1))
    fail(op, `the ${name} has values from ${low} to ${high}`, `they must lie in 0..1: ${remedy}`);
}
