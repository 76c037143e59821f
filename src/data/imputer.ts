import { tensor } from '../create.js';
import { checkChoice, checkNumber, checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { checkFitted, notCloneable } from './fitted.js';
import { checkFeatures, featureValues, isInfinite, refuseValues } from './rows.js';

/** Options of {@link Imputer}. */
export interface ImputeOptions {
  /** 'mean' replaces a missing value with the feature's mean in the training data, 'constant' with `value`. Default 'mean'. */
  strategy?: 'mean' | 'constant';
  /** The replacement for the strategy 'constant'. Default 0. */
  value?: number;
}

/** The fitted values of an {@link Imputer}. */
export interface ImputerJSON {
  /** The replacement of each feature. */
  readonly fill: readonly number[];
}

/** The remedy for an infinite value, which would make the mean of a feature infinite. */
const INFINITE = 'only NaN marks a missing value: remove infinite values, or make them NaN';

/**
 * Replaces missing values (NaN) in features. Infinite values are not missing values, and are refused. Same as
 * [sklearn.impute.SimpleImputer](https://scikit-learn.org/stable/modules/generated/sklearn.impute.SimpleImputer.html).
 *
 * @example
 * ```ts
 * import { data, tensor } from 'tapegrad';
 *
 * const imputer = new data.Imputer().fit(tensor([[1], [3], [NaN]]));
 * console.log(imputer.transform(tensor([[NaN], [7]])).toArraySync()); // [[2], [7]]
 * ```
 */
export class Imputer {
  readonly #strategy: 'mean' | 'constant';
  readonly #value: number;
  #fill: readonly number[] | null = null;
  /** @internal */
  protected readonly notCloneable = notCloneable;

  /**
   * @param options strategy and constant
   * @throws TapegradError for an unknown option or strategy, a `value` that float32 cannot represent as a finite number, and a
   *   `value` for the strategy 'mean'
   */
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

  /**
   * Learns the replacement of each feature from training data.
   *
   * @param x features, shape [n, f]
   * @returns this
   * @throws TapegradError if `x` does not have shape [n, f] or has infinite values, and with the strategy 'mean' for a
   *   feature whose values are all missing
   */
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

  /**
   * Replaces missing values.
   *
   * @param x features, shape [n, f]
   * @returns a tensor of shape [n, f] without NaN, on the device of `x`
   * @throws TapegradError before fit, for another number of features, and for infinite values
   */
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

  /**
   * Calls `fit`, then `transform`, with the same features.
   *
   * @param x features, shape [n, f]
   * @returns a tensor of shape [n, f] without NaN
   * @throws TapegradError as `fit`
   */
  fitTransform(x: Tensor): Tensor {
    return this.fit(x).transform(x);
  }

  /**
   * The fitted values, for JSON.stringify; `fromJSON` restores them.
   *
   * @returns the replacement of each feature
   * @throws TapegradError before fit
   */
  toJSON(): ImputerJSON {
    if (this.#fill === null) fail('Imputer', 'it has not been fitted', 'call fit(x) with training data first');
    return { fill: [...this.#fill] };
  }

  /**
   * Restores a fitted imputer.
   *
   * @param json what `toJSON` returned: the replacement of each feature
   * @returns a fitted imputer
   * @throws TapegradError for anything that `toJSON` does not return
   */
  static fromJSON(json: ImputerJSON): Imputer {
    const imputer = new Imputer();
    imputer.#fill = checkFitted('Imputer.fromJSON', 'fill', json?.fill);
    return imputer;
  }
}

/**
 * Replaces missing values (NaN) with a statistic of the same data. Use an {@link Imputer} where validation or test data must
 * be filled with the statistics of the training data.
 *
 * @param x features, shape [n, f]
 * @param options strategy and constant
 * @returns a tensor of shape [n, f] without NaN
 * @throws TapegradError as the constructor and `fit` of Imputer
 * @example
 * ```ts
 * import { data, tensor } from 'tapegrad';
 *
 * console.log(data.impute(tensor([[1], [NaN], [3]])).toArraySync()); // [[1], [2], [3]]
 * ```
 */
export function impute(x: Tensor, options: ImputeOptions = {}): Tensor {
  return new Imputer(options).fitTransform(x);
}
