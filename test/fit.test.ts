import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { data, type FitOptions, fit, manualSeed, metrics, nn, optim, randn, tensor } from '../src/index.js';
import { errorOf } from './helpers.js';

function setting() {
  manualSeed(1);
  const x = randn([40, 3]);
  const y = x.sum(1).gt(0);
  const model = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 2));
  const options: FitOptions = {
    train: new data.DataLoader(new data.TensorDataset(x, y), { batchSize: 8, shuffle: true }),
    validation: new data.DataLoader(new data.TensorDataset(x, y), { batchSize: 16 }),
    loss: new nn.CrossEntropyLoss(),
    optimizer: new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 }),
    epochs: 6,
    metrics: { accuracy: metrics.accuracy },
    progress: false,
  };
  return { model, options };
}
const bits = (model: nn.Module) => model.parameters().map((p) => [...new Uint32Array(p.dataSync().buffer)]);

describe('fit', () => {
  it('learns, and tells what happened', async () => {
    const { model, options } = setting();
    const seen: number[] = [];
    const history = await fit(model, { ...options, epochs: 20, onEpoch: ({ epoch }) => seen.push(epoch) });
    expect(history.stopped).toBe('epochs');
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    const [first, last] = [history.epochs[0], history.epochs[19]];
    expect(last.loss).toBeLessThan(first.loss / 2);
    expect(last.validation!.accuracy).toBeGreaterThan(0.95);
    expect(first.samples).toBe(40);
  });
  it('resumes from a checkpoint to the same bits as a run that was never interrupted', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'run.safetensors');
    const whole = setting();
    await fit(whole.model, whole.options);
    const interrupted = setting();
    const early = await fit(interrupted.model, {
      ...interrupted.options,
      checkpoint: path,
      onEpoch: ({ epoch }) => epoch < 3,
    });
    expect(early.stopped).toBe('onEpoch');
    expect(existsSync(path)).toBe(true);
    expect(bits(interrupted.model)).not.toEqual(bits(whole.model));
    // A new process has the same data and other weights, seeds and learning rate: all that counts comes from the file.
    const resumed = setting();
    for (const p of resumed.model.parameters()) nn.init.zeros(p);
    resumed.options.optimizer.paramGroups[0].lr = 9;
    (resumed.options.train as data.DataLoader).state = { seed: 7, epoch: 0 };
    manualSeed(99);
    const history = await fit(resumed.model, { ...resumed.options, checkpoint: path, resume: true });
    expect(history.epochs.map((e) => e.epoch)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(bits(resumed.model)).toEqual(bits(whole.model));
  });
  it('stops early and goes back to the best parameters', async () => {
    const { model, options } = setting();
    let best = Infinity;
    let kept: number[][] = [];
    options.optimizer.paramGroups[0].lr = 3; // overshoots soon
    const history = await fit(model, {
      ...options,
      epochs: 50,
      earlyStopping: { patience: 3 },
      onEpoch: ({ validation }) => {
        if (validation!.loss < best) [best, kept] = [validation!.loss, bits(model)];
      },
    });
    expect(history.stopped).toBe('earlyStopping');
    expect(history.epochs.length).toBeLessThan(50);
    expect(bits(model)).toEqual(kept);
  });
  it('takes any iterable of batches', async () => {
    const { model, options } = setting();
    const batch = [randn([4, 3]), tensor([0, 1, 0, 1])];
    async function* stream() {
      yield batch;
      yield batch;
    }
    const history = await fit(model, { ...options, train: { [Symbol.asyncIterator]: stream }, epochs: 2 });
    expect(history.epochs[1].samples).toBe(8);
  });
  it.each<[string, Partial<Record<keyof FitOptions, unknown>>, string]>([
    ['no data', { train: undefined }, 'train is undefined'],
    ['no loss', { loss: {} }, 'loss is a Object'],
    ['no optimizer', { optimizer: {} }, 'pass an optimizer such as'],
    ['no epochs', { epochs: 0 }, 'epochs is 0'],
    ['an unknown option', { epoch: 1 } as never, "'epoch'"],
    [
      'early stopping without validation',
      { validation: undefined, earlyStopping: { patience: 1 } },
      'without validation data',
    ],
    ['resume without a file', { resume: true }, 'without a checkpoint'],
    ['a metric that is none', { metrics: { accuracy: 1 } }, 'the metric accuracy is 1'],
    ['empty data', { train: [] }, 'yields no batch'],
    ['empty validation data', { validation: [] }, 'the validation data yields no batch'],
  ])('refuses %s', async (_, wrong, text) => {
    const { model, options } = setting();
    expect((await errorOf(() => fit(model, { ...options, ...wrong } as FitOptions))).message).toContain(text);
  });
  it('says when the loss is lost', async () => {
    const { model, options } = setting();
    nn.init.constant(model.parameters()[0], Number.NaN);
    expect((await errorOf(() => fit(model, options))).message).toContain(
      "the loss is NaN in batch 0 of epoch 1: the parameter '0.weight' was already not finite",
    );
  });
  it('refuses a file that is no checkpoint, and one of another model', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'x.safetensors');
    const { model, options } = setting();
    writeFileSync(path, 'x');
    expect((await errorOf(() => fit(model, { ...options, checkpoint: path, resume: true }))).message).toContain(
      'safetensors',
    );
    const other = new nn.Linear(3, 2);
    await fit(other, {
      ...options,
      optimizer: new optim.SGD(other.parameters(), { lr: 0.1 }),
      checkpoint: path,
      epochs: 1,
    });
    expect((await errorOf(() => fit(model, { ...options, checkpoint: path, resume: true }))).message).toContain(
      'missing keys',
    );
  });
});
