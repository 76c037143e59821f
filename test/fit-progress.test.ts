import { createRequire } from 'node:module';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type FitOptions, fit, nn, ones, optim, type Tensor, zeros } from '../src/index.js';

// The progress bar of fit, and the figures that depend on the clock.

const { SingleBar } = createRequire(import.meta.url)('cli-progress') as typeof import('cli-progress');
const { isTTY } = process.stderr;
const setTTY = (value: boolean) => Object.defineProperty(process.stderr, 'isTTY', { value, configurable: true });

/** What was asked of the bars, in order. */
let calls: unknown[][] = [];
let bars: Set<unknown>;

beforeEach(() => {
  [calls, bars] = [[], new Set()];
  for (const name of ['start', 'update', 'stop'] as const)
    vi.spyOn(SingleBar.prototype, name).mockImplementation(function (this: unknown, ...args: unknown[]) {
      bars.add(this);
      calls.push([name, ...args]);
    });
  setTTY(true);
});
afterEach(() => {
  vi.restoreAllMocks();
  setTTY(isTTY);
});

/** 40 batches of two samples with the loss 4; each takes 10 ms of a clock that only moves there. */
function setting() {
  let now = 500;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const model = new nn.Linear(1, 1, { bias: false });
  nn.init.constant(model.weight, 2);
  const train: [Tensor, Tensor][] = Array.from({ length: 40 }, () => [ones([2, 1]), zeros([2, 1])]);
  const mse = new nn.MSELoss();
  const options: FitOptions = {
    train,
    loss: {
      forward: (p, y) => {
        now += 10;
        return mse.forward(p, y);
      },
    },
    optimizer: new optim.SGD(model.parameters(), { lr: 0 }),
    epochs: 1,
  };
  return { model, options };
}

describe('the progress bar', () => {
  it('has the batches of an epoch, and every 16 batches the loss and the speed', async () => {
    const { model, options } = setting();
    await fit(model, { ...options, epochs: 2 });
    const epoch = [
      ['start', 40, 0, { note: '' }],
      ['update', 16, { note: 'loss 4.0000 | 200 samples/s' }],
      ['update', 32, { note: 'loss 4.0000 | 200 samples/s' }],
      ['stop'],
    ];
    expect(calls).toEqual([...epoch, ...epoch]);
    const shown = [...bars].map((bar) => (bar as { options: Record<string, unknown> }).options);
    expect(shown).toHaveLength(2);
    expect(shown[1]).toMatchObject({ clearOnComplete: true, hideCursor: true, barsize: 30 });
    expect(shown[1].format).toMatch(/^epoch 2\/2 .*\{bar\}.*\{note\}/);
  });
  it('goes away with an error, and has no total where the number of batches is unknown', async () => {
    const { model, options } = setting();
    const { train } = options;
    const onBatch = () => {
      throw new Error('mine');
    };
    const source = { [Symbol.iterator]: () => (train as [Tensor, Tensor][]).values() };
    await expect(fit(model, { ...options, train: source, onBatch })).rejects.toThrow('mine');
    expect(calls).toEqual([['start', 0, 0, { note: '' }], ['stop']]);
  });
  it('is not shown with progress: false, and where there is no terminal', async () => {
    const { model, options } = setting();
    await fit(model, { ...options, progress: false });
    setTTY(false);
    await fit(model, { ...options });
    await fit(model, { ...options, progress: true });
    expect(calls).toEqual([]);
  });
  it('is shown with progress: true', async () => {
    const { model, options } = setting();
    await fit(model, { ...options, progress: true });
    expect(calls.map(([name]) => name)).toEqual(['start', 'update', 'update', 'stop']);
  });
});

describe('a report', () => {
  it('has the mean loss, the seconds and the samples per second', async () => {
    const { model, options } = setting();
    const { epochs } = await fit(model, { ...options, progress: false });
    expect(epochs[0]).toMatchObject({ epoch: 1, loss: 4, samples: 80, validation: null });
    expect(epochs[0].seconds).toBeCloseTo(0.4, 10);
    expect(epochs[0].samplesPerSecond).toBeCloseTo(200, 6);
  });
  it('of a batch has its own loss', async () => {
    const { model, options } = setting();
    const train: [Tensor, Tensor][] = [
      [ones([4, 1]), zeros([4, 1])],
      [ones([2, 1]).mul(3), zeros([2, 1])],
    ];
    const seen: unknown[] = [];
    const onBatch: FitOptions['onBatch'] = (report) => seen.push(report);
    const { epochs } = await fit(model, { ...options, train, onBatch, progress: false });
    expect(seen).toEqual([
      { epoch: 1, batch: 0, loss: 4, samples: 4 },
      { epoch: 1, batch: 1, loss: 36, samples: 2 },
    ]);
    expect(epochs[0].loss).toBeCloseTo((4 * 4 + 36 * 2) / 6, 6);
  });
});
