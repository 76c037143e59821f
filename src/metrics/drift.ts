import { checkInteger, describe, fail } from '../errors.js';

// Measures of drift: how much the distribution of a sample differs from a reference. All take sorted finite numbers.

function checkSorted(op: string, name: string, values: ArrayLike<number>): void {
  if (typeof values?.length !== 'number')
    fail(op, `the ${name} is ${describe(values)}`, 'pass an array of finite numbers in ascending order');
  if (values.length === 0) fail(op, `the ${name} is empty`, 'pass at least one number');
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]) || (i > 0 && values[i] < values[i - 1]))
      fail(op, `the ${name} has ${describe(values[i])} at ${i}`, 'pass finite numbers in ascending order');
  }
}

/** The number of sorted values below `limit`, or with `equal` at most `limit`. */
function countTo(values: ArrayLike<number>, limit: number, equal: boolean): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (values[middle] < limit || (equal && values[middle] === limit)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The lower bound of a bin's fraction, so that an empty bin does not make the index infinite. */
const LEAST_FRACTION = 1e-4;

/**
 * The population stability index of two histograms: Σ (a - e) ln(a / e) over the fractions of their bins, each at least
 * 0.0001. By convention a value below 0.1 is stable and a value above 0.25 a considerable shift
 * ([Yurdakul and Naranjo 2020](https://doi.org/10.21314/JRMV.2020.227)).
 *
 * @param actual counts of the sample, one for each bin
 * @param expected counts of the reference in the same bins
 * @returns the index, at least 0
 * @throws TapegradError for different numbers of bins, counts that are negative or not finite, and counts whose sum is 0
 * @example
 * ```ts
 * import { metrics } from 'tapegrad';
 *
 * console.log(metrics.psiOfCounts([50, 50], [50, 50])); // 0
 * ```
 */
export function psiOfCounts(actual: readonly number[], expected: readonly number[]): number {
  const total = (name: string, counts: readonly number[]) => {
    if (!Array.isArray(counts)) fail('psiOfCounts', `${name} is ${describe(counts)}`, 'pass an array of counts');
    return counts.reduce((sum, n, i) => {
      if (!Number.isFinite(n) || n < 0)
        fail('psiOfCounts', `${name} has ${describe(n)} in bin ${i}`, 'pass counts of at least 0');
      return sum + n;
    }, 0);
  };
  const [a, e] = [total('actual', actual), total('expected', expected)];
  if (actual.length !== expected.length || !(a > 0) || !(e > 0))
    fail(
      'psiOfCounts',
      `${actual.length} and ${expected.length} bins with ${a} and ${e} values`,
      'pass counts of the same bins, not all 0',
    );
  return actual.reduce((sum, n, i) => {
    const [p, q] = [Math.max(n / a, LEAST_FRACTION), Math.max(expected[i] / e, LEAST_FRACTION)];
    return sum + (p - q) * Math.log(p / q);
  }, 0);
}

/** The upper bounds of the bins of a sorted reference: its quantiles, and both sides of a value that fills a bin alone. */
function cutsOf(reference: ArrayLike<number>, bins: number): { limit: number; equal: boolean }[] {
  const n = reference.length;
  const quantiles = Array.from({ length: bins - 1 }, (_, i) => reference[Math.ceil(((i + 1) / bins) * n) - 1]);
  const alone = new Set<number>();
  for (let from = 0; from < n; ) {
    const to = countTo(reference, reference[from], true);
    // A value that occurs once gets no bin of its own, even if the reference has fewer values than bins.
    if (to - from > 1 && (to - from) * bins >= n) alone.add(reference[from]);
    from = to;
  }
  const limits = [...new Set([...quantiles, ...alone])].sort((a, b) => a - b);
  return limits.flatMap((limit) => [...(alone.has(limit) ? [{ limit, equal: false }] : []), { limit, equal: true }]);
}

/**
 * The population stability index of a sample and a reference, with bins between the quantiles of the reference; see
 * {@link psiOfCounts}. A value that is frequent enough to fill a bin (a constant reference, or the zeros of a sparse feature)
 * gets a bin of its own, so that values below or above it count as a shift.
 *
 * @param sample finite numbers in ascending order
 * @param reference finite numbers in ascending order
 * @param bins the number of quantile bins, at least 2
 * @returns the index, at least 0
 * @throws TapegradError for arrays that are empty or not sorted, and fewer than 2 bins
 * @example
 * ```ts
 * import { metrics } from 'tapegrad';
 *
 * const reference = Array.from({ length: 100 }, (_, i) => i);
 * console.log(metrics.psi(reference, reference)); // 0
 * ```
 */
export function psi(sample: ArrayLike<number>, reference: ArrayLike<number>, bins = 10): number {
  checkInteger('psi', 'bins', bins, 2);
  checkSorted('psi', 'sample', sample);
  checkSorted('psi', 'reference', reference);
  const cuts = cutsOf(reference, bins);
  const counts = (values: ArrayLike<number>) => {
    const upTo = [...cuts.map(({ limit, equal }) => countTo(values, limit, equal)), values.length];
    return upTo.map((n, i) => n - (i > 0 ? upTo[i - 1] : 0));
  };
  return psiOfCounts(counts(sample), counts(reference));
}

/** Calls `visit` for each interval between adjacent values, with both distribution functions on it and its width. */
function walk(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  visit: (fa: number, fb: number, width: number) => void,
): void {
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const x = j >= b.length || (i < a.length && a[i] <= b[j]) ? a[i] : b[j];
    while (i < a.length && a[i] === x) i++;
    while (j < b.length && b[j] === x) j++;
    const next = Math.min(i < a.length ? a[i] : Infinity, j < b.length ? b[j] : Infinity);
    visit(i / a.length, j / b.length, next === Infinity ? 0 : next - x);
  }
}

