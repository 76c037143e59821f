/**
 * Layers and losses as functions.
 *
 * @module
 */

import { noGrad } from '../autograd/mode.js';
import { checkChoice, checkOptions, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { binaryCrossEntropies } from '../ops/bce.js';
import { crossEntropy as crossEntropyEach, crossEntropyTotal } from '../ops/cross-entropy.js';
import { checkTensors, dispatch } from '../ops/dispatch.js';
import { applyBinary } from '../ops/families.js';
import { checkIndices } from '../ops/indexing.js';
import { losses, squaredError } from '../ops/loss.js';
import { applyLinear } from '../ops/matmul.js';
import { sameShape } from '../shape.js';

export * from './activations.js';

/** How to combine the losses of all elements: their mean, their sum, or 'none' for the tensor of losses. */
export type Reduction = 'mean' | 'sum' | 'none';

/** Options of the loss functions. */
export interface LossOptions {
  /** How to combine the losses of all elements. Default 'mean'. */
  reduction?: Reduction;
}

/**
 * Applies a linear map: x·weightᵀ + bias. Same as [torch.nn.functional.linear](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.linear.html).
 *
 * @param x input, shape [.., in]
 * @param weight shape [out, in]
 * @param bias shape [out], or null
 * @returns a tensor of shape [.., out]
 * @throws TapegradError for other shapes
 * @example
 * ```ts
 * import { nn, ones } from 'tapegrad';
 *
 * console.log(nn.functional.linear(ones([2, 3]), ones([1, 3])).toArraySync()); // [[3], [3]]
 * ```
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  return applyLinear(x, weight, bias);
}

/** How errors call them. */
const LABELS = ['label', 'labels', 'classes'] as const;

/** Requires a tensor of this copy of the library; other objects with a method of the same name are refused. */
function checked(op: string, x: Tensor): Tensor {
  if (!(x instanceof Tensor)) checkTensors(op, [x]);
  return x;
}

/**
 * The rectified linear unit, max(x, 0), elementwise; see `Tensor.relu`.
 *
 * @param x input of any shape
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.relu(tensor([-1, 2])).toArraySync()); // [0, 2]
 * ```
 */
export const relu = (x: Tensor): Tensor => checked('relu', x).relu();
/**
 * The logistic function, 1 / (1 + e^-x), elementwise; see `Tensor.sigmoid`.
 *
 * @param x input of any shape
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.sigmoid(tensor([0])).toArraySync()); // [0.5]
 * ```
 */
export const sigmoid = (x: Tensor): Tensor => checked('sigmoid', x).sigmoid();
/**
 * The hyperbolic tangent, elementwise; see `Tensor.tanh`.
 *
 * @param x input of any shape
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.tanh(tensor([0])).toArraySync()); // [0]
 * ```
 */
export const tanh = (x: Tensor): Tensor => checked('tanh', x).tanh();
/**
 * The softmax along a dimension, e^x / Σ e^x; see `Tensor.softmax`.
 *
 * @param x input of any shape
 * @param dim the dimension; negative values count from the end
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor, and for a dimension that does not exist
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.softmax(tensor([1, 1]), 0).toArraySync()); // [0.5, 0.5]
 * ```
 */
export const softmax = (x: Tensor, dim: number): Tensor => checked('softmax', x).softmax(dim);
/**
 * The logarithm of the softmax along a dimension, computed without overflow; see `Tensor.logSoftmax`.
 *
 * @param x input of any shape
 * @param dim the dimension; negative values count from the end
 * @returns a tensor of the same shape
 * @throws TapegradError if `x` is not a tensor, and for a dimension that does not exist
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.logSoftmax(tensor([3]), 0).toArraySync()); // [0]
 * ```
 */
export const logSoftmax = (x: Tensor, dim: number): Tensor => checked('logSoftmax', x).logSoftmax(dim);

/**
 * The mean squared error, mean((p - t)²). Same as [torch.nn.functional.mse_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mse_loss.html), without broadcasting.
 *
 * @param prediction predictions of any shape
 * @param target targets, same shape
 * @param options the reduction
 * @returns a scalar; with the reduction 'none' a tensor of the same shape
 * @throws TapegradError for different shapes and unknown options
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.mseLoss(tensor([1, 2]), tensor([1, 4])).itemSync()); // 2
 * ```
 */
export function mseLoss(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = check('mseLoss', prediction, target, options);
  if (reduction === 'none') return applyBinary(losses.squaredDifference, prediction, target);
  return dispatch(squaredError, [prediction, target], reduction === 'mean' ? 1 / prediction.size : 1);
}

/**
 * The binary cross-entropy of probabilities: mean(-(y log p + (1 - y) log(1 - p))), with logarithms clamped to at least -100.
 * Same as [torch.nn.functional.binary_cross_entropy](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy.html).
 *
 * @param prediction probabilities in 0..1, any shape
 * @param target targets in 0..1, same shape
 * @param options the reduction
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
export function bceLoss(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = check('bceLoss', prediction, target, options);
  checkProbabilities('bceLoss', 'prediction', prediction, 'apply sigmoid first, or use BCEWithLogitsLoss');
  checkProbabilities('bceLoss', 'target', target, 'targets are probabilities, 0 or 1 for plain labels');
  return finish(applyBinary(binaryCrossEntropies.binaryCrossEntropy, prediction, target), reduction);
}

/**
 * The binary cross-entropy of logits: bceLoss(sigmoid(x), y), computed without overflow or loss of digits. Same as
 * [torch.nn.functional.binary_cross_entropy_with_logits](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy_with_logits.html).
 *
 * @param prediction logits of any shape
 * @param target targets in 0..1, same shape
 * @param options the reduction
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
export function bceWithLogitsLoss(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = check('bceWithLogitsLoss', prediction, target, options);
  checkProbabilities('bceWithLogitsLoss', 'target', target, 'targets are probabilities, 0 or 1 for plain labels');
  return finish(applyBinary(binaryCrossEntropies.binaryCrossEntropyWithLogits, prediction, target), reduction);
}

/**
 * The softmax cross-entropy, -log softmax(logits)[label]. Same as [torch.nn.functional.cross_entropy](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html) with class
 * indices.
 *
 * @param logits shape [n, classes]
 * @param labels class indices, shape [n]: integers from 0 to classes - 1
 * @param options the reduction
 * @returns a scalar; with the reduction 'none' a tensor of shape [n]
 * @throws TapegradError for other shapes, unknown options, and (for labels that a GPU computed: from the next read) labels that are
 *   not integers in 0 … classes - 1
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const loss = nn.functional.crossEntropy(tensor([[2, 0], [0, 0]]), tensor([0, 1]));
 * console.log(loss.itemSync().toFixed(4)); // 0.4100
 * ```
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options: LossOptions = {}): Tensor {
  const reduction = checkReduction('crossEntropy', options);
  checkTensors('crossEntropy', [logits, labels]);
  if (logits.ndim !== 2 || labels.ndim !== 1 || labels.dims[0] !== logits.dims[0]) {
    fail(
      'crossEntropy',
      `logits have shape ${show(logits.dims)} and labels ${show(labels.dims)}`,
      'pass logits [n, classes] and class indices [n]',
      { shapes: [logits.dims, labels.dims] },
    );
  }
  checkIndices('crossEntropy', labels, logits.dims[1], LABELS);
  if (reduction === 'none') return dispatch(crossEntropyEach, [logits, labels], null);
  return dispatch(crossEntropyTotal, [logits, labels], reduction);
}

function checkProbabilities(op: string, name: string, x: Tensor, remedy: string): void {
  if (x.backend.readSync === undefined || x.size === 0) return;
  // Minimum and maximum suffice: NaN propagates through both.
  const [low, high] = noGrad(() => [x.min().itemSync(), x.max().itemSync()]);
  if (!(low >= 0 && high <= 1))
    fail(op, `the ${name} has values from ${low} to ${high}`, `they must lie in 0..1: ${remedy}`);
}

function check(op: string, prediction: Tensor, target: Tensor, options: LossOptions): Reduction {
  const reduction = checkReduction(op, options);
  checkTensors(op, [prediction, target]);
  if (!sameShape(prediction.dims, target.dims)) {
    fail(
      op,
      `the prediction has shape ${show(prediction.dims)}, the target ${show(target.dims)}`,
      'reshape one to the shape of the other',
      { shapes: [prediction.dims, target.dims] },
    );
  }
  return reduction;
}

function checkReduction(op: string, options: LossOptions): Reduction {
  checkOptions(op, options, ['reduction']);
  return checkChoice(op, 'reduction', options.reduction ?? 'mean', ['mean', 'sum', 'none']);
}

function finish(losses: Tensor, reduction: Reduction): Tensor {
  return reduction === 'none' ? losses : losses[reduction]();
}

export { pad } from './pad.js';
