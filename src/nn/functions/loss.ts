import { checkBoolean, checkChoice, checkNumber, checkOptions, describe, fail } from '../../errors.js';
import type { Tensor } from '../../methods.js';
import { checkTensors, dispatch } from '../../ops/dispatch.js';
import { applyBinary } from '../../ops/families.js';
import { losses, squaredError } from '../../ops/loss.js';
import { broadcastShapes, normalizeDim } from '../../shape.js';
import { checkPair, checkReduction, finish, type LossOptions, type Reduction } from './checks.js';

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
  const reduction = checkReduction('mseLoss', options);
  checkPair('mseLoss', prediction, target);
  if (reduction === 'none') return applyBinary(losses.squaredDifference, prediction, target);
  return dispatch(squaredError, [prediction, target], reduction === 'mean' ? 1 / prediction.size : 1);
}

/**
 * The mean absolute error, mean(|p - t|). Same as [torch.nn.functional.l1_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.l1_loss.html), without broadcasting.
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
 * console.log(nn.functional.l1Loss(tensor([1, 2]), tensor([1, 4])).itemSync()); // 1
 * ```
 */
export function l1Loss(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = checkReduction('l1Loss', options);
  checkPair('l1Loss', prediction, target);
  return finish(prediction.sub(target).abs(), reduction);
}

/** Options of {@link smoothL1Loss}. */
export interface SmoothL1LossOptions extends LossOptions {
  /** The absolute error from which the loss is linear, at least 0. Default 1. */
  beta?: number;
}

/**
 * The squared error up to beta, and the absolute error beyond: d² / (2 beta) for |d| < beta, else |d| - beta / 2. Same as
 * [torch.nn.functional.smooth_l1_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.smooth_l1_loss.html), without broadcasting.
 *
 * @param prediction predictions of any shape
 * @param target targets, same shape
 * @param options `beta` and the reduction
 * @returns a scalar; with the reduction 'none' a tensor of the same shape
 * @throws TapegradError for different shapes, a beta below 0, and unknown options
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.smoothL1Loss(tensor([0, 3]), tensor([1, 0])).itemSync()); // 1.5
 * ```
 */
export function smoothL1Loss(prediction: Tensor, target: Tensor, options: SmoothL1LossOptions = {}): Tensor {
  const op = 'smoothL1Loss';
  const reduction = checkReduction(op, options, ['beta']);
  const beta = checkNumber(op, 'beta', options.beta ?? 1, 0);
  checkPair(op, prediction, target);
  const distance = prediction.sub(target).abs();
  return finish(beta === 0 ? distance : bent(distance, beta).div(beta), reduction);
}

/** Options of {@link huberLoss}. */
export interface HuberLossOptions extends LossOptions {
  /** The absolute error from which the loss is linear, above 0. Default 1. */
  delta?: number;
}

/**
 * Half the squared error up to delta, and a line beyond: d² / 2 for |d| < delta, else delta (|d| - delta / 2)
 * ([Huber 1964](https://doi.org/10.1214/aoms/1177703732)). Same as
 * [torch.nn.functional.huber_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.huber_loss.html), without broadcasting.
 *
 * @param prediction predictions of any shape
 * @param target targets, same shape
 * @param options `delta` and the reduction
 * @returns a scalar; with the reduction 'none' a tensor of the same shape
 * @throws TapegradError for different shapes, a delta that is not above 0, and unknown options
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.huberLoss(tensor([0, 3]), tensor([1, 0]), { delta: 2 }).itemSync()); // 2.25
 * ```
 */
export function huberLoss(prediction: Tensor, target: Tensor, options: HuberLossOptions = {}): Tensor {
  const op = 'huberLoss';
  const reduction = checkReduction(op, options, ['delta']);
  const delta = checkNumber(op, 'delta', options.delta ?? 1, Number.MIN_VALUE);
  checkPair(op, prediction, target);
  return finish(bent(prediction.sub(target).abs(), delta), reduction);
}

/** d² / 2 for a distance up to the limit, limit (d - limit / 2) beyond. */
function bent(distance: Tensor, limit: number): Tensor {
  const short = distance.minimum(limit);
  return short.mul(distance.sub(short.mul(0.5)));
}

