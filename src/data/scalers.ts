import { tensor } from '../create.js';
import { fail, show } from '../errors.js';
import type { Tensor } from '../methods.js';
import { checkFitted, notCloneable } from './fitted.js';
import { checkFeatures, featureValues, refuseValues } from './rows.js';

/** The columns of features [n, f] without missing or infinite values. */
function columnsOf(op: string, x: Tensor): { column: (j: number) => Float64Array; columns: number } {
  const { values, rows, columns } = featureValues(op, x);
  const remedy = 'fill missing values with an Imputer first, and remove infinite values';
  refuseValues(op, values, columns, (v) => !Number.isFinite(v), remedy);
  const column = (j: number) => Float64Array.from({ length: rows }, (_, i) => values[i * columns + j]);
  return { column, columns };
}

/** The fitted values of a {@link StandardScaler}. */
export interface StandardScalerJSON {
  /** The mean of each feature. */
  readonly mean: readonly number[];
  /** The standard deviation of each feature. */
  readonly std: readonly number[];
}

/** The fitted values of a {@link MinMaxScaler}. */
export interface MinMaxScalerJSON {
  /** The minimum of each feature. */
  readonly min: readonly number[];
  /** The maximum of each feature. */
  readonly max: readonly number[];
}

/** A preprocessor that maps each feature linearly: (x - shift) / scale. */
abstract class Scaler<Fitted extends StandardScalerJSON | MinMaxScalerJSON> {
  #fitted: Fitted | null = null;
  /** @internal */
  protected readonly notCloneable = notCloneable;
  /** The class name for errors; minifiers change the name of the class itself. @internal */
  protected abstract readonly title: string;

  /** The fitted values. @throws TapegradError before fit @internal */
  protected fitted(op: string): Fitted {
    if (this.#fitted === null)
      fail(`${this.title}.${op}`, 'it has not been fitted', 'call fit(x) with training data first');
    return this.#fitted;
  }

  /** @internal */
  protected setFitted(fitted: Fitted): this {
    this.#fitted = fitted;
    return this;
  }

  /** Shift and scale of each column. @internal */
  protected abstract affine(fitted: Fitted): { shift: readonly number[]; scale: readonly number[] };

  /**
   * Learns shift and scale of each feature from training data. A second call replaces the first.
   *
   * @param x features, shape [n, f]
   * @returns this
   * @throws TapegradError if `x` does not have shape [n, f], or has a value that is NaN or infinite
   */
  abstract fit(x: Tensor): this;

  /**
   * Scales features. A missing value stays NaN, so that an Imputer can fill it afterwards; an infinite value stays infinite.
   *
   * @param x features, shape [n, f]
   * @returns a tensor of shape [n, f] on the device of `x`, without gradient history
   * @throws TapegradError before fit, and for another number of features
   */
  transform(x: Tensor): Tensor {
    return this.#map(
      'transform',
      x,
      (v, shift, scale) => (v - shift) / scale,
      (t, shift, scale) => t.sub(shift).div(scale),
    );
  }

  /**
   * Reverses `transform`, for example to convert predictions back to the original unit.
   *
   * @param x scaled features, shape [n, f]
   * @returns a tensor of shape [n, f] on the device of `x`, without gradient history
   * @throws TapegradError before fit, and for another number of features
   */
  inverseTransform(x: Tensor): Tensor {
    return this.#map(
      'inverseTransform',
      x,
      (v, shift, scale) => v * scale + shift,
      (t, shift, scale) => t.mul(scale).add(shift),
    );
  }

  /** On the host in double precision; on the device for tensors whose values the host cannot read without waiting. */
  #map(
    name: string,
    x: Tensor,
    onHost: (v: number, shift: number, scale: number) => number,
    onDevice: (t: Tensor, shift: Tensor, scale: Tensor) => Tensor,
  ): Tensor {
    const op = `${this.title}.${name}`;
    const { shift, scale } = this.affine(this.fitted(name));
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

  /**
   * Calls `fit`, then `transform`, with the same features.
   *
   * @param x features, shape [n, f]
   * @returns the scaled features, shape [n, f]
   * @throws TapegradError if `x` does not have shape [n, f], or has a value that is NaN or infinite
   */
  fitTransform(x: Tensor): Tensor {
    return this.fit(x).transform(x);
  }

  /**
   * The fitted values, for JSON.stringify; `fromJSON` restores them.
   *
   * @returns arrays with one number for each feature
   * @throws TapegradError before fit
   */
  toJSON(): Fitted {
    return Object.fromEntries(
      Object.entries(this.fitted('toJSON')).map(([name, numbers]) => [name, [...numbers]]),
    ) as unknown as Fitted;
  }
}

/**
 * The standard deviation over n, or 0 where the values differ by at most the rounding error of the mean: dividing by such a
 * deviation would amplify rounding errors. The limit is scikit-learn's.
 */
function deviation(column: Float64Array, mean: number): number {
  const n = column.length;
  const variance = column.reduce((s, v) => s + (v - mean) ** 2, 0) / n;
  return variance <= n * Number.EPSILON * variance + (n * mean * Number.EPSILON) ** 2 ? 0 : Math.sqrt(variance);
}

