import { checkChoice, checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';

/** How r2Score treats several outputs and constant targets. */
export interface R2Options {
  /**
   * How the scores of several outputs become one: their mean ('uniformAverage', the default), their mean with the targets'
   * variances as weights ('varianceWeighted'), or an array with one score for each output ('rawValues').
   */
  multioutput?: 'uniformAverage' | 'varianceWeighted' | 'rawValues';
  /** The score of a constant target: 1 if it is met and 0 if not, or else NaN and -Infinity. Default true. */
  forceFinite?: boolean;
}

/** The type of r2Score: an array with 'rawValues', otherwise a number. */
export interface R2Score {
  (
    prediction: Tensor,
    target: Tensor,
    options?: R2Options & { multioutput?: 'uniformAverage' | 'varianceWeighted' },
  ): Promise<number>;
  (prediction: Tensor, target: Tensor, options: R2Options & { multioutput: 'rawValues' }): Promise<number[]>;
  (prediction: Tensor, target: Tensor, options?: R2Options): Promise<number | number[]>;
  /** fit gives it all outputs and targets of an epoch at once: the score of a set is no mean of the scores of its batches. */
  readonly wholeSet: true;
}

const WAYS = ['uniformAverage', 'varianceWeighted', 'rawValues'] as const;

/** Predictions and targets as numbers, checked. */
async function read(prediction: Tensor, target: Tensor): Promise<{ p: Float32Array; t: Float32Array; rows: number }> {
  for (const [name, value] of Object.entries({ prediction, target })) {
    if (!(value instanceof Tensor))
      fail('r2Score', `the ${name} is ${describe(value)}`, 'pass a tensor; tensor(values) makes one');
  }
  const { shape } = target;
  const shapes = [prediction.shape, shape];
  if (prediction.ndim !== shape.length || shape.some((d, i) => d !== prediction.shape[i]))
    fail(
      'r2Score',
      `the prediction has shape ${show(prediction.shape)}, the target ${show(shape)}`,
      'pass predictions and targets of one shape; reshape one of them',
      { shapes },
    );
  if (shape.length !== 1 && shape.length !== 2)
    fail('r2Score', `the tensors have shape ${show(shape)}`, 'pass [n] or [n, outputs]', { shapes });
  if (shape[0] < 2)
    fail(
      'r2Score',
      `there is ${shape[0]} sample, in tensors of shape ${show(shape)}`,
      'pass at least 2 samples: one has no variance',
      { shapes },
    );
  const [p, t] = await Promise.all([prediction.data(), target.data()]);
  return { p, t, rows: shape[0] };
}

async function score(prediction: Tensor, target: Tensor, options: R2Options = {}): Promise<number | number[]> {
  checkOptions('r2Score', options, ['multioutput', 'forceFinite']);
  const { forceFinite = true } = options;
  const way = checkChoice('r2Score', 'multioutput', options.multioutput ?? 'uniformAverage', WAYS);
  if (typeof forceFinite !== 'boolean')
    fail('r2Score', `forceFinite is ${describe(forceFinite)}`, 'pass true or false');
  const { p, t, rows } = await read(prediction, target);
  const outputs = t.length / rows;
  const scores: number[] = [];
  const variations: number[] = [];
  for (let j = 0; j < outputs; j++) {
    // float64 sums of float32 numbers: the mean of a constant column is its value exactly, and the variation 0.
    let mean = 0;
    for (let i = j; i < t.length; i += outputs) mean += t[i];
    mean /= rows;
    let [error, variation] = [0, 0];
    for (let i = j; i < t.length; i += outputs) {
      error += (t[i] - p[i]) ** 2;
      variation += (t[i] - mean) ** 2;
    }
    variations.push(variation);
    // A NaN among the predictions stays one, also where the target is constant.
    const constant = forceFinite && variation === 0 && !Number.isNaN(error);
    scores.push(constant ? (error === 0 ? 1 : 0) : 1 - error / variation);
  }
  if (way === 'rawValues') return scores;
  // All targets constant: there are no weights.
  const even = way === 'uniformAverage' || variations.every((v) => v === 0);
  const weights = even ? variations.map(() => 1) : variations;
  const weight = weights.reduce((sum, w) => sum + w, 0);
  return scores.reduce((sum, s, j) => sum + s * weights[j], 0) / weight;
}

/**
 * The coefficient of determination 1 - Σ(t - p)² / Σ(t - mean t)² of predictions and targets of one shape, [n] or
 * [n, outputs], as sklearn.metrics.r2_score. NaN where one of the numbers is NaN. fit takes it over the whole
 * validation set (`wholeSet`), so that a last batch of one sample does no harm.
 * @throws TapegradError for different shapes, other dimensions, fewer than two samples, and unknown options
 */
export const r2Score: R2Score = /* @__PURE__ */ Object.assign(score as Omit<R2Score, 'wholeSet'> as R2Score, {
  wholeSet: true as const,
});
