import { checkChoice, checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';

/** Options of {@link r2Score}. */
export interface R2Options {
  /**
   * How to combine the scores of several outputs: their mean ('uniformAverage', the default), their mean weighted by the
   * variances of the targets ('varianceWeighted'), or an array with one score for each output ('rawValues').
   */
  multioutput?: 'uniformAverage' | 'varianceWeighted' | 'rawValues';
  /** Whether a constant target scores 1 for perfect predictions and 0 otherwise, instead of NaN and -Infinity. Default true. */
  forceFinite?: boolean;
}

/** The type of {@link r2Score}: its result is an array with 'rawValues', otherwise a number. */
export interface R2Score {
  /**
   * The score as one number.
   *
   * @param prediction predictions, shape [n] or [n, outputs]
   * @param target targets, same shape
   * @param options how to combine outputs, and the score of constant targets
   * @returns the score, at most 1
   */
  (
    prediction: Tensor,
    target: Tensor,
    options?: R2Options & { multioutput?: 'uniformAverage' | 'varianceWeighted' },
  ): Promise<number>;
  /**
   * One score for each output.
   *
   * @param prediction predictions, shape [n] or [n, outputs]
   * @param target targets, same shape
   * @param options how to combine outputs, and the score of constant targets
   * @returns the scores
   */
  (prediction: Tensor, target: Tensor, options: R2Options & { multioutput: 'rawValues' }): Promise<number[]>;
  /**
   * The score or scores, for options whose type does not determine which.
   *
   * @param prediction predictions, shape [n] or [n, outputs]
   * @param target targets, same shape
   * @param options how to combine outputs, and the score of constant targets
   * @returns an array with 'rawValues', otherwise a number
   */
  (prediction: Tensor, target: Tensor, options?: R2Options): Promise<number | number[]>;
  /** Makes `fit` pass all outputs and targets of an epoch at once: the score of a set is not the mean of the scores of its batches. */
  readonly wholeSet: true;
}

const WAYS = ['uniformAverage', 'varianceWeighted', 'rawValues'] as const;

/** The values of predictions and targets, after checking the shapes. */
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
    // float64 sums of float32 values: the mean of a constant column is exactly its value, and the variation is 0.
    let mean = 0;
    for (let i = j; i < t.length; i += outputs) mean += t[i];
    mean /= rows;
    let [error, variation] = [0, 0];
    for (let i = j; i < t.length; i += outputs) {
      error += (t[i] - p[i]) ** 2;
      variation += (t[i] - mean) ** 2;
    }
    variations.push(variation);
    // NaN in the predictions gives NaN, also for a constant target.
    const constant = forceFinite && variation === 0 && !Number.isNaN(error);
    scores.push(constant ? (error === 0 ? 1 : 0) : 1 - error / variation);
  }
  if (way === 'rawValues') return scores;
  // If all targets are constant, all weights are 0: use the plain mean.
  const even = way === 'uniformAverage' || variations.every((v) => v === 0);
  const weights = even ? variations.map(() => 1) : variations;
  const weight = weights.reduce((sum, w) => sum + w, 0);
  return scores.reduce((sum, s, j) => sum + s * weights[j], 0) / weight;
}

/**
 * The coefficient of determination, 1 - Σ(t - p)² / Σ(t - mean t)². Same as
 * [sklearn.metrics.r2_score](https://scikit-learn.org/stable/modules/generated/sklearn.metrics.r2_score.html). A NaN in the
 * predictions or targets gives NaN. As a metric of `fit` it is computed over the whole validation set (`wholeSet`), so a last
 * batch with a single sample is allowed.
 *
 * @throws TapegradError for different shapes, other numbers of dimensions, fewer than two samples, and unknown options
 * @example
 * ```ts
 * import { metrics, tensor } from 'tapegrad';
 *
 * console.log(await metrics.r2Score(tensor([1, 2, 3]), tensor([1, 2, 3]))); // 1
 * ```
 */
export const r2Score: R2Score = /* @__PURE__ */ Object.assign(score as Omit<R2Score, 'wholeSet'> as R2Score, {
  wholeSet: true as const,
});
