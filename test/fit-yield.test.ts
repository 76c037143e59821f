import { describe, expect, it } from 'vitest';
import { data, type FitOptions, fit, nn, optim, randn } from '../src/index.js';

const x = randn([512, 4]);
const loader = () => new data.DataLoader(new data.TensorDataset(x, x.sum(1, true)), { batchSize: 8 });

/** Counts the turns that the event loop gets while `work` runs. */
async function turnsOf(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let running = true;
  const count = () => {
    turns++;
    if (running) setTimeout(count, 0);
  };
  setTimeout(count, 0);
  await work();
  running = false;
  return turns;
}

/** Takes the processor for some milliseconds. */
function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

function setting(): [nn.TensorModule, FitOptions] {
  const model = new nn.Linear(4, 1);
  return [
    model,
    {
      train: loader(),
      loss: new nn.MSELoss(),
      optimizer: new optim.SGD(model.parameters(), { lr: 0.01 }),
      epochs: 1,
      progress: false,
    },
  ];
}

describe('the event loop gets a turn', () => {
  it('after each step that takes longer than its share', async () => {
    const [model, options] = setting();
    expect(await turnsOf(() => fit(model, { ...options, onBatch: () => work(8) }))).toBeGreaterThan(30);
  });
  it('between many short steps, but not after each', async () => {
    const [model, options] = setting();
    // 20 epochs of 64 steps of half a millisecond: 0.64 s at least, or some 90 turns.
    const turns = await turnsOf(() => fit(model, { ...options, epochs: 20, onBatch: () => work(0.5) }));
    expect(turns).toBeGreaterThan(20);
  });
  it('in validation and between metrics', async () => {
    const [model, options] = setting();
    const slow = () => {
      work(8);
      return 1;
    };
    const metrics = { a: slow, b: slow };
    const validation = [...loader()].slice(0, 16);
    const train = validation.slice(0, 1);
    expect(await turnsOf(() => fit(model, { ...options, train, validation, metrics }))).toBeGreaterThan(20);
  });
  it('in a loop over a loader', async () => {
    const turns = await turnsOf(async () => {
      for await (const [a] of loader()) {
        expect(a.shape).toEqual([8, 4]);
        work(8);
      }
    });
    expect(turns).toBeGreaterThan(30);
  });
  it('and others that train get theirs', async () => {
    const order: string[] = [];
    const run = (name: string) => {
      const [model, options] = setting();
      return fit(model, {
        ...options,
        onBatch: () => {
          order.push(name);
          work(1);
        },
      });
    };
    await Promise.all([run('a'), run('b')]);
    const half = order.slice(0, 64).filter((name) => name === 'a').length;
    expect(half).toBeGreaterThan(16);
    expect(half).toBeLessThan(48);
  });
});
