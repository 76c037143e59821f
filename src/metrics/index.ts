export { kolmogorovSmirnov, psi, psiOfCounts, wasserstein } from './drift.js';

import { noGrad } from '../autograd/mode.js';
import { checkInteger, fail, show } from '../errors.js';
import type { Tensor } from '../methods.js';

/** The classes that logits [n, classes] choose, and the labels [n], checked. */
async function choices(
  op: string,
  logits: Tensor,
  labels: Tensor,
  classes = logits.shape[1],
): Promise<[ArrayLike<number>, ArrayLike<number>]> {
  if (logits.ndim !== 2 || labels.ndim !== 1 || labels.shape[0] !== logits.shape[0]) {
    fail(
      op,
      `logits have shape ${show(logits.shape)} and labels ${show(labels.shape)}`,
      'pass logits [n, classes] and class indices [n]',
      { shapes: [logits.shape, labels.shape] },
    );
  }
  const chosen = noGrad(() => logits.argmax(1));
  const [predicted, actual] = await Promise.all([chosen.data(), labels.data()]);
  actual.forEach((v, i) => {
    if (!Number.isInteger(v) || v < 0 || v >= classes)
      fail(op, `label ${i} is ${v} for ${classes} classes`, `labels are whole numbers from 0 to ${classes - 1}`);
  });
  return [predicted, actual];
}

/** The share of rows of logits [n, classes] whose largest entry is at their label [n]: a number in 0..1. @throws TapegradError for other shapes or labels */
export async function accuracy(logits: Tensor, labels: Tensor): Promise<number> {
  const [predicted, actual] = await choices('accuracy', logits, labels);
  let right = 0;
  for (let i = 0; i < actual.length; i++) if (predicted[i] === actual[i]) right++;
  return right / actual.length;
}

/** Counts by label (rows) and predicted class (columns): [classes][classes]. @throws TapegradError for other shapes or labels */
export async function confusionMatrix(logits: Tensor, labels: Tensor, classes: number): Promise<number[][]> {
  checkInteger('confusionMatrix', 'classes', classes);
  if (logits.shape[1] > classes)
    fail(
      'confusionMatrix',
      `logits of shape ${show(logits.shape)} for ${classes} classes`,
      'pass as many classes as the logits have columns',
    );
  const [predicted, actual] = await choices('confusionMatrix', logits, labels, classes);
  const counts = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (let i = 0; i < actual.length; i++) counts[actual[i]][predicted[i]]++;
  return counts;
}

/** The coefficient of determination 1 - Σ(t - p)² / Σ(t - mean t)² of predictions and targets of one shape. @throws TapegradError for different sizes or a constant target */
export async function r2Score(prediction: Tensor, target: Tensor): Promise<number> {
  if (prediction.size !== target.size)
    fail(
      'r2Score',
      `the prediction has shape ${show(prediction.shape)}, the target ${show(target.shape)}`,
      'pass as many predictions as targets',
      { shapes: [prediction.shape, target.shape] },
    );
  const [p, t] = await Promise.all([prediction.data(), target.data()]);
  const mean = t.reduce((sum, v) => sum + v, 0) / t.length;
  const total = t.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  if (total === 0) fail('r2Score', 'all targets are equal', 'the score needs targets that vary');
  return 1 - t.reduce((sum, v, i) => sum + (v - p[i]) ** 2, 0) / total;
}
