export { kolmogorovSmirnov, psi, psiOfCounts, wasserstein } from './drift.js';
export { type R2Options, type R2Score, r2Score } from './r2.js';

import { noGrad } from '../autograd/mode.js';
import { checkInteger, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';

/** The counts of a confusion matrix of so many classes fill 2 GB. */
const MOST_CLASSES = 2 ** 14;

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

/** The classes that checked logits choose, and the labels, which are classes. */
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
      fail(op, `label ${i} is ${v} for ${classes} classes`, `labels are whole numbers from 0 to ${classes - 1}`);
  });
  return [predicted, actual];
}

/**
 * The share of rows of logits [n, classes] whose largest entry is at their label [n]: a number in 0..1. A row with NaN
 * chooses the first NaN, as argmax and NumPy do.
 * @throws TapegradError for other shapes or labels
 */
export async function accuracy(logits: Tensor, labels: Tensor): Promise<number> {
  checkShapes('accuracy', logits, labels);
  const [predicted, actual] = await choices('accuracy', logits, labels, logits.shape[1]);
  let right = 0;
  for (let i = 0; i < actual.length; i++) if (predicted[i] === actual[i]) right++;
  return right / actual.length;
}

/**
 * Counts by label (rows) and predicted class (columns): [classes][classes]. A row of logits with NaN chooses the first NaN.
 * @throws TapegradError for other shapes or labels, fewer classes than logits, and more than 16384 classes
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
  if (classes > MOST_CLASSES)
    fail('confusionMatrix', `classes is ${classes}`, `the matrix has at most ${MOST_CLASSES} rows`);
  const [predicted, actual] = await choices('confusionMatrix', logits, labels, classes);
  const counts = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (let i = 0; i < actual.length; i++) counts[actual[i]][predicted[i]]++;
  return counts;
}
