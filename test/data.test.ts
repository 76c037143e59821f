import { describe, expect, it } from 'vitest';
import { arange, data, manualSeed, tensor, zeros } from '../src/index.js';
import { errorOf } from './helpers.js';

describe('DataLoader', () => {
  const dataset = new data.TensorDataset(arange(10).reshape([5, 2]), arange(5));
  const labels = (loader: data.DataLoader) => [...loader].map(([, y]) => y.toArraySync());
  it('gives batches in order, rows together', () => {
    const loader = new data.DataLoader(dataset, { batchSize: 2 });
    expect(loader.length).toBe(3);
    expect([...loader].map(([x, y]) => [x.toArraySync(), y.toArraySync()])).toEqual([
      [
        [
          [0, 1],
          [2, 3],
        ],
        [0, 1],
      ],
      [
        [
          [4, 5],
          [6, 7],
        ],
        [2, 3],
      ],
      [[[8, 9]], [4]],
    ]);
    expect(new data.DataLoader(dataset, { batchSize: 2, dropLast: true }).length).toBe(2);
    expect(labels(new data.DataLoader(dataset, { batchSize: 2, dropLast: true }))).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });
  it('shuffles anew in every epoch, the same way for the same seed', async () => {
    const make = () => new data.DataLoader(dataset, { batchSize: 5, shuffle: true, seed: 1 });
    const [a, b] = [make(), make()];
    const epochs = [1, 2, 3].map(() => labels(a)[0] as number[]);
    for (const epoch of epochs) {
      const seen: unknown[] = [];
      for await (const [, y] of b) seen.push(await y.toArray());
      expect(seen[0]).toEqual(epoch);
      expect([...epoch].sort()).toEqual([0, 1, 2, 3, 4]);
    }
    expect(new Set(epochs.map(String)).size).toBeGreaterThan(1);
    const c = make();
    c.state = { seed: 1, epoch: 2 };
    expect(labels(c)[0]).toEqual(epochs[2]);
    manualSeed(4);
    const first = labels(new data.DataLoader(dataset, { batchSize: 5, shuffle: true }));
    manualSeed(4);
    expect(labels(new data.DataLoader(dataset, { batchSize: 5, shuffle: true }))).toEqual(first);
  });
  it.each<[string, () => unknown, string]>([
    ['no dataset', () => new data.DataLoader([] as never, { batchSize: 1 }), 'pass a TensorDataset'],
    ['no batch size', () => new data.DataLoader(dataset, {} as never), 'batchSize is undefined'],
    ['a batch size of 0', () => new data.DataLoader(dataset, { batchSize: 0 }), 'at least 1'],
    [
      'an unknown option',
      () => new data.DataLoader(dataset, { batchSize: 1, drop_last: true } as never),
      "'drop_last'",
    ],
    ['dropping everything', () => new data.DataLoader(dataset, { batchSize: 6, dropLast: true }), 'make no batch'],
    ['different lengths', () => new data.TensorDataset(zeros([2]), zeros([3])), '[2], [3]'],
    ['nothing', () => new data.TensorDataset(), 'there are no tensors'],
    ['arrays', () => new data.TensorDataset([1] as never), 'no tensor'],
  ])('refuses %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});

describe('preparing', () => {
  const x = tensor([
    [1, 10],
    [2, 10],
    [3, 10],
  ]);
  it('standardises with what the training data taught, and back', () => {
    const s = new data.StandardScaler().fit(x);
    expect(s.toJSON()).toEqual({ mean: [2, 10], std: [Math.sqrt(2 / 3), 0] });
    const z = s.transform(tensor([[2, 11]]));
    expect(z.toArraySync()).toEqual([[0, 1]]);
    expect(s.inverseTransform(z).toArraySync()).toEqual([[2, 11]]);
    const again = data.StandardScaler.fromJSON(JSON.parse(JSON.stringify(s)));
    expect(again.transform(x).toArraySync()).toEqual(s.transform(x).toArraySync());
  });
  it('maps ranges to 0..1', () => {
    const s = new data.MinMaxScaler();
    expect(s.fitTransform(x).toArraySync()).toEqual([
      [0, 0],
      [0.5, 0],
      [1, 0],
    ]);
    expect(
      data.MinMaxScaler.fromJSON(JSON.parse(JSON.stringify(s)))
        .transform(tensor([[5, 12]]))
        .toArraySync(),
    ).toEqual([[2, 2]]);
  });
  it('fills gaps', () => {
    const gaps = tensor([
      [1, Number.NaN],
      [Number.NaN, 4],
      [3, 8],
    ]);
    expect(data.impute(gaps).toArraySync()).toEqual([
      [1, 6],
      [2, 4],
      [3, 8],
    ]);
    expect(data.impute(gaps, { strategy: 'constant', value: -1 }).toArraySync()).toEqual([
      [1, -1],
      [-1, 4],
      [3, 8],
    ]);
    const fitted = new data.Imputer().fit(gaps);
    expect(
      data.Imputer.fromJSON(JSON.parse(JSON.stringify(fitted)))
        .transform(tensor([[Number.NaN, 0]]))
        .toArraySync(),
    ).toEqual([[2, 0]]);
  });
  it('encodes classes', async () => {
    expect(data.oneHot(tensor([0, 2])).toArraySync()).toEqual([
      [1, 0, 0],
      [0, 0, 1],
    ]);
    expect(data.oneHot(tensor([0]), 2).toArraySync()).toEqual([[1, 0]]);
    expect((await errorOf(() => data.oneHot(tensor([3]), 2))).message).toContain('label 0 is 3 for 2 classes');
    expect((await errorOf(() => data.oneHot(tensor([[1]])))).message).toContain('of shape [1, 1]');
  });
  it('splits rows together, each to one side', async () => {
    const [xTrain, xTest, yTrain, yTest] = data.trainTestSplit(arange(20).reshape([10, 2]), arange(10), {
      testSize: 0.3,
      seed: 1,
    });
    expect([xTrain.shape, xTest.shape, yTrain.shape, yTest.shape]).toEqual([[7, 2], [3, 2], [7], [3]]);
    const ys = [...yTrain.dataSync(), ...yTest.dataSync()];
    expect([...xTrain.dataSync(), ...xTest.dataSync()].filter((_, i) => i % 2 === 0)).toEqual(ys.map((v) => 2 * v));
    expect(ys.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(data.trainTestSplit(arange(4), { shuffle: false }).map((t) => t.toArraySync())).toEqual([[0, 1, 2], [3]]);
    expect((await errorOf(() => data.trainTestSplit(arange(4), { testSize: 1 }))).message).toContain(
      'leaves 4 for the test and 0',
    );
    expect(data.splitColumns(x, [1, 1])[1].toArraySync()).toEqual([[10], [10], [10]]);
    expect((await errorOf(() => data.splitColumns(x, [1]))).message).toContain('add up to 2');
  });
  it.each<[string, () => unknown, string]>([
    [
      'gaps',
      () => new data.StandardScaler().fit(tensor([[1], [Number.NaN]])),
      'feature 0 of sample 1 is NaN; fill gaps with an Imputer',
    ],
    ['use before fit', () => new data.MinMaxScaler().transform(x), 'call fit(x)'],
    ['use before fit', () => new data.Imputer().transform(x), 'call fit(x)'],
    ['another width', () => new data.StandardScaler().fit(x).transform(zeros([1, 3])), 'for a fit on 2 features'],
    ['a vector', () => new data.StandardScaler().fit(zeros([3])), '[samples, features]'],
    ['a column of gaps', () => new data.Imputer().fit(tensor([[Number.NaN]])), 'feature 0 has no value'],
    ['an unknown strategy', () => new data.Imputer({ strategy: 'median' as never }), "'mean', 'constant'"],
    ['broken JSON', () => data.StandardScaler.fromJSON({ mean: [1], std: [] }), 'std is []'],
    ['broken JSON', () => data.MinMaxScaler.fromJSON({} as never), 'min is undefined'],
  ])('refuses %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});
