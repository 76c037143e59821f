import { checkInteger, checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { checkFeatures, featureValues, isInfinite, refuseValues } from './rows.js';

// What training data looked like, small enough to travel with the model: monitoring compares what arrives later with it.

/** The values of one column. */
export interface ColumnProfile {
  readonly name: string;
  /** Values in rising order at evenly spaced ranks, the least and the greatest among them; all of them if they are few. */
  readonly points: readonly number[];
  /** How many values were NaN. */
  readonly missing: number;
}

export interface TrainingProfile {
  /** How many samples it was made from. */
  readonly rows: number;
  readonly features: readonly ColumnProfile[];
  /** The model's outputs for them, column by column; empty if they were not given. */
  readonly outputs: readonly ColumnProfile[];
  /** How many samples each output was the largest for; empty without outputs, or with one. */
  readonly classes: readonly number[];
}

export interface ProfileOptions {
  /** The features' names. Default: feature_0, feature_1 … */
  names?: readonly string[];
  /** How many values are kept of each column. Default 1000, or fewer (51 at least) for more than 65 columns. */
  points?: number;
}

const MOST_POINTS = 1000;
const FEWEST_POINTS = 51;
const MOST_NUMBERS = 65_000;

function columnProfiles(
  op: string,
  what: 'feature' | 'output',
  x: Tensor,
  names: readonly string[],
  wanted: number | undefined,
): ColumnProfile[] {
  const { values, rows, columns } = featureValues(op, x);
  refuseValues(op, values, columns, isInfinite, 'remove infinite values; NaN counts as missing', what);
  const most = wanted ?? Math.max(FEWEST_POINTS, Math.min(MOST_POINTS, Math.floor(MOST_NUMBERS / columns)));
  return Array.from({ length: columns }, (_, j) => {
    const column = new Float32Array(rows);
    let n = 0;
    for (let i = 0; i < rows; i++) {
      const v = values[i * columns + j];
      if (!Number.isNaN(v)) column[n++] = v;
    }
    const sorted = column.subarray(0, n).sort();
    const kept = Math.min(n, most);
    const points = Array.from(
      { length: kept },
      (_, i) => sorted[kept === 1 ? 0 : Math.round((i * (n - 1)) / (kept - 1))],
    );
    return { name: names[j], points, missing: rows - n };
  });
}

/**
 * What features [n, f] and the model's outputs [n, o] for them look like, for saveModel and for the monitoring of a server.
 * Pass the features as requests will bring them: before the preparation.
 * @throws TapegradError for other shapes, different numbers of rows, and infinite values
 */
export function trainingProfile(inputs: Tensor, outputs?: Tensor, options: ProfileOptions = {}): TrainingProfile {
  const op = 'trainingProfile';
  checkOptions(op, options, ['names', 'points']);
  if (options.points !== undefined) checkInteger(op, 'points', options.points, 2);
  checkFeatures(op, inputs);
  const features = inputs.shape[1];
  const names = options.names ?? Array.from({ length: features }, (_, j) => `feature_${j}`);
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string'))
    fail(op, `names is ${describe(names)}`, 'pass an array of texts');
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
  const profile = {
    rows: inputs.shape[0],
    features: columnProfiles(op, 'feature', inputs, names, options.points),
    outputs:
      outputs === undefined
        ? []
        : columnProfiles(
            op,
            'output',
            outputs,
            Array.from({ length: outputs.shape[1] }, (_, j) => `output_${j}`),
            options.points,
          ),
    classes: outputs === undefined || outputs.shape[1] < 2 ? [] : classCounts(outputs),
  };
  return checkProfile(op, profile);
}

function classCounts(outputs: Tensor): number[] {
  const { values, rows, columns } = featureValues('trainingProfile', outputs);
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

/** Requires a profile as trainingProfile makes it. @internal */
export function checkProfile(op: string, value: unknown): TrainingProfile {
  const wrong = (problem: string): never =>
    fail(op, `the training profile ${problem}`, 'pass what data.trainingProfile gave');
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
        wrong(`has points of '${String(name)}' that are not finite numbers in rising order`);
    });
  }
  if (!counts(classes)) wrong(`has the class counts ${describe(classes)}`);
  return value as TrainingProfile;
}