/** The probability that the scaled Kolmogorov statistic exceeds `x`: 2 Σ (-1)^(k-1) exp(-2 k² x²). */
function kolmogorov(x: number): number {
  if (x < 1.18) {
    // The equivalent theta series, which converges faster for small x.
    if (x < 0.04) return 1;
    const t = Math.exp((-Math.PI * Math.PI) / (8 * x * x));
    return 1 - (Math.sqrt(2 * Math.PI) / x) * (t + t ** 9 + t ** 25 + t ** 49);
  }
  const t = Math.exp(-2 * x * x);
  return 2 * (t - t ** 4 + t ** 9 - t ** 16);
}

/**
 * The two-sample Kolmogorov-Smirnov test. Same as
 * [scipy.stats.ks_2samp](https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.ks_2samp.html) with the asymptotic
 * p-value of [scipy.special.kolmogorov](https://docs.scipy.org/doc/scipy/reference/generated/scipy.special.kolmogorov.html).
 *
 * @param sample finite numbers in ascending order
 * @param reference finite numbers in ascending order
 * @param referenceSize the number of values that the reference summarizes. Default: its length
 * @returns statistic and p-value
 * @throws TapegradError for arrays that are empty or not sorted, and a size that is not an integer of at least 1
 * @example
 * ```ts
 * import { metrics } from 'tapegrad';
 *
 * console.log(metrics.kolmogorovSmirnov([1, 2, 3], [4, 5, 6]).statistic); // 1
 * ```
 */
export function kolmogorovSmirnov(
  sample: ArrayLike<number>,
  reference: ArrayLike<number>,
  referenceSize = reference?.length,
): {
  /** The largest difference of the two distribution functions, in 0..1. */
  statistic: number;
  /** The probability of a difference at least as large if both samples come from one distribution. */
  pValue: number;
} {
  checkSorted('kolmogorovSmirnov', 'sample', sample);
  checkSorted('kolmogorovSmirnov', 'reference', reference);
  checkInteger('kolmogorovSmirnov', 'referenceSize', referenceSize);
  let statistic = 0;
  walk(sample, reference, (fa, fb) => {
    statistic = Math.max(statistic, Math.abs(fa - fb));
  });
  const n = (sample.length * referenceSize) / (sample.length + referenceSize);
  return { statistic, pValue: kolmogorov(Math.sqrt(n) * statistic) };
}

/**
 * The first Wasserstein distance (earth mover's distance): the area between the two distribution functions. Same as
 * [scipy.stats.wasserstein_distance](https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.wasserstein_distance.html).
 *
 * @param sample finite numbers in ascending order
 * @param reference finite numbers in ascending order
 * @returns the distance, in the unit of the numbers
 * @throws TapegradError for arrays that are empty or not sorted
 * @example
 * ```ts
 * import { metrics } from 'tapegrad';
 *
 * console.log(metrics.wasserstein([0, 1], [2, 3])); // 2
 * ```
 */
export function wasserstein(sample: ArrayLike<number>, reference: ArrayLike<number>): number {
  checkSorted('wasserstein', 'sample', sample);
  checkSorted('wasserstein', 'reference', reference);
  let area = 0;
  walk(sample, reference, (fa, fb, width) => {
    area += Math.abs(fa - fb) * width;
  });
  return area;
}