/** Options of {@link klDiv}. */
export interface KLDivOptions {
  /** As for other losses, or 'batchmean' for the sum divided by the size of the first dimension. Default 'mean'. */
  reduction?: Reduction | 'batchmean';
  /** Whether the target has logarithms of probabilities, too. Default false. */
  logTarget?: boolean;
}

/**
 * The Kullback-Leibler divergence of log probabilities from a target: target · (log target - input), which is 0 where the target is.
 * The divergence of distributions is the reduction 'batchmean'; 'mean' also divides by the number of classes. Same as
 * [torch.nn.functional.kl_div](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.kl_div.html), without broadcasting.
 *
 * @param input logarithms of probabilities, any shape
 * @param target probabilities, or with `logTarget` their logarithms, same shape
 * @param options the reduction, and `logTarget`
 * @returns a scalar; with the reduction 'none' a tensor of the same shape
 * @throws TapegradError for different shapes and unknown options
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const [input, target] = [tensor([[0.5, 0.5]]).log(), tensor([[0.25, 0.75]])];
 * console.log(nn.functional.klDiv(input, target, { reduction: 'batchmean' }).itemSync().toFixed(4)); // 0.1308
 * ```
 */
export function klDiv(input: Tensor, target: Tensor, options: KLDivOptions = {}): Tensor {
  const op = 'klDiv';
  checkOptions(op, options, ['reduction', 'logTarget']);
  const { logTarget = false } = options;
  const reduction = checkChoice(op, 'reduction', options.reduction ?? 'mean', ['mean', 'sum', 'none', 'batchmean']);
  checkBoolean(op, 'logTarget', logTarget);
  checkPair(op, input, target);
  const each = logTarget
    ? target.exp().mul(target.sub(input))
    : // 0 log 0 is 0.
      target.mul(target.add(target.detach().eq(0)).log().sub(input));
  if (reduction !== 'batchmean') return finish(each, reduction);
  if (input.ndim === 0) fail(op, "a scalar has no batch for the reduction 'batchmean'", "use 'sum'");
  return each.sum().div(input.dims[0]);
}

/** Options of {@link cosineSimilarity}. */
export interface CosineSimilarityOptions {
  /** The smallest norm that a vector is divided by. Default 1e-8. */
  eps?: number;
}

/**
 * The cosine of the angle between vectors along a dimension, a·b / (|a| |b|). Same as
 * [torch.nn.functional.cosine_similarity](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cosine_similarity.html).
 *
 * @param a vectors along the dimension `dim`
 * @param b vectors; the shapes broadcast
 * @param dim the dimension of the broadcast shape that has the vectors; negative values count from the end. Default 1
 * @param options `eps`
 * @returns a tensor without this dimension
 * @throws TapegradError for shapes that do not broadcast, a dimension that does not exist, and unknown options
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.cosineSimilarity(tensor([[3, 4]]), tensor([[4, 3]])).toArraySync()); // about [0.96]
 * ```
 */
export function cosineSimilarity(a: Tensor, b: Tensor, dim = 1, options: CosineSimilarityOptions = {}): Tensor {
  const op = 'cosineSimilarity';
  checkOptions(op, options, ['eps']);
  const { eps = 1e-8 } = options;
  if (typeof eps !== 'number' || !(eps >= 0)) fail(op, `eps is ${describe(eps)}`, 'pass a number of at least 0');
  checkTensors(op, [a, b]);
  const shape = broadcastShapes(op, a.dims, b.dims);
  const d = normalizeDim(op, dim, shape.length, shape);
  const unit = (x: Tensor): Tensor => {
    const full = x.expand(shape);
    const square = full.mul(full).sum(d, true);
    // The root of 0 has no gradient. As in PyTorch, the bound changes the norm and not its gradient.
    const norm = square.add(square.detach().eq(0)).sqrt();
    const bounded = square.detach().sqrt().maximum(eps);
    return full.div(bounded.add(norm.sub(norm.detach())));
  };
  return unit(a).mul(unit(b)).sum(d);
}
