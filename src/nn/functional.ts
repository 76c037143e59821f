/**
 * Layers and losses as functions.
 *
 * @module
 */

import { Tensor } from '../methods.js';
import { checkTensors } from '../ops/dispatch.js';
import { applyLinear } from '../ops/matmul.js';

export * from './activations.js';
export type { BCELossOptions, BCEWithLogitsLossOptions } from './functions/binary-loss.js';
export {
  bceLoss,
  bceLoss as binaryCrossEntropy,
  bceWithLogitsLoss,
  bceWithLogitsLoss as binaryCrossEntropyWithLogits,
} from './functions/binary-loss.js';
export type { LossOptions, Reduction } from './functions/checks.js';
export { type CrossEntropyOptions, crossEntropy, type NLLLossOptions, nllLoss } from './functions/class-loss.js';
export { type DropoutOptions, dropout } from './functions/dropout.js';
export { type EmbeddingOptions, embedding, oneHot } from './functions/embedding.js';
export {
  type CosineSimilarityOptions,
  cosineSimilarity,
  type HuberLossOptions,
  huberLoss,
  type KLDivOptions,
  klDiv,
  klDiv as klDivLoss,
  l1Loss,
  mseLoss,
  type SmoothL1LossOptions,
  smoothL1Loss,
} from './functions/loss.js';
export {
  type BatchNormOptions,
  batchNorm,
  groupNorm,
  type LayerNormOptions,
  layerNorm,
  type RMSNormOptions,
  rmsNorm,
} from './functions/norm.js';
export { pad } from './pad.js';

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
