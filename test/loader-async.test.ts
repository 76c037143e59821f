import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { arange, data, fit, manualSeed, nn, optim, randn, type Tensor, tensor } from '../src/index.js';
import { errorOf } from './helpers.js';

/** Samples that come when the test says so. Notes what was asked for. */
class Manual implements data.Dataset<number> {
  readonly asked: number[] = [];
  readonly waiting = new Map<number, (value: number) => void>();
  constructor(readonly length: number) {}
  get(index: number): Promise<number> {
    this.asked.push(index);
    return new Promise((resolve) => this.waiting.set(index, resolve));
  }
  answer(index: number): void {
    this.waiting.get(index)!(index);
  }
}

/** Promised samples that fail at one index. */
const failing = (at: number, error: unknown = new Error('no such file')): data.Dataset<number> => ({
  length: 10,
  get: async (i) => {
    if (i === at) throw error;
    return i;
  },
});
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));
const values = async (loader: AsyncIterable<Tensor>) => {
  const out: unknown[] = [];
  for await (const x of loader) out.push(x.toArraySync());
  return out;
};

describe('a loader of samples that are promised', () => {
  it('loads as many batches ahead as it is told, and gives them in order', async () => {
    for (const prefetch of [0, 1, 2]) {
      const dataset = new Manual(8);
      const batches = new data.DataLoader(dataset, { batchSize: 2, prefetch })[Symbol.asyncIterator]();
      const first = batches.next();
      await turn();
      const ahead = [0, 1, 2, 3, 4, 5].slice(0, 2 * (prefetch + 1));
      expect(dataset.asked).toEqual(ahead);
      for (const i of ahead.toReversed()) dataset.answer(i); // the last comes first
      expect((await first).value!.toArraySync()).toEqual([0, 1]);
      await turn();
      expect(dataset.asked).toEqual(ahead); // nothing more until the loop asks
      const second = batches.next();
      await turn();
      expect(dataset.asked).toEqual([0, 1, 2, 3, 4, 5, 6, 7].slice(0, 2 * (prefetch + 2)));
      for (const i of dataset.asked) dataset.answer(i);
      expect((await second).value!.toArraySync()).toEqual([2, 3]);
    }
  });
  it('loads two ahead by default, and stops where the loop ends', async () => {
    const asked: number[] = [];
    let closed = 0;
    const sampler = {
      length: 20,
      *[Symbol.iterator]() {
        try {
          for (let i = 0; i < 20; i++) yield i;
        } finally {
          closed++;
        }
      },
    };
    const dataset: data.Dataset<number> = {
      length: 20,
      async get(i) {
        asked.push(i);
        return i;
      },
    };
    for await (const x of new data.DataLoader(dataset, { batchSize: 1, sampler })) if (x.itemSync() === 1) break;
    await turn();
    expect([asked, closed]).toEqual([[0, 1, 2, 3], 1]);
  });
  it('does not load samples ahead that come at once', async () => {
    const asked: number[] = [];
    const dataset: data.Dataset<number> = { length: 6, get: (i) => asked.push(i) };
    for await (const _ of new data.DataLoader(dataset, { batchSize: 2 })) break;
    expect(asked).toEqual([0, 1]);
  });
  it('needs for await', async () => {
    const dataset = new Manual(4);
    const error = await errorOf(() => [...new data.DataLoader(dataset, { batchSize: 2 })]);
    expect(error.message).toBe('[DataLoader] get(0) of the dataset returned a promise; use for await (… of loader)');
    expect(dataset.asked).toEqual([0]);
    const late = { length: 2, get: (i: number) => i, getBatch: async () => tensor([1]) };
    expect((await errorOf(() => [...new data.DataLoader(late, { batchSize: 2 })])).message).toContain(
      'getBatch of the',
    );
    const collate = async (all: number[]) => all;
    const loader = new data.DataLoader({ length: 2, get: (i: number) => i }, { batchSize: 2, collate });
    expect((await errorOf(() => [...loader])).message).toContain('collate returned a promise');
    for await (const batch of loader) expect(batch).toEqual([0, 1]);
    // Nobody waits for this rejection, so it must not end the process.
    expect((await errorOf(() => [...new data.DataLoader(failing(0), { batchSize: 1 })])).op).toBe('DataLoader');
    await turn();
  });
  it('names the sample that fails, after the batches before it', async () => {
    const seen: unknown[] = [];
    const error = await errorOf(async () => {
      for await (const x of new data.DataLoader(failing(5), { batchSize: 2, prefetch: 4 })) seen.push(x.toArraySync());
    });
    expect(seen).toEqual([
      [0, 1],
      [2, 3],
    ]);
    expect(error.message).toBe('[DataLoader] get(5) of the dataset failed: no such file; see the cause of this error');
    expect((error.cause as Error).message).toBe('no such file');
    // A failed batch that the loop does not come to is no unhandled rejection.
    for await (const _ of new data.DataLoader(failing(3, 'text'), { batchSize: 2 })) {
      await turn();
      break;
    }
    const thrown: data.Dataset<number> = {
      length: 2,
      get() {
        throw new Error('at once');
      },
    };
    for (const run of [() => [...new data.DataLoader(thrown, { batchSize: 2 })], () => values(new data.DataLoader(thrown, { batchSize: 2 }))])
      expect((await errorOf(run)).message).toContain('get(0) of the dataset failed: at once'); // biome-ignore format: one line
  });
  it('asks for whole batches where the dataset has them', async () => {
    const asked: number[][] = [];
    const dataset: data.Dataset<number> = {
      length: 5,
      get: () => expect.fail('one by one'),
      async getBatch(indices) {
        asked.push(Array.from(indices));
        if (indices[0] === 4) throw new Error('gone');
        return tensor(Array.from(indices));
      },
    };
    const error = await errorOf(() => values(new data.DataLoader(dataset, { batchSize: 2 })));
    expect(error.message).toContain('getBatch([4]) of the dataset failed: gone');
    expect(asked).toEqual([[0, 1], [2, 3], [4]]);
  });
  it('shuffles as one of tensors does', async () => {
    const options = { batchSize: 4, shuffle: true, seed: 3, dropLast: true };
    const promised: data.Dataset<number> = { length: 9, get: async (i) => i };
    const loader = new data.DataLoader(promised, options);
    const tensors = new data.DataLoader(new data.TensorDataset(arange(9)), options);
    for (const _ of [1, 2]) expect(await values(loader)).toEqual([...tensors].map(([x]) => x.toArraySync()));
  });
});