/**
 * Standardizes features: subtracts the mean and divides by the standard deviation (over n, not n - 1). A feature that is
 * constant within rounding errors has the deviation 0 and is divided by 1. Same as
 * [sklearn.preprocessing.StandardScaler](https://scikit-learn.org/stable/modules/generated/sklearn.preprocessing.StandardScaler.html).
 *
 * @example
 * ```ts
 * import { data, tensor } from 'tapegrad';
 *
 * const scaler = new data.StandardScaler().fit(tensor([[1], [3]]));
 * console.log(scaler.transform(tensor([[5]])).toArraySync()); // [[3]]
 * const restored = data.StandardScaler.fromJSON(JSON.parse(JSON.stringify(scaler)));
 * ```
 */
export class StandardScaler extends Scaler<StandardScalerJSON> {
  /** @internal */
  protected override readonly title = 'StandardScaler';

  override fit(x: Tensor): this {
    const { column, columns } = columnsOf('StandardScaler.fit', x);
    const moments = Array.from({ length: columns }, (_, j) => {
      const c = column(j);
      const mean = c.reduce((s, v) => s + v, 0) / c.length;
      return { mean, std: deviation(c, mean) };
    });
    return this.setFitted({ mean: moments.map((m) => m.mean), std: moments.map((m) => m.std) });
  }

  /** @internal */
  protected override affine({ mean, std }: StandardScalerJSON): {
    shift: readonly number[];
    scale: readonly number[];
  } {
    return { shift: mean, scale: std.map((s) => s || 1) };
  }

  /**
   * Restores a fitted scaler.
   *
   * @param json what `toJSON` returned: mean and standard deviation of each feature
   * @returns a fitted scaler
   * @throws TapegradError for anything that `toJSON` does not return
   */
  static fromJSON(json: StandardScalerJSON): StandardScaler {
    const mean = checkFitted('StandardScaler.fromJSON', 'mean', json?.mean);
    const std = checkFitted('StandardScaler.fromJSON', 'std', json?.std);
    if (mean.length !== std.length)
      fail(
        'StandardScaler.fromJSON',
        `${mean.length} means and ${std.length} deviations`,
        'pass what toJSON() returned',
      );
    const negative = std.findIndex((s) => s < 0);
    if (negative >= 0)
      fail('StandardScaler.fromJSON', `std[${negative}] is ${std[negative]}`, 'pass what toJSON() returned');
    return new StandardScaler().setFitted({ mean, std });
  }
}

/**
 * Scales each feature from its range in the training data to 0..1; a constant feature becomes 0. Same as
 * [sklearn.preprocessing.MinMaxScaler](https://scikit-learn.org/stable/modules/generated/sklearn.preprocessing.MinMaxScaler.html).
 *
 * @example
 * ```ts
 * import { data, tensor } from 'tapegrad';
 *
 * const scaler = new data.MinMaxScaler().fit(tensor([[0], [10]]));
 * console.log(scaler.transform(tensor([[5]])).toArraySync()); // [[0.5]]
 * ```
 */
export class MinMaxScaler extends Scaler<MinMaxScalerJSON> {
  /** @internal */
  protected override readonly title = 'MinMaxScaler';

  override fit(x: Tensor): this {
    const { column, columns } = columnsOf('MinMaxScaler.fit', x);
    if (x.size === 0) fail('MinMaxScaler.fit', `the tensor has shape ${show(x.shape)}`, 'pass at least one sample');
    const all = Array.from({ length: columns }, (_, j) => column(j));
    const fold = (f: (a: number, b: number) => number) => all.map((c) => c.reduce((a, b) => f(a, b)));
    return this.setFitted({ min: fold(Math.min), max: fold(Math.max) });
  }

  /** @internal */
  protected override affine({ min, max }: MinMaxScalerJSON): {
    shift: readonly number[];
    scale: readonly number[];
  } {
    return { shift: min, scale: max.map((m, j) => m - min[j] || 1) };
  }

  /**
   * Restores a fitted scaler.
   *
   * @param json what `toJSON` returned: minimum and maximum of each feature
   * @returns a fitted scaler
   * @throws TapegradError for anything that `toJSON` does not return
   */
  static fromJSON(json: MinMaxScalerJSON): MinMaxScaler {
    const min = checkFitted('MinMaxScaler.fromJSON', 'min', json?.min);
    const max = checkFitted('MinMaxScaler.fromJSON', 'max', json?.max);
    if (min.length !== max.length)
      fail('MinMaxScaler.fromJSON', `${min.length} minima and ${max.length} maxima`, 'pass what toJSON() returned');
    const crossed = max.findIndex((m, j) => m < min[j]);
    if (crossed >= 0)
      fail(
        'MinMaxScaler.fromJSON',
        `min[${crossed}] is ${min[crossed]} and max[${crossed}] ${max[crossed]}`,
        'pass what toJSON() returned',
      );
    return new MinMaxScaler().setFitted({ min, max });
  }
}
