import { tensor } from '../create.js';
import { checkChoice, checkNumber, checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { checkFeatures, featureValues, isInfinite, refuseValues } from './rows.js';

// Preparations are fitted on training data and then applied to everything else. toJSON holds all that was learnt;
// fromJSON brings it back.

function checkNumbers(op: string, name: string, value: unknown): number[] {
  // What was learnt from float32 numbers is within their range.
  const known = (v: unknown) => typeof v === 'number' && Number.isFinite(Math.fround(v));
  if (!Array.isArray(value) || value.length === 0 || !value.every(known)) {
    fail(op, `${name} is ${describe(value)}`, 'pass what toJSON() gave');
  }
  return value.slice();
}

/** The columns of features [n, f] without gaps. */
function columnsOf(op: string, x: Tensor): { column: (j: number) => Float64Array; columns: number } {
  const { values, rows, columns } = featureValues(op, x);
  const remedy = 'fill gaps with an Imputer first, and remove infinite values';
  refuseValues(op, values, columns, (v) => !Number.isFinite(v), remedy);
  const column = (j: number) => Float64Array.from({ length: rows }, (_, i) => values[i * columns + j]);
  return { column, columns };
}

/** Every preparation carries this, because structuredClone would copy it without its numbers. It shows this text and throws. */
const notCloneable = () => 'It cannot be cloned or posted. Send toJSON(), then use fromJSON.';

abstract class Affine<Learnt extends { [name: string]: readonly number[] }> {
  #learnt: Learnt | null = null;
  /** @internal */
  protected readonly notCloneable = notCloneable;
  /** For errors; the class's own name does not survive minifiers. */
  protected abstract readonly title: string;

  /** What fit learnt. @throws TapegradError before fit */
  protected learnt(op: string): Learnt {
    if (this.#learnt === null)
      fail(`${this.title}.${op}`, 'it has not been fitted', 'call fit(x) with training data first');
    return this.#learnt;
  }

  protected learn(learnt: Learnt): this {
    this.#learnt = learnt;
    return this;
  }

  /** (x - shift) / scale, by column. */
  protected abstract affine(learnt: Learnt): { shift: readonly number[]; scale: readonly number[] };

  /** Learns from features [n, f]. @throws TapegradError for other shapes and for values that are not finite */
  abstract fit(x: Tensor): this;

  /**
   * Scales features [n, f]. A gap stays NaN, which an Imputer can fill afterwards, and an infinite value stays infinite.
   * @throws TapegradError before fit, or for another number of features
   */
  transform(x: Tensor): Tensor {
    return this.#map(
      'transform',
      x,
      (v, shift, scale) => (v - shift) / scale,
      (t, shift, scale) => t.sub(shift).div(scale),
    );
  }

  /** Undoes transform. @throws TapegradError before fit, or for another number of features */
  inverseTransform(x: Tensor): Tensor {
    return this.#map(
      'inverseTransform',
      x,
      (v, shift, scale) => v * scale + shift,
      (t, shift, scale) => t.mul(scale).add(shift),
    );
  }

  /** On the host in double precision, or on the device for what was computed there. */
  #map(
    name: string,
    x: Tensor,
    onHost: (v: number, shift: number, scale: number) => number,
    onDevice: (t: Tensor, shift: Tensor, scale: Tensor) => Tensor,
  ): Tensor {
    const op = `${this.title}.${name}`;
    const { shift, scale } = this.affine(this.learnt(name));
    checkFeatures(op, x, shift.length);
    const { shape, device } = x;
    const values = x.peek();
    if (values === null) {
      return onDevice(x.detach(), tensor([...shift], { device }), tensor([...scale], { device }));
    }
    const n = shift.length;
    return tensor(
      Float64Array.from(values, (v, i) => onHost(v, shift[i % n], scale[i % n])),
      { shape, device },
    );
  }

  /** fit, then transform, of the same features. */
  fitTransform(x: Tensor): Tensor {
    return this.fit(x).transform(x);
  }

  /** What fit learnt, for JSON.stringify. @throws TapegradError before fit */
  toJSON(): Learnt {
    return Object.fromEntries(
      Object.entries(this.learnt('toJSON')).map(([name, numbers]) => [name, [...numbers]]),
    ) as unknown as Learnt;
  }
}

/**
 * The standard deviation over n, or 0 where the numbers differ by no more than the mean's rounding error: dividing by that
 * would make large features of it. The limit is scikit-learn's.
 */
