import { tensor } from '../create.js';
import { checkBoolean, checkInteger, checkNumber, checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { Generator, generator } from '../random.js';
import { checkShape } from '../shape.js';
import { commonRows, featureValues, knownValues, takeRows } from './rows.js';

/** From here on float32 has no longer every whole number, so that a label may stand for its neighbour. */
const MOST_CLASSES = 2 ** 24;

/**
 * Class indices [n] as rows [n, classes] with a single 1.
 * @param classes default: one more than the largest label
 * @throws TapegradError for labels that are not whole numbers in 0 … classes - 1, more than 2^24 classes, and more elements
 * than a tensor may have
 */
export function oneHot(labels: Tensor, classes?: number): Tensor {
  if (!(labels instanceof Tensor) || labels.ndim !== 1)
    fail(
      'oneHot',
      `the labels are ${labels instanceof Tensor ? `of shape ${show(labels.shape)}` : describe(labels)}`,
      'pass a tensor of class indices, of shape [n]',
    );
  const most = classes === undefined ? MOST_CLASSES : checkInteger('oneHot', 'classes', classes);
  if (most > MOST_CLASSES)
    fail('oneHot', `classes is ${most}`, `pass at most 2^24 (${MOST_CLASSES}): float32 labels tell no more apart`);
  const values = labels.hostValues('oneHot');
  let largest = 0;
  values.forEach((v, i) => {
    if (!Number.isInteger(v) || v < 0 || v >= most)
      fail(
        'oneHot',
        `label ${i} is ${v} for ${classes === undefined ? 'at most ' : ''}${most} classes`,
        `labels are whole numbers from 0 to ${most - 1}`,
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

export interface SplitOptions {
  /** The share of the samples that go to the test set, between 0 and 1. Default 0.25. */
  testSize?: number;
  /** Default true. */
  shuffle?: boolean;
  /** Fixes the order; from the global random stream by default. */
  seed?: number;
}

/**
 * Splits samples (first dimension) into training and test sets, as scikit-learn's train_test_split: gives
 * [xTrain, xTest], or [xTrain, xTest, yTrain, yTest] for two tensors, whose rows stay together.
 * @throws TapegradError for different numbers of samples, or a share that leaves one side empty
 */
export function trainTestSplit(x: Tensor, options?: SplitOptions): [Tensor, Tensor];
export function trainTestSplit(x: Tensor, y: Tensor, options?: SplitOptions): [Tensor, Tensor, Tensor, Tensor];
export function trainTestSplit(x: Tensor, second?: Tensor | SplitOptions, third?: SplitOptions): Tensor[] {
  const tensors = second instanceof Tensor ? [x, second] : [x];
  const options = (second instanceof Tensor ? third : second) ?? {};
  checkOptions('trainTestSplit', options, ['testSize', 'shuffle', 'seed']);
  const n = commonRows('trainTestSplit', tensors);
  const share = checkNumber('trainTestSplit', 'testSize', options.testSize ?? 0.25);
  const test = Math.ceil(n * share);
  if (test < 1 || test >= n)
    fail(
      'trainTestSplit',
      `testSize ${share} of ${n} samples leaves ${test} for the test and ${n - test} for training`,
      'choose a share between 0 and 1 that leaves both at least one',
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
 * Cuts features [n, f] into groups of columns: widths [10, 1] of an [n, 11] give an [n, 10] and an [n, 1].
 * @throws TapegradError for widths that do not add up to the number of columns
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
