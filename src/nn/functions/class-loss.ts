import { checkInteger, fail, show } from '../../errors.js';
import type { Tensor } from '../../methods.js';
import { crossEntropy as crossEntropyEach, crossEntropyTotal } from '../../ops/cross-entropy.js';
import { checkTensors, dispatch } from '../../ops/dispatch.js';
import { reluGrad } from '../../ops/elementwise.js';
import { gather } from '../../ops/indexing.js';
import { sameShape } from '../../shape.js';
import { checkProbability, checkReduction, type LossOptions, type Reduction } from './checks.js';
import { checkOnDevice } from './indices.js';

/** Options of {@link nllLoss}. */
export interface NLLLossOptions extends LossOptions {
  /** A factor for the loss of each class, shape [classes]; the mean divides by the sum of the factors. None by default. */
  weight?: Tensor | null;
  /** Samples with this label count for nothing. Default -100. Labels that only a device has are searched for it where it is given. */
  ignoreIndex?: number;
}

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions extends NLLLossOptions {
  /** The share of the target that is spread evenly over all classes, from 0 to 1. Default 0. */
  labelSmoothing?: number;
}

const NLL = ['weight', 'ignoreIndex'];
const CROSS_ENTROPY = ['weight', 'ignoreIndex', 'labelSmoothing'];
const IGNORED = -100;

/** Checks the options that only losses of classes have. @internal */
export function checkClassOptions(op: string, { weight, ignoreIndex, labelSmoothing }: CrossEntropyOptions): void {
  if (weight !== undefined && weight !== null) {
    checkTensors(op, [weight]);
    if (weight.ndim !== 1)
      fail(op, `weight has shape ${show(weight.dims)}`, 'pass a factor for each class, [classes]', {
        shapes: [weight.dims],
      });
  }
  if (ignoreIndex !== undefined) checkInteger(op, 'ignoreIndex', ignoreIndex, -Infinity);
  if (labelSmoothing !== undefined) checkProbability(op, 'labelSmoothing', labelSmoothing);
}

/**
 * The softmax cross-entropy of logits, -log softmax(logits)[label]; with probabilities as targets -Σ target · log softmax. Same
 * as [torch.nn.functional.cross_entropy](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html).
 *
 * @param logits shape [n, classes], [n, classes, ..] or [classes]
 * @param target class indices, integers from 0 to classes - 1, shape [n], [n, ..] or []; or probabilities of the shape of the
 *   logits
 * @param options `weight` of the classes, `ignoreIndex`, `labelSmoothing`, and the reduction
 * @returns a scalar; with the reduction 'none' a tensor of the shape of the class indices
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
export function crossEntropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const op = 'crossEntropy';
  const reduction = checkReduction(op, options, CROSS_ENTROPY);
  checkTensors(op, [logits, target]);
  checkClassOptions(op, options);
  const { weight = null, ignoreIndex, labelSmoothing = 0 } = options;
  checkWeight(op, weight, logits);
  if (logits.ndim > 0 && sameShape(logits.dims, target.dims)) {
    if (ignoreIndex !== undefined && ignoreIndex >= 0)
      fail(
        op,
        `ignoreIndex is ${ignoreIndex} for targets that are probabilities`,
        'pass class indices, or no ignoreIndex',
      );
    return ofProbabilities(logits, target, weight, labelSmoothing, reduction);
  }
  checkClasses(op, logits, target);
  const ignoring = checkLabels(op, target, logits.dims[classDim(logits)], ignoreIndex);
  if (logits.ndim === 2 && weight === null && labelSmoothing === 0 && !ignoring) {
    if (reduction === 'none') return dispatch(crossEntropyEach, [logits, target], null);
    return dispatch(crossEntropyTotal, [logits, target], reduction);
  }
  const ignored = ignoring ? (ignoreIndex ?? IGNORED) : null;
  return ofLabels(op, asRows(logits).logSoftmax(1), target, weight, ignored, labelSmoothing, reduction);
}

/**
 * The negative log likelihood of the labels, -input[label]. Same as [torch.nn.functional.nll_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.nll_loss.html).
 *
 * @param input logarithms of probabilities, as from logSoftmax: shape [n, classes], [n, classes, ..] or [classes]
 * @param labels class indices, integers from 0 to classes - 1, shape [n], [n, ..] or []
 * @param options `weight` of the classes, `ignoreIndex`, and the reduction
 * @returns a scalar; with the reduction 'none' a tensor of the shape of the labels
 * @throws TapegradError as crossEntropy
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const log = tensor([[0.25, 0.75], [0.5, 0.5]]).log();
 * console.log(nn.functional.nllLoss(log, tensor([1, 0])).itemSync().toFixed(4)); // 0.4904
 * ```
 */
export function nllLoss(input: Tensor, labels: Tensor, options: NLLLossOptions = {}): Tensor {
  const op = 'nllLoss';
  const reduction = checkReduction(op, options, NLL);
  checkTensors(op, [input, labels]);
  checkClassOptions(op, options);
  const { weight = null, ignoreIndex } = options;
  checkWeight(op, weight, input);
  checkClasses(op, input, labels);
  const ignoring = checkLabels(op, labels, input.dims[classDim(input)], ignoreIndex);
  return ofLabels(op, asRows(input), labels, weight, ignoring ? (ignoreIndex ?? IGNORED) : null, 0, reduction);
}

