import { describe, expect, it } from 'vitest';
import { checkBaseline } from '../src/data/baseline.js';
import { arange, data, tensor, zeros } from '../src/index.js';
import { errorOf } from './helpers.js';

describe('computeBaseline', () => {
  const x = tensor([
    [3, NaN],
    [1, 2],
    [2, 4],
  ]);
  it('sorts the columns, counts missing values and classes', () => {
    expect(
      data.computeBaseline(
        x,
        tensor([
          [1, 0],
          [0, 1],
          [1, 1],
        ]),
        { names: ['a', 'b'] },
      ),
    ).toEqual({
      rows: 3,
      features: [
        { name: 'a', points: [1, 2, 3], missing: 0 },
        { name: 'b', points: [2, 4], missing: 1 },
      ],
      outputs: [
        { name: 'output_0', points: [0, 1, 1], missing: 0 },
        { name: 'output_1', points: [0, 1, 1], missing: 0 },
      ],
      classes: [2, 1],
    });
    const one = data.computeBaseline(arange(101).reshape([101, 1]), zeros([101, 1]), { points: 3 });
    expect(one.features).toEqual([{ name: 'feature_0', points: [0, 50, 100], missing: 0 }]);
    expect(one.classes).toEqual([]);
    expect(data.computeBaseline(x).outputs).toEqual([]);
    expect(data.computeBaseline(tensor([[7]])).features[0].points).toEqual([7]);
    expect(data.computeBaseline(arange(3000).reshape([3000, 1])).features[0].points).toHaveLength(1000);
    expect(data.computeBaseline(zeros([100, 2000])).features[0].points).toHaveLength(51);
  });
  it.each<[string, object, string]>([
    ['no rows', { rows: 0 }, 'has 0 rows'],
    ['no features', { features: [] }, 'has the features []'],
    ['outputs that are none', { outputs: 1 }, 'has the outputs 1'],
    ['a column without a name', { features: [{ points: [1], missing: 0 }] }, 'has a column 0 of features without name'],
    ['less than nothing missing', { features: [{ name: 'a', points: [1], missing: -1 }] }, 'without name or missing'],
    [
      'falling points',
      { outputs: [{ name: 'a', points: [2, 1], missing: 0 }] },
      "has points of 'a' that are not finite",
    ],
    ['an infinite point', { outputs: [{ name: 'a', points: [Infinity], missing: 0 }] }, "points of 'a'"],
    ['points that are none', { outputs: [{ name: 'a', points: 'x', missing: 0 }] }, "points of 'a'"],
    ['half a class', { classes: [0.5] }, 'has the class counts [0.5]'],
    ['a negative class', { classes: [-1] }, 'has the class counts [-1]'],
  ])('is not read back with %s', async (_, change, text) => {
    const baseline = data.computeBaseline(x);
    expect(checkBaseline('load', baseline)).toBe(baseline);
    expect((await errorOf(() => checkBaseline('load', { ...baseline, ...change }))).message).toContain(text);
  });
  it.each<[string, () => unknown, string]>([
    ['an array', () => data.computeBaseline([[1]] as never), 'the features are [[1]]; pass a tensor of shape [samples'],
    ['a vector', () => data.computeBaseline(zeros([3])), 'the features are of shape [3]'],
    ['outputs in an array', () => data.computeBaseline(x, [[1]] as never), 'the outputs are [[1]]; pass a tensor'],
    ['outputs in a vector', () => data.computeBaseline(x, zeros([3])), 'the outputs are of shape [3]'],
    ['outputs of others', () => data.computeBaseline(x, zeros([2, 1])), 'outputs of shape [2, 1]; pass the outputs of'],
    ['fewer names', () => data.computeBaseline(x, undefined, { names: ['a'] }), '1 names for 2 features'],
    [
      'a text for names',
      () => data.computeBaseline(x, undefined, { names: 'ab' as never }),
      "names is 'ab'; pass an arr",
    ],
    ['a name that is none', () => data.computeBaseline(x, undefined, { names: [1, 2] as never }), 'names is [1, 2]'],
    ['one point', () => data.computeBaseline(x, undefined, { points: 1 }), 'points is 1'],
    ['an unknown option', () => data.computeBaseline(x, undefined, { name: [] } as never), "'name'"],
  ])('refuses %s', async (_, run, text) => {
    const error = await errorOf(run);
    expect(error.op).toBe('computeBaseline');
    expect(error.message).toContain(text);
  });
});
