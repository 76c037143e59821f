import { describe, expect, it } from 'vitest';
import { arange, data, type Tensor, zeros } from '../src/index.js';
import { errorOf } from './helpers.js';

describe('a loop over a loader', () => {
  const dataset = new data.TensorDataset(arange(10).reshape([5, 2]), arange(5), zeros([5]));
  const loader = () => new data.DataLoader(dataset, { batchSize: 2, shuffle: true, seed: 4 });

  it('gives the same batches, awaited or not', async () => {
    const awaited: unknown[] = [];
    for await (const batch of loader()) awaited.push(batch.map((t) => t.toArraySync()));
    expect(awaited).toEqual([...loader()].map((batch) => batch.map((t) => t.toArraySync())));
    expect(awaited).toHaveLength(3);
  });
  it('has as many tensors in a batch as the dataset', () => {
    for (const [x, y, z] of loader()) expect([x.ndim, y.ndim, z.ndim]).toEqual([2, 1, 1]);
  });
  it('may end early, and begins anew with the next order', async () => {
    const one = loader();
    for await (const _ of one) break;
    expect(one.state.epoch).toBe(1);
    const orders = [loader(), one].map((l) => [...l].flatMap(([, y]) => [...y.dataSync()]));
    expect(orders[0]).not.toEqual(orders[1]);
  });
});

describe('samplers of a loader', () => {
  const dataset = new data.TensorDataset(arange(10).reshape([5, 2]), arange(5));
  const labels = (loader: Iterable<Tensor[]>) => [...loader].map(([, y]) => [...y.dataSync()]);
  it('give the order of the samples', () => {
    expect(labels(new data.DataLoader(dataset, { batchSize: 2, sampler: [4, 0, 4] }))).toEqual([[4, 0], [4]]);
    const sampler = new data.SequentialSampler(dataset);
    const loader = new data.DataLoader(dataset, { batchSize: 2, sampler, dropLast: true });
    expect([loader.length, loader.batchSize, labels(loader)]).toEqual([2, 2, [[0, 1], [2, 3]]]); // biome-ignore format: one line
  });
  it('give the same orders as shuffle for the same seed', () => {
    const shuffled = new data.DataLoader(dataset, { batchSize: 2, shuffle: true, seed: 6 });
    const sampler = new data.RandomSampler(dataset, { seed: 6 });
    const sampled = new data.DataLoader(dataset, { batchSize: 2, sampler });
    for (const _ of [1, 2, 3]) expect(labels(sampled)).toEqual(labels(shuffled));
  });
  it('give whole batches', () => {
    const loader = new data.DataLoader(dataset, { batchSampler: [[4], Int32Array.of(0, 1, 2)] });
    expect([loader.length, loader.batchSize, labels(loader)]).toEqual([2, null, [[4], [0, 1, 2]]]);
    const batchSampler = new data.BatchSampler([3, 2, 1], 2, { dropLast: true });
    const grouped = new data.DataLoader(dataset, { batchSampler });
    expect([grouped.length, grouped.batchSize, labels(grouped)]).toEqual([1, 2, [[3, 2]]]);
  });
  it('have their state in that of the loader', async () => {
    const make = () =>
      new data.DataLoader(dataset, { batchSize: 5, sampler: new data.RandomSampler(dataset, { seed: 2 }) });
    const one = make();
    const orders = [labels(one), labels(one), labels(one)];
    const two = make();
    two.state = JSON.parse(JSON.stringify({ ...one.state, epoch: 2, sampler: { seed: 2, epoch: 2 } }));
    expect(labels(two)).toEqual(orders[2]);
    expect(two.state).toEqual(one.state);
    const before = two.state;
    const bad = { seed: 9, epoch: 9, sampler: { seed: 2, epoch: -1 } };
    expect((await errorOf(() => { two.state = bad; })).message).toContain('[RandomSampler] state.epoch is -1'); // biome-ignore format: one line
    expect(two.state).toEqual(before);
    expect(Object.keys(new data.DataLoader(dataset, { batchSize: 1 }).state)).toEqual(['seed', 'epoch']);
  });
  it('collate decides what a batch is', () => {
    const collate = (samples: Tensor[][]) => samples.map(([, y]) => y.itemSync());
    expect([...new data.DataLoader(dataset, { batchSize: 2, collate })]).toEqual([[0, 1], [2, 3], [4]]);
  });
  it.each<[string, () => unknown, string]>([
    ['an index behind the end', () => [...new data.DataLoader(dataset, { batchSize: 2, sampler: [1, 2, 3, 5] })], 'batch 1 of the sampler[1] is 5 for 5 samples'], // biome-ignore format: one line
    [
      'an empty batch',
      () => [...new data.DataLoader(dataset, { batchSampler: [[1], []] })],
      'batch 1 of the sampler is []',
    ],
    [
      'indices alone',
      () => [...new data.DataLoader(dataset, { batchSampler: [1] as never })],
      'batch 0 of the sampler is 1',
    ],
    ['shuffle beside a sampler', () => new data.DataLoader(dataset, { batchSize: 1, sampler: [1], shuffle: true }), 'shuffle is true, and there is a sampler; leave shuffle out'], // biome-ignore format: one line
    [
      'a seed beside a sampler',
      () => new data.DataLoader(dataset, { batchSize: 1, sampler: [1], seed: 0 }),
      'seed is 0, and',
    ],
    ['sizes of given batches', () => new data.DataLoader(dataset, { batchSize: 1, batchSampler: [[1]] }), 'batchSize is 1, and there is a batchSampler'], // biome-ignore format: one line
    [
      'two samplers',
      () => new data.DataLoader(dataset, { sampler: [1], batchSampler: [[1]] } as never),
      'sampler is [1], and',
    ],
    [
      'an iterator',
      () => new data.DataLoader(dataset, { batchSize: 1, sampler: [1].values() as never }),
      'sampler is a',
    ],
    ['no indices', () => new data.DataLoader(dataset, { batchSize: 1, sampler: [] }), 'the sampler has no indices'],
    ['no batches', () => new data.DataLoader(dataset, { batchSampler: [] }), 'the sampler has no indices'],
    [
      'no samples',
      () => new data.DataLoader(new data.Subset(dataset, []), { batchSize: 1 }),
      'the dataset has no samples',
    ],
    [
      'a collate that is none',
      () => new data.DataLoader(dataset, { batchSize: 1, collate: 1 as never }),
      'collate is 1',
    ],
    ['a negative prefetch', () => new data.DataLoader(dataset, { batchSize: 1, prefetch: -1 }), 'prefetch is -1'],
    ['samples that do not fit', () => [...new data.DataLoader({ length: 9, get: (i: number) => arange(i + 1) }, { batchSize: 2, sampler: [3, 7] })], '[DataLoader] sample 3 of the dataset is a tensor of shape [4], and sample 7 of the dataset is one of shape [8]'], // biome-ignore format: one line
  ])('refuse %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});
