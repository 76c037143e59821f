import { describe, expect, it } from 'vitest';
import { arange, data, manualSeed, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf } from './helpers.js';

const tens = new data.TensorDataset(arange(10).reshape([5, 2]), arange(5));

describe('TensorDataset', () => {
  it('gives one sample as views, and a batch as copies', () => {
    const x = tensor([1, 2, 3]);
    const dataset = new data.TensorDataset(x);
    const [one] = dataset.get(1);
    const [batch] = dataset.getBatch([2, 1, 1]);
    expect([one.shape, batch.toArraySync()]).toEqual([[], [3, 2, 2]]);
    x.copyFrom(tensor([4, 5, 6]));
    expect([one.itemSync(), batch.toArraySync()]).toEqual([5, [3, 2, 2]]);
    expect(dataset.getBatch([0])[0].toArraySync()).toEqual([4]);
  });
});

describe('Subset', () => {
  it('maps indices, also through another subset and in batches', () => {
    const chosen = [4, 0, 2, 4];
    const outer = new data.Subset(tens, chosen);
    const inner = new data.Subset(outer, [3, 1]);
    chosen[0] = 1; // a copy was taken
    expect([outer.length, inner.length]).toEqual([4, 2]);
    expect((inner.getBatch!([0, 1]) as Tensor[]).map((t) => t.toArraySync())).toEqual([
      [
        [8, 9],
        [0, 1],
      ],
      [4, 0],
    ]);
    const labels = [...new data.DataLoader(outer, { batchSize: 3 })].map(([, y]) => y.toArraySync());
    expect(labels).toEqual([[4, 0, 2], [4]]);
    expect((outer.get(1) as Tensor[])[1].itemSync()).toBe(0);
  });
  it('has no getBatch where the dataset has none', () => {
    const letters: data.Dataset<string> = { length: 3, get: (i) => 'abc'[i] };
    const subset = new data.Subset(letters, [2, 0]);
    expect(subset.getBatch).toBeUndefined();
    expect([...new data.DataLoader(subset, { batchSize: 2 })]).toEqual([['c', 'a']]);
  });
});

describe('ConcatDataset', () => {
  it('counts through its datasets, also empty ones', async () => {
    const part = (text: string): data.Dataset<string> => ({ length: text.length, get: (i) => text[i] });
    const all = new data.ConcatDataset([part(''), part('ab'), part(''), part('cde'), part('')]);
    expect(all.length).toBe(5);
    expect(await Promise.all([0, 1, 2, 3, 4].map((i) => all.get(i)))).toEqual(['a', 'b', 'c', 'd', 'e']);
  });
});