function deviation(column: Float64Array, mean: number): number {
  const n = column.length;
  const variance = column.reduce((s, v) => s + (v - mean) ** 2, 0) / n;
  return variance <= n * Number.EPSILON * variance + (n * mean * Number.EPSILON) ** 2 ? 0 : Math.sqrt(variance);
}

/**
 * Subtracts each feature's mean and divides by its standard deviation (over n, as scikit-learn). A feature that is constant,
 * but for rounding errors, has the deviation 0 and is divided by 1.
 */
export class StandardScaler extends Affine<{ mean: readonly number[]; std: readonly number[] }> {
  protected override readonly title = 'StandardScaler';

  override fit(x: Tensor): this {
    const { column, columns } = columnsOf('StandardScaler.fit', x);
    const moments = Array.from({ length: columns }, (_, j) => {
      const c = column(j);
      const mean = c.reduce((s, v) => s + v, 0) / c.length;
      return { mean, std: deviation(c, mean) };
    });
    return this.learn({ mean: moments.map((m) => m.mean), std: moments.map((m) => m.std) });
  }

  protected override affine({ mean, std }: { mean: readonly number[]; std: readonly number[] }): {
    shift: readonly number[];
    scale: readonly number[];
  } {
    return { shift: mean, scale: std.map((s) => s || 1) };
  }

  /** The scaler that toJSON described. @throws TapegradError for anything else */
  static fromJSON(json: { mean: readonly number[]; std: readonly number[] }): StandardScaler {
    const mean = checkNumbers('StandardScaler.fromJSON', 'mean', json?.mean);
    const std = checkNumbers('StandardScaler.fromJSON', 'std', json?.std);
    if (mean.length !== std.length)
      fail('StandardScaler.fromJSON', `${mean.length} means and ${std.length} deviations`, 'pass what toJSON() gave');
    const negative = std.findIndex((s) => s < 0);
    if (negative >= 0)
      fail('StandardScaler.fromJSON', `std[${negative}] is ${std[negative]}`, 'pass what toJSON() gave');
    return new StandardScaler().learn({ mean, std });
  }
}

/** Maps each feature's range in the training data to 0..1 (a constant feature to 0). */
export class MinMaxScaler extends Affine<{ min: readonly number[]; max: readonly number[] }> {
  protected override readonly title = 'MinMaxScaler';

  override fit(x: Tensor): this {
    const { column, columns } = columnsOf('MinMaxScaler.fit', x);
    const all = Array.from({ length: columns }, (_, j) => column(j));
    const fold = (f: (a: number, b: number) => number) => all.map((c) => c.reduce((a, b) => f(a, b)));
    return this.learn({ min: fold(Math.min), max: fold(Math.max) });
  }

  protected override affine({ min, max }: { min: readonly number[]; max: readonly number[] }): {
    shift: readonly number[];
    scale: readonly number[];
  } {
    return { shift: min, scale: max.map((m, j) => m - min[j] || 1) };
  }

  /** The scaler that toJSON described. @throws TapegradError for anything else */
  static fromJSON(json: { min: readonly number[]; max: readonly number[] }): MinMaxScaler {
    const min = checkNumbers('MinMaxScaler.fromJSON', 'min', json?.min);
    const max = checkNumbers('MinMaxScaler.fromJSON', 'max', json?.max);
    if (min.length !== max.length)
      fail('MinMaxScaler.fromJSON', `${min.length} minima and ${max.length} maxima`, 'pass what toJSON() gave');
    const crossed = max.findIndex((m, j) => m < min[j]);
    if (crossed >= 0)
      fail(
        'MinMaxScaler.fromJSON',
        `min[${crossed}] is ${min[crossed]} and max[${crossed}] ${max[crossed]}`,
        'pass what toJSON() gave',
      );
    return new MinMaxScaler().learn({ min, max });
  }
}

export interface ImputeOptions {
  /** 'mean' fills a gap with the feature's mean in the training data, 'constant' with `value`. Default 'mean'. */
  strategy?: 'mean' | 'constant';
  /** For 'constant' only. Default 0. */
  value?: number;
}

/** What to do about an infinite value, which would make a feature's mean infinite. */
const INFINITE = 'only NaN stands for a gap: remove infinite values, or make them NaN';

/** Fills gaps (NaN) in features [n, f]. Infinite values are no gaps, and refused. */
export class Imputer {
  readonly #strategy: 'mean' | 'constant';
  readonly #value: number;
  #fill: readonly number[] | null = null;
  /** @internal */
  protected readonly notCloneable = notCloneable;

