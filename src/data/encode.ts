import { tensor } from '../create.js';
import { checkBoolean, checkInteger, checkNumber, checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { Generator, generator } from '../random.js';
import { checkShape } from '../shape.js';
import { commonRows, featureValues, knownValues, takeRows } from './rows.js';

/** Above 2^24 float32 does not represent every integer, so two labels could become equal. */
const MAX_CLASSES = 2 ** 24;

/**
 * One-hot encodes class indices. Same as
 * [torch.nn.functional.one_hot](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.one_hot.html), in float32.
 *
 * @param labels class indices, shape [n]: integers from 0 to classes - 1
 * @param classes the number of classes; default: the largest label plus 1
 * @returns a tensor of shape [n, classes] on the device of `labels`: 1 at each label, 0 elsewhere
 * @throws TapegradError if `labels` does not have shape [n], if a label is not an integer in 0 … classes - 1, and for more
 *   than 2^24 classes or more elements than a tensor can have
 * @example
 * ```ts
 * import { data, tensor } from 'tapegrad';
 *
 * console.log(data.oneHot(tensor([2, 0]), 3).toArraySync()); // [[0, 0, 1], [1, 0, 0]]
 * ```
 */
export function oneHot(labels: Tensor, classes?: number): Tensor {
  if (!(labels instanceof Tensor) || labels.ndim !== 1)
    fail(
      'oneHot',
      `the labels are ${labels instanceof Tensor ? `of shape ${show(labels.shape)}` : describe(labels)}`,
      'pass a tensor of class indices, of shape [n]',
    );
  const most = classes === undefined ? MAX_CLASSES : checkInteger('oneHot', 'classes', classes);
  if (most > MAX_CLASSES)
    fail('oneHot', `classes is ${most}`, `pass at most 2^24 (${MAX_CLASSES}): float32 labels cannot represent more`);
  const values = labels.hostValues('oneHot');
  let largest = 0;
  values.forEach((v, i) => {
    if (!Number.isInteger(v) || v < 0 || v >= most)
      fail(
        'oneHot',
        `label ${i} is ${v} for ${classes === undefined ? 'at most ' : ''}${most} classes`,
        `labels are integers from 0 to ${most - 1}`,
      );
    if (v > largest) largest = v;
  });
  const count = classes ?? largest + 1;
  const shape = checkShape('oneHot', [values.length, count]);
  const out = new Float32Array(values.length * count);
  values.forEach((v, i) => {
    out[i * count + v] = 1;
  });
  return tensor(out, { shape, device: labels.device });
}

/** Options of {@link trainTestSplit}. */
export interface SplitOptions {
  /** The fraction of the samples in the test set, between 0 and 1. Default 0.25. */
  testSize?: number;
  /** Whether to shuffle the samples before splitting. Default true. */
  shuffle?: boolean;
  /** Seed of the shuffle. Default: drawn from the global random stream (see manualSeed). */
  seed?: number;
}

/**
 * Splits samples along the first dimension into a training set and a test set. Same as
 * [sklearn.model_selection.train_test_split](https://scikit-learn.org/stable/modules/generated/sklearn.model_selection.train_test_split.html).
 *
 * @param x samples, shape [n, ..]
 * @param options size of the test set, shuffling and seed
 * @returns [xTrain, xTest]; the test set has ceil(n · testSize) samples
 * @throws TapegradError for unknown options, and for a `testSize` that leaves one of the sets empty
 * @example
 * ```ts
 * import { arange, data } from 'tapegrad';
 *
 * const [train, test] = data.trainTestSplit(arange(20).reshape([10, 2]), { testSize: 0.3, seed: 1 });
 * console.log(train.shape, test.shape); // [7, 2] [3, 2]
 * ```
 */
export function trainTestSplit(x: Tensor, options?: SplitOptions): [Tensor, Tensor];
/**
 * Splits two tensors the same way, so that their rows stay paired.
 *
 * @param x samples, shape [n, ..]
 * @param y targets, shape [n, ..]
 * @param options size of the test set, shuffling and seed
 * @returns [xTrain, xTest, yTrain, yTest]
 * @throws TapegradError for different numbers of samples, unknown options, and a `testSize` that leaves one of the sets empty
 * @example
 * ```ts
 * import { arange, data } from 'tapegrad';
 *
 * const x = arange(20).reshape([10, 2]);
 * const [xTrain, xTest, yTrain, yTest] = data.trainTestSplit(x, arange(10), { testSize: 0.3, seed: 1 });
 * console.log(xTrain.shape, xTest.shape, yTrain.shape, yTest.shape); // [7, 2] [3, 2] [7] [3]
 * ```
 */
export function trainTestSplit(x: Tensor, y: Tensor, options?: SplitOptions): [Tensor, Tensor, Tensor, Tensor];
export function trainTestSplit(x: Tensor, second?: Tensor | SplitOptions, third?: SplitOptions): Tensor[] {
  const tensors = second instanceof Tensor ? [x, second] : [x];
  const options = (second instanceof Tensor ? third : second) ?? {};
  checkOptions('trainTestSplit', options, ['testSize', 'shuffle', 'seed']);
  const n = commonRows('trainTestSplit', tensors);
  const fraction = checkNumber('trainTestSplit', 'testSize', options.testSize ?? 0.25);
  const test = Math.ceil(n * fraction);
  if (test < 1 || test >= n)
    fail(
      'trainTestSplit',
      `testSize ${fraction} of ${n} samples leaves ${test} for the test and ${n - test} for training`,
      'choose a fraction between 0 and 1 that leaves both at least one',
    );
  const { shuffle = true } = options;
  checkBoolean('trainTestSplit', 'shuffle', shuffle);
  const stream = options.seed === undefined ? generator : new Generator(options.seed);
  const order = shuffle ? stream.permutation(n) : Int32Array.from({ length: n }, (_, i) => i);
  return tensors.flatMap((t) => {
    const host = knownValues(t);
    const part = (from: number, to: number) => takeRows('trainTestSplit', t, host, order, from, to);
    return [part(0, n - test), part(n - test, n)];
  });
}

/**
 * Splits a matrix into groups of adjacent columns, for example features and targets of one table.
 *
 * @param x a matrix, shape [n, f]
 * @param widths the number of columns of each group; their sum is f
 * @returns one tensor of shape [n, width] for each width, in order
 * @throws TapegradError if `x` does not have shape [n, f], or the widths are not positive integers with the sum f
 * @example
 * ```ts
 * import { data, zeros } from 'tapegrad';
 *
 * const [features, target] = data.splitColumns(zeros([5, 11]), [10, 1]);
 * console.log(features.shape, target.shape); // [5, 10] [5, 1]
 * ```
 */
export function splitColumns(x: Tensor, widths: readonly number[]): Tensor[] {
  const { values, rows, columns } = featureValues('splitColumns', x);
  if (!Array.isArray(widths))
    fail('splitColumns', `widths is ${describe(widths)}`, `pass an array of column counts that add up to ${columns}`);
  const total = (widths as readonly number[]).reduce(
    (sum, w, i) => sum + checkInteger('splitColumns', `widths[${i}]`, w),
    0,
  );
  if (total !== columns)
    fail(
      'splitColumns',
      `widths that add up to ${total} for a tensor of shape ${show(x.shape)}`,
      `they must add up to ${columns}`,
      { shapes: [x.shape] },
    );
  let from = 0;
  return widths.map((width) => {
    const out = new Float32Array(rows * width);
    for (let i = 0; i < rows; i++) out.set(values.subarray(i * columns + from, i * columns + from + width), i * width);
    from += width;
    return tensor(out, { shape: [rows, width], device: x.device });
  });
}
