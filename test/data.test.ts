import { describe, expect, it } from 'vitest';
import { arange, data, full, manualSeed, rand, tensor, zeros } from '../src/index.js';
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
    [
      'dropping everything',
      () => new data.DataLoader(dataset, { batchSize: 6, dropLast: true }),
      'do not fill a batch',
    ],
    ['different lengths', () => new data.TensorDataset(zeros([2]), zeros([3])), '[2], [3]'],
    ['nothing', () => new data.TensorDataset(), 'there are no tensors'],
    ['arrays', () => new data.TensorDataset([1] as never), '[TensorDataset] argument 0 is [1]; pass tensors'],
    ['an array behind a number', () => new data.TensorDataset(tensor(1), [1] as never), 'argument 1 is [1]'],
    ['a shuffle that is none', () => new data.DataLoader(dataset, { batchSize: 1, shuffle: 'no' as never }), "is 'no'"],
    ['a null dropLast', () => new data.DataLoader(dataset, { batchSize: 1, dropLast: null as never }), 'is null; pass'],
  ])('refuses %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});

describe('preprocessors', () => {
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
    expect(s.inverseTransform(tensor([[0.5, 1]])).toArraySync()).toEqual([[2, 11]]);
  });
  it('gives copies of what was learnt', () => {
    for (const p of [new data.StandardScaler(), new data.MinMaxScaler(), new data.Imputer()]) {
      const learnt = JSON.stringify(p.fit(x));
      for (const numbers of Object.values(p.toJSON()) as number[][]) numbers.fill(9);
      expect(JSON.stringify(p)).toBe(learnt);
    }
  });
  it('fills missing values', () => {
    const missing = tensor([
      [1, Number.NaN],
      [Number.NaN, 4],
      [3, 8],
    ]);
    expect(data.impute(missing).toArraySync()).toEqual([
      [1, 6],
      [2, 4],
      [3, 8],
    ]);
    expect(data.impute(missing, { strategy: 'constant', value: -1 }).toArraySync()).toEqual([
      [1, -1],
      [-1, 4],
      [3, 8],
    ]);
    expect(data.impute(missing, { strategy: 'constant' }).toArraySync()).toEqual([
      [1, 0],
      [0, 4],
      [3, 8],
    ]);
    const fitted = new data.Imputer().fit(missing);
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
    expect(data.trainTestSplit(arange(5), { seed: 1 }).map((t) => t.shape)).toEqual([[3], [2]]);
    const [again] = data.trainTestSplit(arange(10), { testSize: 0.3, seed: 1, shuffle: true });
    expect(again.toArraySync()).toEqual(yTrain.toArraySync());
    expect(yTrain.toArraySync()).not.toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(data.splitColumns(x, [1, 1])[0].toArraySync()).toEqual([[1], [2], [3]]);
    expect(data.splitColumns(x, [1, 1])[1].toArraySync()).toEqual([[10], [10], [10]]);
    expect((await errorOf(() => data.splitColumns(x, [1]))).message).toContain('add up to 2');
  });
  it.each<[string, () => unknown, string]>([
    [
      'missing',
      () => new data.StandardScaler().fit(tensor([[1], [Number.NaN]])),
      'feature 0 of sample 1 is NaN; fill missing values with an Imputer',
    ],
    ['use before fit', () => new data.MinMaxScaler().transform(x), 'call fit(x)'],
    ['use before fit', () => new data.Imputer().transform(x), 'call fit(x)'],
    ['another width', () => new data.StandardScaler().fit(x).transform(zeros([1, 3])), 'for a fit on 2 features'],
    ['a vector', () => new data.StandardScaler().fit(zeros([3])), '[samples, features]'],
    ['a column of missing values', () => new data.Imputer().fit(tensor([[Number.NaN]])), 'feature 0 has no value'],
    ['an unknown strategy', () => new data.Imputer({ strategy: 'median' as never }), "'mean', 'constant'"],
    ['broken JSON', () => data.StandardScaler.fromJSON({ mean: [1], std: [] }), 'std is []'],
    ['broken JSON', () => data.MinMaxScaler.fromJSON({} as never), 'min is undefined'],
    ['another length', () => data.StandardScaler.fromJSON({ mean: [1], std: [1, 2] }), '1 means and 2 deviations'],
    ['another length', () => data.MinMaxScaler.fromJSON({ min: [1, 2], max: [3] }), '2 minima and 1 maxima'],
    ['a negative deviation', () => data.StandardScaler.fromJSON({ mean: [1, 1], std: [0, -1] }), 'std[1] is -1; pass'],
    ['a crossed range', () => data.MinMaxScaler.fromJSON({ min: [0, 2], max: [0, 1] }), 'min[1] is 2 and max[1] 1'],
    ['a shuffle that is none', () => data.trainTestSplit(x, { shuffle: 'no' as never }), "shuffle is 'no'; pass true"],
    ['an unknown option', () => data.trainTestSplit(x, { test_size: 0.5 } as never), "'test_size'"],
    ['a share of 0', () => data.trainTestSplit(x, { testSize: 0 }), 'leaves 0 for the test and 3'],
    ['a width of 0', () => data.splitColumns(x, [2, 0]), 'widths[1] is 0'],
    ['a width alone', () => data.splitColumns(x, 2 as never), '[splitColumns] widths is 2; pass an array'],
    ['no widths', () => data.splitColumns(x, undefined as never), '[splitColumns] widths is undefined'],
    [
      'a value for the mean',
      () => data.impute(x, { value: 0 }),
      "value is 0 for the strategy 'mean'; add strategy: 'c",
    ],
    ['no features', () => data.splitColumns('x' as never, [1]), "the features are 'x'; pass a tensor of shape"],
  ])('refuses %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});

describe('oneHot', () => {
  it('takes many labels, -0 for 0, and the classes that are asked for', () => {
    const n = 200_000;
    const many = data.oneHot(tensor(Float32Array.from({ length: n }, (_, i) => i % 3)));
    expect(many.shape).toEqual([n, 3]);
    expect([...many.dataSync().subarray(3 * n - 6)]).toEqual([1, 0, 0, 0, 1, 0]);
    expect(many.sum().itemSync()).toBe(n);
    expect(data.oneHot(tensor([-0, 1])).toArraySync()).toEqual([
      [1, 0],
      [0, 1],
    ]);
    expect(data.oneHot(tensor([1]), 3).toArraySync()).toEqual([[0, 1, 0]]);
    const largest = data.oneHot(tensor([2 ** 24 - 1]));
    expect(largest.shape).toEqual([1, 2 ** 24]);
    expect(largest.dataSync()[2 ** 24 - 1]).toBe(1);
  });
  it.each<[string, () => unknown, string]>([
    ['many fractions', () => data.oneHot(rand([200_000]).add(0.25).div(2)), 'label 0 is 0.'],
    [
      'a fraction',
      () => data.oneHot(tensor([0, 1.5])),
      'label 1 is 1.5 for at most 16777216 classes; labels are integers',
    ],
    ['a negative label', () => data.oneHot(tensor([-1])), 'label 0 is -1'],
    ['NaN', () => data.oneHot(tensor([0, NaN])), 'label 1 is NaN'],
    ['an infinite label', () => data.oneHot(tensor([Infinity]), 3), 'label 0 is Infinity for 3 classes'],
    ['as many as classes', () => data.oneHot(tensor([2]), 2), 'integers from 0 to 1'],
    ['a label above 2^24', () => data.oneHot(tensor([2 ** 24])), 'label 0 is 16777216'],
    ['classes above 2^24', () => data.oneHot(tensor([1]), 2 ** 24 + 1), 'classes is 16777217; pass at most 2^24'],
    ['0 classes', () => data.oneHot(tensor([0]), 0), 'classes is 0'],
    ['too many elements', () => data.oneHot(zeros([128]), 2 ** 24), 'shape [128, 16777216] has 2147483648 elements'],
    ['an array', () => data.oneHot([1] as never), 'the labels are [1]; pass a tensor'],
    ['a scalar', () => data.oneHot(tensor(1)), 'of shape []'],
  ])('refuses %s', async (_, run, text) => {
    const error = await errorOf(run);
    expect(error.op).toBe('oneHot');
    expect(error.message).toContain(text);
  });
});

describe('values that are not finite', () => {
  const infinite = (v: number) =>
    tensor([
      [1, 2],
      [3, v],
      [NaN, 4],
    ]);
  it.each([Infinity, -Infinity])('%d is not a missing value', async (v) => {
    const text = `feature 1 of sample 1 is ${v}; `;
    const fitted = new data.Imputer().fit(tensor([[1, 2]]));
    const refusals: [string, () => unknown][] = [
      ['Imputer.fit', () => new data.Imputer().fit(infinite(v))],
      ['Imputer.fit', () => new data.Imputer({ strategy: 'constant' }).fit(infinite(v))],
      ['Imputer.fit', () => data.impute(infinite(v))],
      ['Imputer.transform', () => fitted.transform(infinite(v))],
      ['StandardScaler.fit', () => new data.StandardScaler().fit(infinite(v))],
      ['MinMaxScaler.fit', () => new data.MinMaxScaler().fit(infinite(v))],
      ['computeBaseline', () => data.computeBaseline(infinite(v))],
    ];
    for (const [op, run] of refusals) {
      const error = await errorOf(run);
      expect(error.op).toBe(op);
      expect(error.message).toContain(text);
      expect(error.message).toContain('remove infinite values');
    }
    expect((await errorOf(() => data.computeBaseline(zeros([3, 1]), infinite(v)))).message).toContain(
      `output 1 of sample 1 is ${v}; remove infinite values; NaN counts as missing`,
    );
  });
  it('pass through scalers that were fitted without them', () => {
    const x = tensor([[1], [3]]);
    for (const scaler of [new data.StandardScaler().fit(x), new data.MinMaxScaler().fit(x)])
      expect(scaler.transform(tensor([[NaN], [Infinity], [-Infinity]])).toArraySync()).toEqual([
        [NaN],
        [Infinity],
        [-Infinity],
      ]);
  });
  it('cannot replace a missing value', async () => {
    expect((await errorOf(() => new data.Imputer({ strategy: 'constant', value: 1e39 }))).message).toContain(
      'value is 1e+39; pass a number that float32 can hold',
    );
    expect((await errorOf(() => new data.Imputer({ strategy: 'constant', value: NaN }))).message).toContain('is NaN');
    for (const bad of [[1e39], [NaN], ['1'], []])
      expect((await errorOf(() => data.Imputer.fromJSON({ fill: bad as never }))).op).toBe('Imputer.fromJSON');
  });
});

describe('features that hardly vary', () => {
  const std = (values: readonly number[] | Float32Array) =>
    new data.StandardScaler().fit(tensor(Float32Array.from(values), { shape: [values.length, 1] })).toJSON().std[0];
  it('are constant within rounding errors, by the limit of scikit-learn', () => {
    for (const v of [1e8, 0.1, -3.3e38, 1e-40, 0]) {
      expect(std(new Float32Array(1001).fill(v)), String(v)).toBe(0);
      expect(
        new data.StandardScaler()
          .fitTransform(full([1001, 1], v))
          .dataSync()
          .every((z) => z === 0),
      ).toBe(true);
    }
    // One step of float32 in a million: below n · mean · eps.
    const n = 1_000_000;
    const nearly = new Float32Array(n).fill(1e8);
    nearly[5] = 1e8 + 8;
    expect(8 / Math.sqrt(n)).toBeLessThan(n * 1e8 * Number.EPSILON);
    expect(std(nearly)).toBe(0);
    // The same step in a hundred is a difference.
    expect(std(nearly.subarray(0, 100))).toBeCloseTo(8 * Math.sqrt(0.01 * 0.99), 6);
    expect(std([1e8, 1e8 + 8])).toBe(4);
    expect(std([-1e-30, 1e-30])).toBeCloseTo(Math.fround(1e-30), 45);
  });
  it('do not overflow where they vary much', () => {
    const x = tensor([[-3e38], [3e38]]);
    expect(new data.StandardScaler().fitTransform(x).toArraySync()).toEqual([[-1], [1]]);
    expect(new data.MinMaxScaler().fitTransform(x).toArraySync()).toEqual([[0], [1]]);
  });
});