describe('fit with samples that are promised', () => {
  class Line implements data.Dataset<[Tensor, Float32Array]> {
    readonly length = 32;
    readonly #x = randn([32, 2]);
    async get(index: number): Promise<[Tensor, Float32Array]> {
      const x = this.#x.select(0, index);
      return [x, Float32Array.of(x.sum().itemSync())];
    }
  }
  const checkpoint = () => join(mkdtempSync(join(tmpdir(), 'tapegrad-loader-')), 'c');
  const run = async (epochs: number, path: string, sampler: boolean) => {
    manualSeed(5);
    const dataset = new Line();
    const model = new nn.Linear(2, 1);
    const train = sampler
      ? new data.DataLoader(dataset, { batchSize: 8, sampler: new data.RandomSampler(dataset) })
      : new data.DataLoader(dataset, { batchSize: 8, shuffle: true });
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9 });
    const options = { loss: new nn.MSELoss(), optimizer, epochs, checkpoint: path, resume: true, progress: false };
    const { epochs: reports } = await fit(model, { train, validation: train, ...options });
    return { weights: [...model.weight.dataSync()], loss: reports.at(-1)!.loss, samples: reports[0].samples };
  };
  it.each([false, true])('learns, and resumes with the same batches (sampler: %s)', async (sampler) => {
    const [one, two] = [checkpoint(), checkpoint()];
    const whole = await run(6, one, sampler);
    expect(whole.samples).toBe(32);
    expect(whole.loss).toBeLessThan((await run(2, two, sampler)).loss);
    expect(await run(6, two, sampler)).toEqual(whole);
  });
  it('names the sample that fails', async () => {
    const model = new nn.Linear(2, 1);
    const broken: data.Dataset<[Tensor, Tensor]> = {
      length: 4,
      get: (i) => (i === 3 ? Promise.reject(new Error('lost')) : [randn([2]), randn([1])]),
    };
    const error = await errorOf(() =>
      fit(model, {
        train: new data.DataLoader(broken, { batchSize: 2 }),
        loss: new nn.MSELoss(),
        optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }),
        epochs: 1,
        progress: false,
      }),
    );
    expect(error.message).toContain('get(3) of the dataset failed: lost');
  });
});
