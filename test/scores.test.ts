import { afterEach, describe, expect, it, vi } from 'vitest';
import { metrics, randn, Tensor, tensor, zeros } from '../src/index.js';
import { errorOf } from './helpers.js';

describe('a metric of outputs that require gradients', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });
  const logits = () =>
    tensor(
      [
        [1, 2],
        [3, 1],
        [0, 5],
      ],
      { requiresGrad: true },
    ).mul(1);
  const labels = tensor([1, 0, 0]);

  it.each<[string, () => Promise<unknown>]>([
    ['accuracy', () => metrics.accuracy(logits(), labels)],
    ['confusionMatrix', () => metrics.confusionMatrix(logits(), labels, 2)],
  ])('records nothing in %s', async (_, run) => {
    const argmax = vi.spyOn(Tensor.prototype, 'argmax');
    await run();
    const made = argmax.mock.results.map(({ value }) => value as Tensor);
    expect(made.length).toBeGreaterThan(0);
    for (const t of made) expect(t.requiresGrad).toBe(false);
  });
  it('lets recording go on outside', async () => {
    const out = logits();
    await metrics.accuracy(out, labels);
    expect(out.mul(2).requiresGrad).toBe(true);
  });
});

describe('accuracy', () => {
  it.each<[string, number[][], number[], number]>([
    [
      'all right',
      [
        [2, 1],
        [0, 1],
      ],
      [0, 1],
      1,
    ],
    [
      'none right',
      [
        [2, 1],
        [0, 1],
      ],
      [1, 0],
      0,
    ],
    ['the first of equals', [[1, 1, 1]], [0], 1],
    [
      'the last class',
      [
        [0, 0, 1],
        [0, 3, 1],
      ],
      [2, 2],
      0.5,
    ],
  ])('of %s', async (_, rows, labels, expected) => {
    expect(await metrics.accuracy(tensor(rows), tensor(labels))).toBe(expected);
  });
});

describe('confusionMatrix', () => {
  it('has labels in rows and predictions in columns, and a place for classes that never came', async () => {
    const logits = tensor([
      [0, 1],
      [0, 1],
      [1, 0],
    ]);
    expect(await metrics.confusionMatrix(logits, tensor([2, 0, 0]), 4)).toEqual([
      [1, 1, 0, 0],
      [0, 0, 0, 0],
      [0, 1, 0, 0],
      [0, 0, 0, 0],
    ]);
  });
});

describe('r2Score', () => {
  it('is the definition', async () => {
    const [p, t] = [tensor([2.5, 0, 2, 8]), tensor([3, -0.5, 2, 7])];
    // The example of scikit-learn's r2_score.
    expect(await metrics.r2Score(p, t)).toBeCloseTo(0.9486081370449679, 12);
    expect(await metrics.r2Score(t, t)).toBe(1);
    expect(await metrics.r2Score(t.neg(), t)).toBeLessThan(0);
  });
});

describe('refusals', () => {
  const two = randn([2, 2]);
  it.each<[string, () => unknown, string]>([
    ['logits of one dimension', () => metrics.accuracy(zeros([2]), tensor([0, 1])), 'logits have shape [2]'],
    ['logits of three dimensions', () => metrics.accuracy(zeros([2, 2, 2]), tensor([0, 1])), 'shape [2, 2, 2]'],
    ['labels of two dimensions', () => metrics.accuracy(two, zeros([2, 1])), 'labels [2, 1]'],
    ['too many labels', () => metrics.accuracy(two, tensor([0, 1, 0])), 'labels [3]'],
    ['a negative label', () => metrics.accuracy(two, tensor([0, -1])), 'label 1 is -1'],
    [
      'a label beside the classes',
      () => metrics.accuracy(two, tensor([0, 2])),
      'label 1 is 2 for 2 classes; labels are integers from 0 to 1',
    ],
    [
      'fewer classes than logits',
      () => metrics.confusionMatrix(two, tensor([0, 0]), 1),
      'logits of shape [2, 2] for 1 classes',
    ],
    ['half a label', () => metrics.accuracy(two, tensor([0.5, 1])), 'label 0 is 0.5'],
    ['a NaN label', () => metrics.confusionMatrix(two, tensor([1, Number.NaN]), 2), 'label 1 is NaN'],
    ['no classes', () => metrics.confusionMatrix(two, tensor([0, 1]), 0), 'classes is 0'],
    ['half a class', () => metrics.confusionMatrix(two, tensor([0, 1]), 2.5), 'classes is 2.5'],
    ['a label past the classes', () => metrics.confusionMatrix(two, tensor([0, 3]), 3), 'label 1 is 3 for 3 classes'],
  ])('are for %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
  it('carry the shapes', async () => {
    expect((await errorOf(() => metrics.accuracy(two, tensor([0])))).shapes).toEqual([[2, 2], [1]]);
    expect((await errorOf(() => metrics.r2Score(two, tensor([0])))).shapes).toEqual([[2, 2], [1]]);
  });
});
