import { describe, expect, it, vi } from 'vitest';
import { isGradEnabled } from '../src/autograd/mode.js';
import { full, type Metric, metrics, noGrad, Tensor, tensor, zeros } from '../src/index.js';
import { errorOf } from './helpers.js';

const { accuracy, confusionMatrix, psi, psiOfCounts, r2Score } = metrics;
const message = async (run: () => unknown) => (await errorOf(run)).message;

describe('r2Score', () => {
  // The examples of sklearn.metrics.r2_score's documentation.
  const target = tensor([
    [0.5, 1],
    [-1, 1],
    [7, -6],
  ]);
  const prediction = tensor([
    [0, 2],
    [-1, 2],
    [8, -5],
  ]);
  it("gives scikit-learn's numbers", async () => {
    expect(await r2Score(tensor([2.5, 0, 2, 8]), tensor([3, -0.5, 2, 7]))).toBeCloseTo(0.9486081370449679, 12);
    expect(await r2Score(prediction, target, { multioutput: 'varianceWeighted' })).toBeCloseTo(0.9382566585956417, 12);
    const raw = await r2Score(prediction, target, { multioutput: 'rawValues' });
    expect(raw).toHaveLength(2);
    expect(raw[0]).toBeCloseTo(1 - 1.25 / (0.5 ** 2 + 1 + 49 - 6.5 ** 2 / 3), 12);
    expect(raw[1]).toBeCloseTo(1 - 3 / (38 - 16 / 3), 12);
    expect(await r2Score(prediction, target)).toBeCloseTo((raw[0] + raw[1]) / 2, 12);
    expect(await r2Score(prediction, target, { multioutput: 'uniformAverage' })).toBe(
      await r2Score(prediction, target),
    );
    expect(await r2Score(tensor([3, 2, 1]), tensor([1, 2, 3]))).toBe(-3);
    expect(await r2Score(tensor([1, 2]), tensor([1, 2]))).toBe(1);
  });
  it('takes a column as a vector', async () => {
    expect(await r2Score(tensor([[1], [2], [4]]), tensor([[1], [2], [3]]))).toBe(0.5);
    expect(await r2Score(tensor([[1], [2], [4]]), tensor([[1], [2], [3]]), { multioutput: 'rawValues' })).toEqual([
      0.5,
    ]);
  });
  it('scores constant targets', async () => {
    const [one, met, missed] = [tensor([0.1, 0.1, 0.1]), tensor([0.1, 0.1, 0.1]), tensor([0.1, 0.1, 0.2])];
    expect(await r2Score(met, one)).toBe(1);
    expect(await r2Score(missed, one)).toBe(0);
    expect(await r2Score(met, one, { forceFinite: false })).toBeNaN();
    expect(await r2Score(missed, one, { forceFinite: false })).toBe(-Infinity);
    expect(await r2Score(missed, one, { forceFinite: true })).toBe(0);
    // With weights of variances a constant column has none, and where all are constant they count alike.
    const t = tensor([
      [1, 5],
      [2, 5],
      [3, 5],
    ]);
    const p = tensor([
      [1, 5],
      [2, 5],
      [4, 6],
    ]);
    expect(await r2Score(p, t, { multioutput: 'rawValues' })).toEqual([0.5, 0]);
    expect(await r2Score(p, t)).toBe(0.25);
    expect(await r2Score(p, t, { multioutput: 'varianceWeighted' })).toBe(0.5);
    const constant = tensor([
      [1, 5],
      [1, 5],
    ]);
    const half = tensor([
      [1, 5],
      [1, 6],
    ]);
    expect(await r2Score(half, constant, { multioutput: 'varianceWeighted' })).toBe(0.5);
  });
  it('counts in double precision', async () => {
    const n = 100_000;
    expect(await r2Score(full([n], 0.1), full([n], 0.1))).toBe(1);
    const t = Float32Array.from({ length: n }, (_, i) => 1e4 + (i % 2));
    expect(await r2Score(full([n], 1e4 + 0.5), tensor(t))).toBe(0);
  });
  it('keeps NaN', async () => {
    expect(await r2Score(tensor([1, NaN]), tensor([1, 2]))).toBeNaN();
    expect(await r2Score(tensor([1, NaN]), tensor([1, 1]))).toBeNaN();
    expect(await r2Score(tensor([1, 2]), tensor([1, NaN]))).toBeNaN();
  });
  it('asks fit for the whole set, and is a metric', async () => {
    expect(r2Score.wholeSet).toBe(true);
    const metric: Metric = r2Score;
    expect(await metric(tensor([1, 2, 4]), tensor([1, 2, 3]))).toBe(0.5);
  });
  it.each<[string, () => unknown, string]>([
    ['a column for a vector', () => r2Score(zeros([3, 1]), zeros([3])), 'shape [3, 1], the target [3]; pass pred'],
    ['a vector for a column', () => r2Score(zeros([3]), zeros([3, 1])), 'shape [3], the target [3, 1]'],
    ['another order', () => r2Score(zeros([2, 3]), zeros([3, 2])), 'shape [2, 3], the target [3, 2]'],
    ['another last dimension', () => r2Score(zeros([2, 3]), zeros([2, 2])), 'of one shape'],
    [
      'one sample',
      () => r2Score(zeros([1]), zeros([1])),
      'there is 1 sample, in tensors of shape [1]; pass at least 2',
    ],
    ['one row', () => r2Score(zeros([1, 4]), zeros([1, 4])), 'of shape [1, 4]'],
    ['a scalar', () => r2Score(tensor(1), tensor(1)), 'shape []; pass [n] or [n, outputs]'],
    ['three dimensions', () => r2Score(zeros([2, 2, 2]), zeros([2, 2, 2])), 'shape [2, 2, 2]; pass [n]'],
    ['an array', () => r2Score([1, 2] as never, zeros([2])), 'the prediction is [1, 2]; pass a tensor'],
    ['no target', () => r2Score(zeros([2]), undefined as never), 'the target is undefined'],
    ['an unknown option', () => r2Score(zeros([2]), zeros([2]), { force: 1 } as never), "unknown option 'force'"],
    [
      'an unknown way',
      () => r2Score(zeros([2]), zeros([2]), { multioutput: 'raw_values' as never }),
      "multioutput is 'raw_values'; pass one of 'uniformAverage', 'varianceWeighted', 'rawValues'",
    ],
    ['no boolean', () => r2Score(zeros([2]), zeros([2]), { forceFinite: 1 as never }), 'forceFinite is 1; pass true'],
  ])('refuses %s', async (_, run, text) => {
    const error = await errorOf(run);
    expect(error.op).toBe('r2Score');
    expect(error.message).toContain(text);
  });
  it('carries the shapes', async () => {
    const shapes = [[3, 1], [3]];
    expect((await errorOf(() => r2Score(zeros([3, 1]), zeros([3])))).shapes).toEqual(shapes);
  });
});

