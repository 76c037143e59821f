import { checkInteger, describe, fail } from '../errors.js';

// How far a sample has moved from a reference. All take finite numbers in rising order.

function checkSorted(op: string, name: string, values: ArrayLike<number>): void {
  if (typeof values?.length !== 'number')
    fail(op, `the ${name} is ${describe(values)}`, 'pass an array of finite numbers in rising order');
  if (values.length === 0) fail(op, `the ${name} is empty`, 'pass at least one number');
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]) || (i > 0 && values[i] < values[i - 1]))
      fail(op, `the ${name} has ${describe(values[i])} at ${i}`, 'pass finite numbers in rising order');
  }
}

/** How many of the sorted values are below `limit`, or with `equal` at most that. */
function countTo(values: ArrayLike<number>, limit: number, equal: boolean): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (values[middle] < limit || (equal && values[middle] === limit)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Shares below this are taken for it, so that an empty bin does not make the index infinite. */
const LEAST_SHARE = 1e-4;

/**
 * The population stability index of shares: Σ (a - b) ln(a / b), each share 0.0001 at least. Below 0.1 is called stable,
 * above 0.25 a considerable shift.
 * @param actual counts by bin
 * @param expected counts by bin
 * @throws TapegradError for different numbers of bins, counts that are negative or not finite, or add up to nothing
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
    const [p, q] = [Math.max(n / a, LEAST_SHARE), Math.max(expected[i] / e, LEAST_SHARE)];
    return sum + (p - q) * Math.log(p / q);
  }, 0);
}

/** Where the bins of a sorted reference end: at its quantiles, and on both sides of values that fill a bin alone. */
function cutsOf(reference: ArrayLike<number>, bins: number): { limit: number; equal: boolean }[] {
  const n = reference.length;
  const quantiles = Array.from({ length: bins - 1 }, (_, i) => reference[Math.ceil(((i + 1) / bins) * n) - 1]);
  const alone = new Set<number>();
  for (let from = 0; from < n; ) {
    const to = countTo(reference, reference[from], true);
    // A value that is there once is never taken for a constant, not even in a reference that has fewer values than bins.
    if (to - from > 1 && (to - from) * bins >= n) alone.add(reference[from]);
    from = to;
  }
  const limits = [...new Set([...quantiles, ...alone])].sort((a, b) => a - b);
  return limits.flatMap((limit) => [...(alone.has(limit) ? [{ limit, equal: false }] : []), { limit, equal: true }]);
}

/**
 * The population stability index over bins between the reference's quantiles (deciles by default). A value that is repeated
 * until it fills a bin (all of a constant reference, the zeros of a mostly empty one) has a bin of its own, so that what
 * lies below it or above it counts as a shift.
 * @throws TapegradError for empty or unsorted samples, and fewer than 2 bins
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

/** Calls `visit` for every stretch between neighbouring values with both distribution functions on it. */
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
    // The other theta series, which converges quickly here.
    if (x < 0.04) return 1;
    const t = Math.exp((-Math.PI * Math.PI) / (8 * x * x));
    return 1 - (Math.sqrt(2 * Math.PI) / x) * (t + t ** 9 + t ** 25 + t ** 49);
  }
  const t = Math.exp(-2 * x * x);
  return 2 * (t - t ** 4 + t ** 9 - t ** 16);
}

/**
 * The two-sample Kolmogorov-Smirnov test: the greatest distance between the distribution functions, and the asymptotic
 * probability of one at least so great by chance, as scipy.stats.ks_2samp and scipy.special.kolmogorov.
 * @param referenceSize how many values the reference stands for. Default: as many as it has
 * @throws TapegradError for empty or unsorted samples, and a size that is no whole number of at least 1
 */
export function kolmogorovSmirnov(
  sample: ArrayLike<number>,
  reference: ArrayLike<number>,
  referenceSize = reference?.length,
): { statistic: number; pValue: number } {
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
 * The Wasserstein distance (earth mover's distance): the area between the distribution functions, as
 * scipy.stats.wasserstein_distance.
 * @throws TapegradError for empty or unsorted samples
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
