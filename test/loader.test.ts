import { describe, expect, it } from 'vitest';
import { arange, data, zeros } from '../src/index.js';

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
