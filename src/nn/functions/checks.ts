import { checkChoice, checkOptions, describe, fail, show } from '../../errors.js';
import type { Tensor } from '../../methods.js';
import { checkTensors } from '../../ops/dispatch.js';
import { broadcastShapes, sameShape } from '../../shape.js';

/** How to combine the losses of all elements: their mean, their sum, or 'none' for the tensor of losses. */
export type Reduction = 'mean' | 'sum' | 'none';

/** Options of the loss functions. */
export interface LossOptions {
  /** How to combine the losses of all elements. Default 'mean'. */
  reduction?: Reduction;
}

/** The reduction among the options of a loss, all of which must be known. @internal */
export function checkReduction(op: string, options: LossOptions, others: readonly string[] = NONE): Reduction {
  checkOptions(op, options, others === NONE ? REDUCTION : ['reduction', ...others]);
  return checkChoice(op, 'reduction', options.reduction ?? 'mean', REDUCTIONS);
}

const NONE: readonly string[] = [];
const REDUCTION = ['reduction'];
const REDUCTIONS: readonly Reduction[] = ['mean', 'sum', 'none'];

/** Requires a prediction and a target of one shape. @internal */
export function checkPair(op: string, prediction: Tensor, target: Tensor): void {
  checkTensors(op, [prediction, target]);
  if (sameShape(prediction.dims, target.dims)) return;
  fail(
    op,
    `the prediction has shape ${show(prediction.dims)}, the target ${show(target.dims)}`,
    'reshape one to the shape of the other',
    { shapes: [prediction.dims, target.dims] },
  );
}

/** Requires a tensor that broadcasts to the shape of x. @internal */
export function checkFactor(op: string, name: string, factor: Tensor, x: Tensor): void {
  checkTensors(op, [x, factor]);
  const fits = factor.ndim <= x.ndim && sameShape(broadcastShapes(op, x.dims, factor.dims), x.dims);
  if (fits) return;
  fail(
    op,
    `${name} has shape ${show(factor.dims)} for a prediction of shape ${show(x.dims)}`,
    `pass a ${name} that broadcasts to the shape of the prediction`,
    { shapes: [x.dims, factor.dims] },
  );
}

/** The combined losses. @internal */
export function finish(losses: Tensor, reduction: Reduction): Tensor {
  return reduction === 'none' ? losses : losses[reduction]();
}

/** Requires a number from 0 to 1. @internal */
export function checkProbability(op: string, name: string, value: unknown): number {
  if (typeof value !== 'number' || !(value >= 0 && value <= 1))
    fail(op, `${name} is ${describe(value)}`, 'pass a number from 0 to 1');
  return value;
}
