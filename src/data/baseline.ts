import { checkInteger, checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { checkFeatures, featureValues, isInfinite, refuseValues } from './rows.js';

// The baseline of drift monitoring: statistics of the training data, small enough to be stored in the model file.

/** The distribution of one column. */
export interface ColumnBaseline {
  /** The name of the feature or output. */
  readonly name: string;
  /** Order statistics in ascending order at evenly spaced ranks, including minimum and maximum; all values if there are few. */
  readonly points: readonly number[];
  /** The number of missing values (NaN). */
  readonly missing: number;
}

/** Statistics of the training data and of the model's outputs for it, made by {@link computeBaseline}. */
export interface Baseline {
  /** The number of samples. */
  readonly rows: number;
  /** One entry for each feature. */
  readonly features: readonly ColumnBaseline[];
  /** One entry for each output of the model; empty if no outputs were given. */
  readonly outputs: readonly ColumnBaseline[];
  /** For each output the number of samples for which it was the largest; empty for fewer than two outputs. */
  readonly classes: readonly number[];
}

/** Options of {@link computeBaseline}. */
export interface BaselineOptions {
  /** The names of the features. Default: feature_0, feature_1 … */
  names?: readonly string[];
  /** The number of order statistics per column, at least 2. Default 1000, or fewer (at least 51) for more than 65 columns. */
  points?: number;
}

const MAX_POINTS = 1000;
const MIN_POINTS = 51;
const MAX_NUMBERS = 65_000;

function columnBaselines(
  op: string,
  what: 'feature' | 'output',
  x: Tensor,
  names: readonly string[],
  limit: number | undefined,
): ColumnBaseline[] {
  const { values, rows, columns } = featureValues(op, x);
  refuseValues(op, values, columns, isInfinite, 'remove infinite values; NaN counts as missing', what);
  const maxPoints = limit ?? Math.max(MIN_POINTS, Math.min(MAX_POINTS, Math.floor(MAX_NUMBERS / columns)));
  return Array.from({ length: columns }, (_, j) => {
    const column = new Float32Array(rows);
    let n = 0;
    for (let i = 0; i < rows; i++) {
      const v = values[i * columns + j];
      if (!Number.isNaN(v)) column[n++] = v;
    }
    const sorted = column.subarray(0, n).sort();
    const kept = Math.min(n, maxPoints);
    const points = Array.from(
      { length: kept },
      (_, i) => sorted[kept === 1 ? 0 : Math.round((i * (n - 1)) / (kept - 1))],
    );
    return { name: names[j], points, missing: rows - n };
  });
}

/**
 * Computes the baseline that a server compares later requests with to detect drift. Pass it to `saveModel`. The features are
 * those that requests contain, before any preprocessor.
 *
 * @param inputs features, shape [n, f]; NaN counts as missing
 * @param outputs the model's outputs for them, shape [n, o]; without them the drift of predictions is not monitored
 * @param options names of the features, and number of order statistics
 * @returns a JSON-serializable object
 * @throws TapegradError for other shapes, different numbers of rows, infinite values, and unknown or invalid options
 * @example
 * ```ts
 * import { data, nn, noGrad, randn } from 'tapegrad';
 *
 * const [model, x] = [new nn.Linear(2, 3), randn([100, 2])];
 * const baseline = data.computeBaseline(x, noGrad(() => model.forward(x)), { names: ['age', 'income'] });
 * console.log(baseline.rows, baseline.features[0].points.length); // 100 100
 * ```
 */
export function computeBaseline(inputs: Tensor, outputs?: Tensor, options: BaselineOptions = {}): Baseline {
  const op = 'computeBaseline';
  checkOptions(op, options, ['names', 'points']);
  if (options.points !== undefined) checkInteger(op, 'points', options.points, 2);
  checkFeatures(op, inputs);
  if (inputs.shape[0] === 0) fail(op, 'there are no samples', 'pass at least one row of training data');
  const features = inputs.shape[1];
  const names = options.names ?? Array.from({ length: features }, (_, j) => `feature_${j}`);
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string'))
    fail(op, `names is ${describe(names)}`, 'pass an array of strings');
  if (names.length !== features)
    fail(op, `${names.length} names for ${features} features`, 'pass one name for each feature');
  if (outputs !== undefined && (!(outputs instanceof Tensor) || outputs.ndim !== 2))
    fail(
      op,
      `the outputs are ${outputs instanceof Tensor ? `of shape ${show(outputs.shape)}` : describe(outputs)}`,
      'pass a tensor of shape [samples, outputs]',
    );
  if (outputs !== undefined && outputs.shape[0] !== inputs.shape[0])
    fail(
      op,
      `inputs of shape ${show(inputs.shape)} and outputs of shape ${show(outputs.shape)}`,
      'pass the outputs of the same samples',
      {
        shapes: [inputs.shape, outputs.shape],
      },
    );
  const baseline = {
    rows: inputs.shape[0],
    features: columnBaselines(op, 'feature', inputs, names, options.points),
    outputs:
      outputs === undefined
        ? []
        : columnBaselines(
            op,
            'output',
            outputs,
            Array.from({ length: outputs.shape[1] }, (_, j) => `output_${j}`),
            options.points,
          ),
    classes: outputs === undefined || outputs.shape[1] < 2 ? [] : classCounts(outputs),
  };
  return checkBaseline(op, baseline);
}

function classCounts(outputs: Tensor): number[] {
  const { values, rows, columns } = featureValues('computeBaseline', outputs);
  const counts = new Array<number>(columns).fill(0);
  for (let i = 0; i < rows; i++) counts[largest(values.subarray(i * columns, (i + 1) * columns))]++;
  return counts;
}

/** The index of the first largest number. @internal */
export function largest(row: ArrayLike<number>): number {
  let best = 0;
  for (let j = 1; j < row.length; j++) if (row[j] > row[best]) best = j;
  return best;
}

/** Requires an object that computeBaseline can return. @internal */
export function checkBaseline(op: string, value: unknown): Baseline {
  const wrong = (problem: string): never =>
    fail(op, `the baseline ${problem}`, 'pass what data.computeBaseline returned');
  const { rows, features, outputs, classes } = (value ?? {}) as Record<string, unknown>;
  const counts = (v: unknown): v is number[] => Array.isArray(v) && v.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!Number.isSafeInteger(rows) || (rows as number) < 1) wrong(`has ${describe(rows)} rows`);
  for (const [what, columns] of Object.entries({ features, outputs })) {
    if (!Array.isArray(columns) || (what === 'features' && columns.length === 0))
      wrong(`has the ${what} ${describe(columns)}`);
    (columns as unknown[]).forEach((column, j) => {
      const { name, points, missing } = (column ?? {}) as Record<string, unknown>;
      if (typeof name !== 'string' || !counts([missing])) wrong(`has a column ${j} of ${what} without name or missing`);
      if (!Array.isArray(points) || !points.every((v, i) => Number.isFinite(v) && (i === 0 || v >= points[i - 1])))
        wrong(`has points of '${String(name)}' that are not finite numbers in ascending order`);
    });
  }
  if (!counts(classes)) wrong(`has the class counts ${describe(classes)}`);
  return value as Baseline;
}