/** The dimension of the classes. */
const classDim = (x: Tensor): number => (x.ndim === 1 ? 0 : 1);

function checkWeight(op: string, weight: Tensor | null, x: Tensor): void {
  if (weight === null || x.ndim === 0) return;
  checkTensors(op, [x, weight]);
  const classes = x.dims[classDim(x)];
  if (weight.dims[0] !== classes)
    fail(op, `weight has ${weight.dims[0]} factors for ${classes} classes`, 'pass one for each class', {
      shapes: [x.dims, weight.dims],
    });
}

/** Requires labels of the shape of the input without its dimension of classes. */
function checkClasses(op: string, x: Tensor, labels: Tensor): void {
  const d = classDim(x);
  if (x.ndim === labels.ndim + 1) {
    let same = true;
    for (let i = 0; i < labels.ndim; i++) if (labels.dims[i] !== x.dims[i < d ? i : i + 1]) same = false;
    if (same) return;
  }
  fail(
    op,
    `logits have shape ${show(x.dims)} and labels ${show(labels.dims)}`,
    'pass logits [n, classes] and class indices [n], or [n, classes, ..] and [n, ..]',
    { shapes: [x.dims, labels.dims] },
  );
}

/**
 * Requires integers in 0 … classes - 1, or the one that is ignored. Returns whether any may be ignored. If the host would have to
 * wait for the labels, the device checks them.
 */
function checkLabels(op: string, labels: Tensor, classes: number, ignoreIndex: number | undefined): boolean {
  const values = labels.peek();
  if (values === null) {
    if (ignoreIndex !== undefined) return true;
    checkOnDevice(op, labels, classes);
    return false;
  }
  const ignored = ignoreIndex ?? IGNORED;
  let ignoring = false;
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (v === ignored) ignoring = true;
    else if (!Number.isInteger(v) || v < 0 || v >= classes) {
      fail(op, `label ${i} is ${v} for ${classes} classes`, `labels are integers from 0 to ${classes - 1}`, {
        shapes: [labels.dims],
      });
    }
  }
  return ignoring;
}

/** [n, classes, ..] as a matrix of rows with the classes. */
function asRows(x: Tensor): Tensor {
  if (x.ndim === 2) return x;
  if (x.ndim === 1) return x.reshape([1, x.size]);
  const order = [0, ...x.dims.slice(2).map((_, i) => i + 2), 1];
  const classes = x.dims[1];
  return x.permute(order).reshape([classes === 0 ? 0 : x.size / classes, classes]);
}

/** The loss of labels for rows of log probabilities; samples with the label `ignored` count for nothing. */
function ofLabels(
  op: string,
  log: Tensor,
  labels: Tensor,
  weight: Tensor | null,
  ignored: number | null,
  smoothing: number,
  reduction: Reduction,
): Tensor {
  const [rows, classes] = log.dims;
  const flat = labels.detach().reshape([rows]);
  const kept = ignored === null ? null : flat.eq(ignored).neg().add(1);
  const index = kept === null ? flat : flat.mul(kept);
  if (kept !== null && labels.peek() === null) checkOnDevice(op, index, classes);
  const factors = weight === null ? null : weight.detach();
  const chosen = factors === null ? null : dispatch(gather, [factors, index], { dim: 0, length: classes });
  const column = index.reshape([rows, 1]);
  const plain = dispatch(gather, [log, column], { dim: 1, length: classes }).reshape([rows]).neg();
  let losses = chosen === null ? plain : plain.mul(chosen);
  if (smoothing > 0) {
    const all = (factors === null ? log : log.mul(factors)).sum(1).neg();
    losses = losses.mul(1 - smoothing).add(all.mul(smoothing / classes));
  }
  // A product with a mask would keep the NaN of a sample that is ignored.
  if (kept !== null) losses = reluGrad(losses, kept);
  if (reduction === 'none') return losses.reshape(labels.dims);
  if (reduction === 'sum') return losses.sum();
  if (chosen === null && kept === null) return losses.mean();
  const counts = chosen === null ? kept! : kept === null ? chosen : chosen.mul(kept);
  return losses.sum().div(counts.sum());
}

/** -Σ target log softmax(logits) over the classes. */
function ofProbabilities(
  logits: Tensor,
  target: Tensor,
  weight: Tensor | null,
  smoothing: number,
  reduction: Reduction,
): Tensor {
  const d = classDim(logits);
  const classes = logits.dims[d];
  const log = logits.logSoftmax(d);
  const smooth = smoothing > 0 ? target.mul(1 - smoothing).add(smoothing / classes) : target;
  const shape = logits.dims.map((n, i) => (i === d ? n : 1));
  const products = log.mul(weight === null ? smooth : smooth.mul(weight.detach().reshape(shape)));
  if (reduction === 'none') return products.sum(d).neg();
  const total = products.sum().neg();
  return reduction === 'sum' ? total : total.div(logits.size / classes);
}
