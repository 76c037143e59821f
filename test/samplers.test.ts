import { describe, expect, it } from 'vitest';
import { data, manualSeed, tensor } from '../src/index.js';
import { errorOf } from './helpers.js';

const sized = (length: number) => ({ length });
const sorted = (indices: Iterable<number>) => [...indices].sort((a, b) => a - b);
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);
/** How often each index comes. */
const counts = (indices: Iterable<number>, n: number) => {
  const out = new Array<number>(n).fill(0);
  for (const i of indices) out[i]++;
  return out;
};

describe('samplers', () => {
  it('in order', () => {
    const sampler = new data.SequentialSampler(sized(3));
    expect([sampler.length, [...sampler], [...sampler]]).toEqual([3, [0, 1, 2], [0, 1, 2]]);
  });
  it('at random have a new order in each epoch, the same for the same seed', () => {
    const makes: (() => data.SeededSampler)[] = [
      () => new data.RandomSampler(sized(20), { seed: 4 }),
      () => new data.RandomSampler(sized(20), { seed: 4, replacement: true }),
      () => new data.SubsetRandomSampler(upTo(20), { seed: 4 }),
      () => new data.WeightedRandomSampler(upTo(20), 20, { seed: 4 }),
      () => new data.WeightedRandomSampler(upTo(21), 20, { seed: 4, replacement: false }),
    ];
    for (const make of makes) {
      const [one, two] = [make(), make()];
      const orders = [[...one], [...one], [...one]];
      expect(orders.map(() => [...two])).toEqual(orders);
      expect(new Set(orders.map(String)).size).toBe(3);
      expect(orders.map((o) => o.length)).toEqual([20, 20, 20]);
      expect(one.state).toEqual({ seed: 4, epoch: 3 });
      const late = make();
      late.state = JSON.parse(JSON.stringify({ seed: 4, epoch: 2 }));
      expect([...late]).toEqual(orders[2]);
    }
  });
  it('without a seed depend on manualSeed', () => {
    const order = () => {
      manualSeed(8);
      return [...new data.RandomSampler(sized(30))];
    };
    expect(order()).toEqual(order());
  });
  it('without replacement visit everything once, and several times for more', () => {
    const sampler = new data.RandomSampler(sized(4), { numSamples: 10, seed: 1 });
    const order = [...sampler];
    expect([sampler.length, order.length]).toEqual([10, 10]);
    expect([sorted(order.slice(0, 4)), sorted(order.slice(4, 8))]).toEqual([upTo(4), upTo(4)]);
    expect(new Set(order.slice(8)).size).toBe(2);
    expect([...new data.RandomSampler(sized(9), { numSamples: 2, seed: 1 })]).toHaveLength(2);
    expect(sorted(new data.SubsetRandomSampler([7, 3, 5]))).toEqual([3, 5, 7]);
  });
  it('with replacement draw all alike', () => {
    const seen = counts(new data.RandomSampler(sized(5), { replacement: true, numSamples: 10_000, seed: 2 }), 5);
    for (const count of seen) expect(Math.abs(count - 2000)).toBeLessThan(200); // 5 standard deviations
  });
  it('with weights draw in proportion, and never what has none', () => {
    const weights = [0, 1, 0, 3, 0];
    const seen = counts(new data.WeightedRandomSampler(weights, 10_000, { seed: 2 }), 5);
    expect([seen[0], seen[2], seen[4]]).toEqual([0, 0, 0]);
    expect(Math.abs(seen[3] - 7500)).toBeLessThan(220);
    const of = new data.WeightedRandomSampler(tensor(weights), 10, { seed: 2 });
    expect([...of]).toEqual([...new data.WeightedRandomSampler(Float64Array.from(weights), 10, { seed: 2 })]);
  });
  it('with weights and without replacement draw the first in proportion, and each once', () => {
    const sampler = new data.WeightedRandomSampler([1, 0, 2, 5], 3, { replacement: false, seed: 3 });
    const firsts: number[] = [];
    const seconds: number[] = [];
    for (let epoch = 0; epoch < 4000; epoch++) {
      const order = [...sampler];
      if (epoch < 50) expect(sorted(order)).toEqual([0, 2, 3]);
      firsts.push(order[0]);
      if (order[0] === 3) seconds.push(order[1]);
    }
    expect(Math.abs(counts(firsts, 4)[3] / 4000 - 5 / 8)).toBeLessThan(0.04);
    expect(Math.abs(counts(seconds, 4)[2] / seconds.length - 2 / 3)).toBeLessThan(0.05);
  });
  it('of batches group, and drop the rest if asked', () => {
    const batches = new data.BatchSampler(new data.SequentialSampler(sized(5)), 2);
    expect([batches.length, [...batches], batches.state]).toEqual([3, [[0, 1], [2, 3], [4]], undefined]);
    const whole = new data.BatchSampler([9, 8, 7], 2, { dropLast: true });
    expect([whole.length, [...whole]]).toEqual([1, [[9, 8]]]);
    const random = new data.BatchSampler(new data.RandomSampler(sized(5), { seed: 1 }), 2);
    random.state = { seed: 9, epoch: 4 };
    expect(random.state).toEqual({ seed: 9, epoch: 4 });
  });
  it.each<[string, () => unknown, string]>([
    ['no dataset', () => new data.SequentialSampler(undefined as never), 'length of the dataset is undefined'],
    ['an empty dataset', () => new data.RandomSampler(sized(0)), '[RandomSampler] the dataset has no samples'],
    ['a number', () => new data.RandomSampler(5 as never), '[RandomSampler] the length of the dataset is undefined'],
    ['no samples', () => new data.RandomSampler(sized(2), { numSamples: 0 }), 'numSamples is 0'],
    ['another flag', () => new data.RandomSampler(sized(2), { replacement: 1 as never }), 'replacement is 1'],
    ['an unknown option', () => new data.RandomSampler(sized(2), { num_samples: 1 } as never), "'num_samples'"],
    ['a seed that is none', () => new data.RandomSampler(sized(2), { seed: -1 }), '[RandomSampler] seed is -1'],
    ['indices that are a text', () => new data.SubsetRandomSampler('12' as never), "indices are '12'"],
    ['negative indices', () => new data.SubsetRandomSampler([1, -2]), '[SubsetRandomSampler] indices[1] is -2'],
    ['negative weights', () => new data.WeightedRandomSampler([1, -1], 1), '[WeightedRandomSampler] weights[1] is -1'],
    ['a weight of NaN', () => new data.WeightedRandomSampler([NaN], 1), 'weights[0] is NaN'],
    ['only zeros', () => new data.WeightedRandomSampler([0, 0], 1), 'the 2 weights add up to 0'],
    ['no weights', () => new data.WeightedRandomSampler([], 1), 'the 0 weights add up to 0'],
    ['an infinite sum', () => new data.WeightedRandomSampler([1e308, 1e308], 1), 'add up to Infinity'],
    ['a matrix', () => new data.WeightedRandomSampler(tensor([[1]]), 1), 'a tensor with 2 dimensions'],
    ['a weight alone', () => new data.WeightedRandomSampler(1 as never, 1), 'the weights are 1'],
    ['no number', () => new data.WeightedRandomSampler([1], undefined as never), 'numSamples is undefined'],
    [
      'more than there are',
      () => new data.WeightedRandomSampler([1, 0, 1], 3, { replacement: false }),
      'numSamples is 3 for 2 positive weights without replacement; pass at most 2',
    ],
    ['an iterator', () => new data.BatchSampler([1].values() as never, 1), '[BatchSampler] sampler is'],
    ['a text', () => new data.BatchSampler('12' as never, 1), "sampler is '12'"],
    ['a batch size of 0', () => new data.BatchSampler([1], 0), '[BatchSampler] batchSize is 0'],
    ['a null dropLast', () => new data.BatchSampler([1], 1, { dropLast: 1 as never }), 'dropLast is 1'],
  ])('refuse %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});
