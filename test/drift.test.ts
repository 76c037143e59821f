import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { metrics } from '../src/index.js';
import { errorOf } from './helpers.js';

const golden = JSON.parse(readFileSync('test/golden/drift.json', 'utf8')) as {
  cases: {
    name: string;
    sample: number[];
    reference: number[];
    statistic: number;
    pValue: number;
    wasserstein: number;
  }[];
};

describe('drift statistics', () => {
  it.each(golden.cases)('equal SciPy for $name', ({ sample, reference, statistic, pValue, wasserstein }) => {
    const ks = metrics.kolmogorovSmirnov(sample, reference);
    expect(ks.statistic).toBeCloseTo(statistic, 12);
    expect(ks.pValue).toBeCloseTo(pValue, 10);
    expect(metrics.wasserstein(sample, reference)).toBeCloseTo(wasserstein, 10);
  });
  it('population stability index: by hand, and 0 for the same', () => {
    expect(metrics.psiOfCounts([10, 30], [20, 20])).toBeCloseTo(-0.25 * Math.log(0.5) + 0.25 * Math.log(1.5), 12);
    expect(metrics.psiOfCounts([0, 10], [5, 5])).toBeCloseTo((1e-4 - 0.5) * Math.log(2e-4) + 0.5 * Math.log(2), 12);
    const x = Array.from({ length: 100 }, (_, i) => i);
    expect(metrics.psi(x, x)).toBe(0);
    expect(metrics.psi([1, 1, 1], [1, 1, 1, 1])).toBe(0);
    expect(
      metrics.psi(
        x.map((v) => v + 50),
        x,
      ),
    ).toBeGreaterThan(0.25);
  });
  it('refuse empty and unsorted samples', async () => {
    expect((await errorOf(() => metrics.psi([], [1]))).message).toContain('the sample is empty');
    expect((await errorOf(() => metrics.wasserstein([1], [2, 1]))).message).toContain('the reference has 1 at 1');
    expect((await errorOf(() => metrics.kolmogorovSmirnov([NaN], [1]))).message).toContain('NaN at 0');
    expect((await errorOf(() => metrics.psiOfCounts([1], [1, 2]))).message).toContain('1 and 2 bins');
  });
});
