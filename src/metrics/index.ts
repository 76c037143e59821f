/**
 * Metrics of models, and measures of drift.
 *
 * @module
 */

export { kolmogorovSmirnov, psi, psiOfCounts, wasserstein } from './drift.js';
export { type R2Options, type R2Score, r2Score } from './r2.js';

import { noGrad } from '../autograd/mode.js';
import { checkInteger, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';

/** The counts of a confusion matrix with this many classes take 2 GB. */
const MAX_CLASSES = 2 ** 14;

/** Requires logits [n, classes] and labels [n]. */
function checkShapes(op: string, logits: Tensor, labels: Tensor): void {
  for (const [name, value] of Object.entries({ logits, labels })) {
    if (!(value instanceof Tensor))
      fail(op, `the ${name} are ${describe(value)}`, 'pass tensors; tensor(values) makes one');
  }
  if (logits.ndim !== 2 || labels.ndim !== 1 || labels.shape[0] !== logits.shape[0]) {
    fail(
      op,
      `logits have shape ${show(logits.shape)} and labels ${show(labels.shape)}`,
      'pass logits [n, classes] and class indices [n]',
      { shapes: [logits.shape, labels.shape] },
    );
  }
}

/** The predicted classes and the labels, after checking that the labels are classes. */
async function choices(
  op: string,
  logits: Tensor,
  labels: Tensor,
  classes: number,
): Promise<[ArrayLike<number>, ArrayLike<number>]> {
  const chosen = noGrad(() => logits.argmax(1));
  const [predicted, actual] = await Promise.all([chosen.data(), labels.data()]);
  actual.forEach((v, i) => {
    if (!Number.isInteger(v) || v < 0 || v >= classes)
      fail(op, `label ${i} is ${v} for ${classes} classes`, `labels are integers from 0 to ${classes - 1}`);
  });
  return [predicted, actual];
}

/**
 * The classification accuracy: the fraction of samples whose largest logit is at their label. Same as
 * [sklearn.metrics.accuracy_score](https://scikit-learn.org/stable/modules/generated/sklearn.metrics.accuracy_score.html). In
 * a row with NaN the first NaN counts as the largest logit, as in argmax and NumPy.
 *
 * @param logits logits or probabilities, shape [n, classes]
 * @param labels class indices, shape [n]: integers from 0 to classes - 1
 * @returns a number in 0..1
 * @throws TapegradError for other shapes, and for labels that are not classes
 * @example
 * ```ts
 * import { metrics, tensor } from 'tapegrad';
 *
 * console.log(await metrics.accuracy(tensor([[2, 1], [0, 3]]), tensor([0, 0]))); // 0.5
 * ```
 */
export async function accuracy(logits: Tensor, labels: Tensor): Promise<number> {
  checkShapes('accuracy', logits, labels);
  const [predicted, actual] = await choices('accuracy', logits, labels, logits.shape[1]);
  let right = 0;
  for (let i = 0; i < actual.length; i++) if (predicted[i] === actual[i]) right++;
  return right / actual.length;
}

/**
 * The confusion matrix: how many samples of each label were predicted as each class. Same as
 * [sklearn.metrics.confusion_matrix](https://scikit-learn.org/stable/modules/generated/sklearn.metrics.confusion_matrix.html).
 * In a row with NaN the first NaN counts as the largest logit.
 *
 * @param logits logits or probabilities, shape [n, columns]
 * @param labels class indices, shape [n]: integers from 0 to classes - 1
 * @param classes the number of classes: at least the number of columns, at most 16384
 * @returns counts as nested arrays, [classes][classes]; rows are labels, columns are predictions
 * @throws TapegradError for other shapes, labels that are not classes, and a number of classes out of range
 * @example
 * ```ts
 * import { metrics, tensor } from 'tapegrad';
 *
 * console.log(await metrics.confusionMatrix(tensor([[2, 1], [0, 3]]), tensor([0, 0]), 2)); // [[1, 1], [0, 0]]
 * ```
 */
export async function confusionMatrix(logits: Tensor, labels: Tensor, classes: number): Promise<number[][]> {
  checkInteger('confusionMatrix', 'classes', classes);
  checkShapes('confusionMatrix', logits, labels);
  if (logits.shape[1] > classes)
    fail(
      'confusionMatrix',
      `logits of shape ${show(logits.shape)} for ${classes} classes`,
      'pass as many classes as the logits have columns',
    );
  if (classes > MAX_CLASSES)
    fail('confusionMatrix', `classes is ${classes}`, `the matrix has at most ${MAX_CLASSES} rows`);
  const [predicted, actual] = await choices('confusionMatrix', logits, labels, classes);
  const counts = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (let i = 0; i < actual.length; i++) counts[actual[i]][predicted[i]]++;
  return counts;
}
