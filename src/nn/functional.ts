import { noGrad } from '../autograd/mode.js';
import { checkChoice, checkOptions, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { checkTensors, dispatch } from '../ops/dispatch.js';
import { applyBinary } from '../ops/families.js';
import { crossEntropy as crossEntropyEach, crossEntropyTotal, losses, squaredError } from '../ops/loss.js';
import { applyLinear } from '../ops/matmul.js';
import { sameShape } from '../shape.js';

/** How the losses of the elements become one number; 'none' keeps them. */
export type Reduction = 'mean' | 'sum' | 'none';

export interface LossOptions {
  /** Default 'mean'. */
  reduction?: Reduction;
}

/** x·weightᵀ + bias for x [.., in], weight [out, in] and bias [out]; gives [.., out]. @throws TapegradError for other shapes */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  return applyLinear(x, weight, bias);
}

/** A tensor of this copy of the library; what else has such a method is refused. */
function checked(op: string, x: Tensor): Tensor {
  if (!(x instanceof Tensor)) checkTensors(op, [x]);
  return x;
}

/** See Tensor.relu. */
export const relu = (x: Tensor): Tensor => checked('relu', x).relu();
/** See Tensor.sigmoid. */
export const sigmoid = (x: Tensor): Tensor => checked('sigmoid', x).sigmoid();
/** See Tensor.tanh. */
export const tanh = (x: Tensor): Tensor => checked('tanh', x).tanh();
/** See Tensor.softmax. */
export const softmax = (x: Tensor, dim: number): Tensor => checked('softmax', x).softmax(dim);
/** See Tensor.logSoftmax. */
export const logSoftmax = (x: Tensor, dim: number): Tensor => checked('logSoftmax', x).logSoftmax(dim);

/** The squared difference of prediction and target (one shape): mean((p - t)²). @throws TapegradError for different shapes */
export function mseLoss(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = check('mseLoss', prediction, target, options);
  if (reduction === 'none') return applyBinary(losses.squaredDifference, prediction, target);
  return dispatch(squaredError, [prediction, target], reduction === 'mean' ? 1 / prediction.size : 1);
}

/**
 * Binary cross-entropy of probabilities: -1/n Σ [y log p + (1 - y) log(1 - p)], the logarithms kept above -100, as
 * torch.nn.BCELoss. Prediction and target have one shape.
 * @throws TapegradError for different shapes, and for predictions or targets outside 0..1 or NaN
 */
export function bceLoss(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = check('bceLoss', prediction, target, options);
  checkProbabilities('bceLoss', 'prediction', prediction, 'apply sigmoid first, or use BCEWithLogitsLoss');
  checkProbabilities('bceLoss', 'target', target, 'targets are probabilities, 0 or 1 for plain labels');
  return finish(applyBinary(losses.binaryCrossEntropy, prediction, target), reduction);
}

/** Binary cross-entropy of logits: bceLoss(sigmoid(x), y) without its rounding, as torch.nn.BCEWithLogitsLoss. @throws TapegradError for different shapes, and for targets outside 0..1 */
export function bceWithLogitsLoss(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const reduction = check('bceWithLogitsLoss', prediction, target, options);
  checkProbabilities('bceWithLogitsLoss', 'target', target, 'targets are probabilities, 0 or 1 for plain labels');
  return finish(applyBinary(losses.binaryCrossEntropyWithLogits, prediction, target), reduction);
}

/**
 * Softmax cross-entropy: -log softmax(logits)[label], for logits [n, classes] and class indices [n], as
 * torch.nn.CrossEntropyLoss.
 * @throws TapegradError for other shapes, and for labels that are not whole numbers in 0 … classes - 1
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
  checkLabels('crossEntropy', labels, logits.dims[1]);
  if (reduction === 'none') return dispatch(crossEntropyEach, [logits, labels], null);
  return dispatch(crossEntropyTotal, [logits, labels], reduction);
}

/** Requires whole numbers in 0 … classes - 1, where the host can look at them at once. @internal */
export function checkLabels(op: string, labels: Tensor, classes: number): void {
  const values = labels.peek();
  if (values === null) return;
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (!Number.isInteger(v) || v < 0 || v >= classes) {
      fail(op, `label ${i} is ${v} for ${classes} classes`, `labels are whole numbers from 0 to ${classes - 1}`, {
        shapes: [labels.dims],
      });
    }
  }
}

function checkProbabilities(op: string, name: string, x: Tensor, remedy: string): void {
  if (x.backend.readSync === undefined) return;
  // The extremes tell: NaN runs through both.
  const [low, high] = noGrad(() => [x.min().itemSync(), x.max().itemSync()]);
  if (!(low >= 0 && high <= 1))
    fail(op, `the ${name} holds values from ${low} to ${high}`, `they must lie in 0..1: ${remedy}`);
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