  /** @throws TapegradError for an unknown strategy, a value that is not finite, also as float32, and a value for 'mean' */
  constructor(options: ImputeOptions = {}) {
    checkOptions('Imputer', options, ['strategy', 'value']);
    this.#strategy = checkChoice('Imputer', 'strategy', options.strategy ?? 'mean', ['mean', 'constant']);
    if (options.value !== undefined && this.#strategy !== 'constant')
      fail(
        'Imputer',
        `value is ${describe(options.value)} for the strategy '${this.#strategy}'`,
        "add strategy: 'constant', or leave value out",
      );
    this.#value = checkNumber('Imputer', 'value', options.value ?? 0);
    if (isInfinite(Math.fround(this.#value)))
      fail('Imputer', `value is ${this.#value}`, 'pass a number that float32 can hold: at most 3.4028235e38');
  }

  /** Learns what to fill in from features [n, f]. @throws TapegradError for other shapes, infinite values, and for a feature without any value */
  fit(x: Tensor): this {
    const { values, rows, columns } = featureValues('Imputer.fit', x);
    refuseValues('Imputer.fit', values, columns, isInfinite, INFINITE);
    this.#fill = Array.from({ length: columns }, (_, j) => {
      if (this.#strategy === 'constant') return this.#value;
      let sum = 0;
      let n = 0;
      for (let i = 0; i < rows; i++) {
        const v = values[i * columns + j];
        if (Number.isNaN(v)) continue;
        sum += v;
        n++;
      }
      if (n === 0)
        fail('Imputer.fit', `feature ${j} has no value in any sample`, "drop it, or use { strategy: 'constant' }");
      return sum / n;
    });
    return this;
  }

  /** Features [n, f] without gaps. @throws TapegradError before fit, for another number of features, and for infinite values */
  transform(x: Tensor): Tensor {
    const fill = this.toJSON().fill;
    checkFeatures('Imputer.transform', x, fill.length);
    const values = x.hostValues('Imputer.transform');
    refuseValues('Imputer.transform', values, fill.length, isInfinite, INFINITE);
    return tensor(
      values.map((v, i) => (Number.isNaN(v) ? fill[i % fill.length] : v)),
      { shape: x.shape, device: x.device },
    );
  }

  /** fit, then transform, of the same features. */
  fitTransform(x: Tensor): Tensor {
    return this.fit(x).transform(x);
  }

  /** What fit learnt, for JSON.stringify. @throws TapegradError before fit */
  toJSON(): { fill: readonly number[] } {
    if (this.#fill === null) fail('Imputer', 'it has not been fitted', 'call fit(x) with training data first');
    return { fill: [...this.#fill] };
  }

  /** The imputer that toJSON described. @throws TapegradError for anything else */
  static fromJSON(json: { fill: readonly number[] }): Imputer {
    const imputer = new Imputer();
    imputer.#fill = checkNumbers('Imputer.fromJSON', 'fill', json?.fill);
    return imputer;
  }
}

/** Fills the gaps (NaN) of features [n, f] from themselves; an Imputer does it for data other than the training data. */
export function impute(x: Tensor, options: ImputeOptions = {}): Tensor {
  return new Imputer(options).fitTransform(x);
}

/** A preparation that is fitted on training data and applied to features [n, f]. */
export type Preparation = StandardScaler | MinMaxScaler | Imputer;

/** By the names under which they are written down; the classes' own names do not survive minifiers. */
const preparations = { StandardScaler, MinMaxScaler, Imputer } as const;

/** @internal */
export function isPreparation(value: unknown): value is Preparation {
  return Object.values(preparations).some((Class) => value instanceof Class);
}

/** What fit learnt, with the preparation's name under `type`. @throws TapegradError before fit @internal */
export function preparationJSON(p: Preparation): { readonly type: string } {
  const [type] = Object.entries(preparations).find(([, Class]) => p instanceof Class)!;
  return { type, ...p.toJSON() };
}

/** The preparation that preparationJSON described. @throws TapegradError for anything else @internal */
export function fromPreparation(json: unknown): { name: string; preparation: Preparation; features: number } {
  const { type, ...learnt } = (json ?? {}) as Record<string, readonly number[]> & { type?: unknown };
  if (typeof type !== 'string' || !Object.hasOwn(preparations, type))
    fail(
      'loadModel',
      `a preparation is ${describe(type)}`,
      `known are ${Object.keys(preparations).join(', ')}; update tapegrad, or get a fresh copy of the file`,
    );
  const preparation = preparations[type as keyof typeof preparations].fromJSON(learnt as never);
  const numbers: Record<string, readonly number[]> = { ...preparation.toJSON() };
  return { name: type, preparation, features: Object.values(numbers)[0].length };
}