describe('randomSplit', () => {
  const dataset = (length: number): data.Dataset<number> => ({ length, get: (i) => i });
  const lengths = (n: number, of: number[]) => data.randomSplit(dataset(n), of).map((s) => s.length);
  it('puts each sample into one subset', () => {
    const parts = data.randomSplit(dataset(10), [3, 7], { seed: 1 });
    const all = parts.flatMap((p) => [...p.indices]);
    expect(all).not.toEqual(all.toSorted((a, b) => a - b));
    expect(all.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const again = data.randomSplit(dataset(10), [3, 7], { seed: 1 });
    expect(again.map((p) => [...p.indices])).toEqual(parts.map((p) => [...p.indices]));
    manualSeed(3);
    const drawn = () => [...data.randomSplit(dataset(50), [50])[0].indices];
    const [first, second] = [drawn(), drawn()];
    manualSeed(3);
    expect(drawn()).toEqual(first);
    expect(second).not.toEqual(first);
  });
  // What torch.utils.data.random_split gives, 2.13.
  it.each<[number, number[], number[]]>([
    [30, [0.3, 0.3, 0.4], [9, 9, 12]],
    [10, [0.35, 0.35, 0.3], [4, 3, 3]],
    [11, [0.5, 0.25, 0.25], [6, 3, 2]],
    [100, [0.29, 0.71], [29, 71]],
    [7, [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], [1, 1, 1, 1, 1, 1, 1, 0, 0, 0]],
    [10, [1, 0], [10, 0]],
    [10, [4, 0, 6], [4, 0, 6]],
    [1, [1], [1]],
  ])('of %i by %j', (n, of, expected) => expect(lengths(n, of)).toEqual(expected));
  it('takes fractions whose sum is rounded', () => {
    const third = 1 / 3 + 1e-16;
    expect(lengths(9, [third, third, third]).reduce((a, b) => a + b)).toBe(9);
    expect(lengths(10, [0.7, 0.2, 0.1 + 3e-16])).toEqual([7, 2, 1]);
  });
});

describe('refusals', () => {
  const letters: data.Dataset<string> = { length: 3, get: (i) => 'abc'[i] };
  it.each<[string, () => unknown, string]>([
    [
      'an index behind the end',
      () => tens.get(5),
      '[TensorDataset.get] index is 5 for 5 samples; indices are integers',
    ],
    ['a negative index', () => tens.getBatch([0, -1]), '[TensorDataset.getBatch] indices[1] is -1 for 5 samples'],
    ['a fraction', () => tens.getBatch([0.5]), 'indices[0] is 0.5'],
    ['NaN', () => tens.getBatch([NaN]), 'indices[0] is NaN'],
    ['no indices', () => tens.getBatch([]), 'indices are []; pass at least one'],
    [
      'a subset of nothing',
      () => new data.Subset(null as never, []),
      '[Subset] the dataset is null; pass a TensorDataset',
    ],
    ['a dataset without get', () => new data.Subset({ length: 3 } as never, []), 'the dataset is a Object'],
    [
      'a dataset without length',
      () => new data.Subset({ get: () => 1 } as never, []),
      'length of the dataset is undefined',
    ],
    ['a subset behind the end', () => new data.Subset(tens, [1, 5]), '[Subset] indices[1] is 5 for 5 samples'],
    ['indices that are none', () => new data.Subset(tens, 3 as never), '[Subset] indices are 3; pass an array'],
    ['a text among indices', () => new data.Subset(tens, ['1'] as never), "indices[0] is '1'"],
    [
      'an index that the subset has not',
      () => new data.Subset(tens, [1]).get(1),
      '[Subset.get] index is 1 for 1 samples',
    ],
    ['the same in a batch', () => new data.Subset(tens, [1]).getBatch!([1]), '[Subset.getBatch] indices[0] is 1'],
    ['an index of an empty subset', () => new data.Subset(tens, []).get(0), 'use a dataset with samples'],
    ['no datasets', () => new data.ConcatDataset([]), '[ConcatDataset] the datasets are []'],
    ['one dataset alone', () => new data.ConcatDataset(tens as never), 'the datasets are a TensorDataset'],
    ['another value', () => new data.ConcatDataset([letters, [] as never]), 'the dataset is []'],
    [
      'an index of none',
      () => new data.ConcatDataset([letters]).get(3),
      '[ConcatDataset.get] index is 3 for 3 samples',
    ],
    ['lengths of another sum', () => data.randomSplit(letters, [1, 1]), '[randomSplit] lengths are [1, 1] for 3 samples; pass integers that add up to 3, or'], // biome-ignore format: one line
    ['fractions of another sum', () => data.randomSplit(letters, [0.5, 0.4]), 'lengths are [0.5, 0.4]'],
    ['halves that add up to n', () => data.randomSplit(letters, [1.5, 1.5]), 'lengths are [1.5, 1.5]'],
    ['a negative length', () => data.randomSplit(letters, [4, -1]), 'lengths[1] is -1'],
    ['a negative fraction', () => data.randomSplit(letters, [1.5, -0.5]), 'lengths[1] is -0.5'],
    ['no lengths', () => data.randomSplit(letters, []), 'lengths are []'],
    ['a length alone', () => data.randomSplit(letters, 3 as never), 'lengths are 3'],
    ['an unknown option', () => data.randomSplit(letters, [3], { sead: 1 } as never), "'sead'"],
    ['a seed that is none', () => data.randomSplit(letters, [3], { seed: 1.5 }), 'seed is 1.5'],
  ])('%s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});

describe('defaultCollate', () => {
  it('stacks tensors and typed arrays, makes tensors of numbers and booleans, and keeps strings', () => {
    const sample = (k: number) => ({
      x: tensor([[k, k + 1]]),
      view: arange(6).reshape([3, 2]).t().select(0, k),
      bytes: Uint8Array.of(k, 255),
      pair: [k / 2, k > 0] as [number, boolean],
      name: `sample ${k}`,
    });
    const batch = data.defaultCollate([sample(0), sample(1)]);
    expect(batch.x.toArraySync()).toEqual([[[0, 1]], [[1, 2]]]);
    expect(batch.view.toArraySync()).toEqual([
      [0, 2, 4],
      [1, 3, 5],
    ]);
    expect(batch.bytes.toArraySync()).toEqual([
      [0, 255],
      [1, 255],
    ]);
    expect(batch.pair.map((t) => t.toArraySync())).toEqual([
      [0, 0.5],
      [0, 1],
    ]);
    expect(batch.name).toEqual(['sample 0', 'sample 1']);
    expect(Object.keys(batch)).toEqual(Object.keys(sample(0)));
  });
  it('stacks scalars and tensors without elements, on the device of the samples', () => {
    expect(data.defaultCollate([tensor(1), tensor(2)]).toArraySync()).toEqual([1, 2]);
    expect(data.defaultCollate([zeros([0, 2])]).shape).toEqual([1, 0, 2]);
    const reference = tensor([1], { device: 'reference' });
    expect(data.defaultCollate([reference, reference]).device).toBe('reference');
  });
  it.each<[string, unknown[], string]>([
    ['nothing', [], 'the samples are []'],
    ['another shape', [zeros([2]), zeros([2]), zeros([3])], '[defaultCollate] samples[0] is a tensor of shape [2], and samples[2] is one of shape [3]; give all'], // biome-ignore format: one line
    ['another kind', [1, 'a'], "samples[0] is 1, and samples[1] is 'a'"],
    ['a field of another kind', [{ a: [1] }, { a: ['b'] }], "samples[0].a[0] is 1, and samples[1].a[0] is 'b'"],
    ['another number of fields', [[1, 2], [1]], 'an array of 2 fields, and samples[1] is an array of 1 fields'],
    ['other fields', [{ a: 1 }, { b: 1 }], "fields ['a'], and samples[1] is an object with the fields ['b']"],
    ['a field more', [{ a: 1 }, { a: 1, b: 1 }], "with the fields ['a', 'b']"],
    ['another width', [new Float32Array(2), new Float32Array(3)], 'an array of 3 numbers'],
    ['nothing at an index', [{ a: 1 }, { a: undefined }], 'samples[1].a is undefined; return tensors'],
    ['null', [null], 'samples[0] is null'],
    ['a date', [new Date(0)], 'samples[0] is a Date'],
    ['large integers', [BigInt64Array.of(1n)], 'samples[0] is a BigInt64Array'],
    ['a DataView', [new DataView(new ArrayBuffer(2))], 'samples[0] is a DataView'],
    ['another device', [zeros([1]), tensor([1], { device: 'reference' })], "samples[0] is on 'cpu', and samples[1] on 'reference'; move it"], // biome-ignore format: one line
  ])('refuses %s', async (_, samples, text) => {
    expect((await errorOf(() => data.defaultCollate(samples))).message).toContain(text);
  });
});