describe('accuracy and confusionMatrix', () => {
  const logits = tensor([
    [1, 2, 0],
    [3, 1, 3],
    [0, 5, 6],
  ]);
  it('count, the first of equal ones', async () => {
    expect(await accuracy(logits, tensor([1, 0, 1]))).toBeCloseTo(2 / 3, 12);
    expect(await accuracy(logits, tensor([1, 0, 2]))).toBe(1);
    expect(await confusionMatrix(logits, tensor([1, 0, 1]), 3)).toEqual([
      [1, 0, 0],
      [0, 1, 1],
      [0, 0, 0],
    ]);
    expect((await confusionMatrix(logits, tensor([3, 0, 1]), 4))[3]).toEqual([0, 1, 0, 0]);
  });
  it('let NaN win, as NumPy', async () => {
    const broken = tensor([
      [1, NaN, 3],
      [9, NaN, NaN],
    ]);
    expect(await accuracy(broken, tensor([1, 1]))).toBe(1);
    expect(await confusionMatrix(broken, tensor([2, 2]), 3)).toEqual([
      [0, 0, 0],
      [0, 0, 0],
      [0, 2, 0],
    ]);
  });
  it('take -0 for class 0', async () => {
    expect(await accuracy(tensor([[2, 1]]), tensor([-0]))).toBe(1);
    expect(await confusionMatrix(tensor([[2, 1]]), tensor([-0]), 2)).toEqual([
      [1, 0],
      [0, 0],
    ]);
  });
  it.each<[string, string, () => unknown, string]>([
    [
      'a label too large',
      'accuracy',
      () => accuracy(logits, tensor([0, 3, 0])),
      'label 1 is 3 for 3 classes; labels are',
    ],
    ['a fraction', 'accuracy', () => accuracy(logits, tensor([0, 0, 0.5])), 'label 2 is 0.5'],
    ['a negative label', 'accuracy', () => accuracy(logits, tensor([-1, 0, 0])), 'from 0 to 2'],
    ['NaN', 'accuracy', () => accuracy(logits, tensor([NaN, 0, 0])), 'label 0 is NaN'],
    ['fewer labels', 'accuracy', () => accuracy(logits, zeros([2])), 'shape [3, 3] and labels [2]; pass logits [n, cl'],
    ['labels in a column', 'accuracy', () => accuracy(logits, zeros([3, 1])), 'labels [3, 1]'],
    ['logits in a vector', 'accuracy', () => accuracy(zeros([3]), zeros([3])), 'logits have shape [3]'],
    [
      'an array of logits',
      'accuracy',
      () => accuracy([[1, 2]] as never, zeros([1])),
      'the logits are [[1, 2]]; pass t',
    ],
    ['an array of labels', 'accuracy', () => accuracy(logits, [1, 0, 1] as never), 'the labels are [1, 0, 1]'],
    ['no labels', 'accuracy', () => accuracy(logits, undefined as never), 'the labels are undefined'],
    [
      'an array of logits',
      'confusionMatrix',
      () => confusionMatrix([[1]] as never, zeros([1]), 2),
      'the logits are [[1]]',
    ],
    ['no labels', 'confusionMatrix', () => confusionMatrix(logits, null as never, 3), 'the labels are null'],
    ['fewer classes', 'confusionMatrix', () => confusionMatrix(logits, zeros([3]), 2), 'of shape [3, 3] for 2 classes'],
    ['a label', 'confusionMatrix', () => confusionMatrix(logits, full([3], 4), 4), 'label 0 is 4 for 4 classes'],
    ['no classes', 'confusionMatrix', () => confusionMatrix(logits, zeros([3]), 0), 'classes is 0'],
    [
      'too many classes',
      'confusionMatrix',
      () => confusionMatrix(logits, zeros([3]), 2 ** 14 + 1),
      'classes is 16385; the matrix has at most 16384 rows',
    ],
  ])('refuse %s in %s', async (_, op, run, text) => {
    const error = await errorOf(run);
    expect(error.op).toBe(op);
    expect(error.message).toContain(text);
  });
  it('leave no graph behind', async () => {
    // A number shows no graph, so argmax itself tells whether it would be recorded.
    const seen: boolean[] = [];
    const argmax = Tensor.prototype.argmax;
    const spy = vi.spyOn(Tensor.prototype, 'argmax').mockImplementation(function (this: Tensor, ...args) {
      seen.push(isGradEnabled());
      return argmax.apply(this, args);
    });
    const leaf = tensor([[1, 2]], { requiresGrad: true });
    leaf.argmax(1);
    expect(await accuracy(leaf, tensor([1]))).toBe(1);
    await confusionMatrix(leaf, tensor([1]), 2);
    spy.mockRestore();
    expect(seen).toEqual([true, false, false]);
    expect(isGradEnabled()).toBe(true);
    expect(leaf.grad).toBeNull();
  });
});

describe('argmax', () => {
  it('has no index that float32 cannot hold', async () => {
    const n = 2 ** 24;
    const values = new Float32Array(n + 1);
    values[n - 1] = 1;
    expect(await tensor(values.subarray(0, n)).argmax().item()).toBe(n - 1);
    const large = tensor(values);
    for (const run of [() => large.argmax(), () => large.argmax(0), () => large.reshape([1, n + 1]).argmax(1)]) {
      const error = await errorOf(run);
      expect(error.op).toBe('argmax');
      expect(error.message).toMatch(
        /16777217 elements of shape \[.*\] have indices that float32 cannot represent; reduce/,
      );
    }
    expect(noGrad(() => large.reshape([n + 1, 1]).argmax(1)).shape).toEqual([n + 1]);
    expect(await large.max().item()).toBe(1);
  });
});

describe('the population stability index', () => {
  const constant = (v: number, n = 100) => new Array<number>(n).fill(v);
  const zerosAnd = (v: number) => [...constant(0, 90), ...constant(v, 10)].sort((a, b) => a - b);
  it('sees a constant move, to both sides', () => {
    expect(psi(constant(1), constant(1, 7))).toBe(0);
    const gone = 2 * (1 - 1e-4) * Math.log(1e4);
    for (const v of [0.999, 1.001, -1, 1e30]) expect(psi(constant(v), constant(1))).toBeCloseTo(gone, 9);
    expect(psi([...constant(0.5, 50), ...constant(1, 50)], constant(1))).toBeGreaterThan(2);
    expect(psi([...constant(1, 50), ...constant(1.5, 50)], constant(1))).toBeGreaterThan(2);
  });
  it('sees what lies beside a frequent value', () => {
    expect(psi(zerosAnd(3), zerosAnd(3))).toBe(0);
    // The rare ones are a tenth, a bin of their own: 2 is below them, 4 above.
    for (const v of [-1, 2, 4]) expect(psi(zerosAnd(v), zerosAnd(3)), String(v)).toBeGreaterThan(1);
    for (const v of [-0.01, 0.01])
      expect(psi([...constant(v, 90), ...constant(3, 10)], zerosAnd(3)), String(v)).toBeGreaterThan(5);
    // A value in the middle that fills a bin, and one that does not.
    const line = Array.from({ length: 80 }, (_, i) => i);
    const with20 = (v: number, n: number) => [...line, ...constant(v, n)].sort((a, b) => a - b);
    expect(psi(with20(44.6, 20), with20(44.5, 20))).toBeGreaterThan(0.5);
    expect(psi(with20(44.6, 5), with20(44.5, 5))).toBeLessThan(0.2);
  });
  it('makes no bin for a value that is there once', () => {
    const few = [1, 2, 3, 4, 5];
    const between = (at: number) => few.map((v) => v + at);
    expect(psi(between(-0.5), few)).toBe(0);
    expect(psi(few, few)).toBe(0);
  });
  it('has bins of equal shares', () => {
    const reference = Array.from({ length: 100 }, (_, i) => i);
    // All in the first of two, four and ten bins.
    for (const bins of [2, 4, 10]) {
      const expected = (1 - 1 / bins) * Math.log(bins) - (bins - 1) * (1e-4 - 1 / bins) * Math.log(1e4 / bins);
      expect(psi(constant(-5), reference, bins)).toBeCloseTo(expected, 9);
    }
    expect(psi(constant(49), reference, 2)).toBeCloseTo(psi(constant(-5), reference, 2), 12);
    expect(psi(constant(50), reference, 2)).toBeCloseTo(psi(constant(500), reference, 2), 12);
    expect(psi([0, 50], reference, 2)).toBe(0);
  });
  it('has two neighbours, by hand', () => {
    expect(metrics.wasserstein([0, 1], [1, 3])).toBe(1.5);
    expect(metrics.wasserstein([2], [2, 2])).toBe(0);
    const { statistic, pValue } = metrics.kolmogorovSmirnov([1, 2], [1, 2, 3, 4]);
    expect(statistic).toBe(0.5);
    const terms = Array.from({ length: 100 }, (_, k) => (-1) ** k * Math.exp((-2 * (k + 1) ** 2 * 4) / 12));
    expect(pValue).toBeCloseTo(2 * terms.reduce((sum, v) => sum + v, 0), 6);
    expect(metrics.kolmogorovSmirnov([1, 1], [2], 1000).pValue).toBeCloseTo(2 * Math.exp((-2 * 2000) / 1002), 3);
    expect(metrics.kolmogorovSmirnov([1, 2], [1, 2]).pValue).toBe(1);
  });
  it('takes typed arrays', () => {
    expect(psi(new Float32Array(5).fill(0.1), new Float32Array(9).fill(0.1))).toBe(0);
  });
  it.each<[string, () => unknown, string]>([
    ['one bin', () => psi([1], [1], 1), '[psi] bins is 1; pass an integer of at least 2'],
    ['no sample', () => psi(undefined as never, [1]), '[psi] the sample is undefined; pass an array'],
    ['no reference', () => psi([1], null as never), '[psi] the reference is null'],
    ['an empty sample', () => psi([], [1]), '[psi] the sample is empty; pass at least one number'],
    ['an empty reference', () => metrics.kolmogorovSmirnov([1], []), 'the reference is empty'],
    ['falling values', () => metrics.wasserstein([1], [1, 1, 0]), 'the reference has 0 at 2; pass finite'],
    ['an infinite value', () => psi([1, Infinity], [1]), 'the sample has Infinity at 1'],
    ['a negative count', () => psiOfCounts([1, -1], [1, 1]), '[psiOfCounts] actual has -1 in bin 1; pass counts'],
    ['a NaN count', () => psiOfCounts([1, 1], [NaN, 1]), 'expected has NaN in bin 0'],
    ['no counts', () => psiOfCounts(3 as never, [1]), 'actual is 3; pass an array of counts'],
    ['counts of 0', () => psiOfCounts([0, 0], [1, 1]), '2 and 2 bins with 0 and 2 values; pass counts of the same'],
    ['expected counts of 0', () => psiOfCounts([1, 1], [0, 0]), '2 and 2 bins with 2 and 0 values'],
    ['a size of 0', () => metrics.kolmogorovSmirnov([1], [1], 0), 'referenceSize is 0'],
    ['no array', () => metrics.wasserstein(1 as never, [1]), '[wasserstein] the sample is 1'],
  ])('refuses %s', async (_, run, text) => {
    expect(await message(run)).toContain(text);
  });
});
