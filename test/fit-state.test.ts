import { mkdtempSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  data,
  type FitOptions,
  fit,
  type Metric,
  manualSeed,
  nn,
  ones,
  optim,
  randn,
  tensor,
  zeros,
} from '../src/index.js';
import { fromSafetensors, toSafetensors } from '../src/io/index.js';
import { fromJson, toJson } from '../src/train/json.js';
import { errorOf, expectClose } from './helpers.js';

const file = () => join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'run.safetensors');

function setting(batchSize = 8) {
  manualSeed(2);
  const x = randn([24, 3]);
  const y = x.sum(1, true);
  const model = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 1));
  const loader = (size = batchSize) => new data.DataLoader(new data.TensorDataset(x, y), { batchSize: size });
  const options: FitOptions = {
    train: loader(),
    loss: new nn.MSELoss(),
    optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }),
    epochs: 1,
    progress: false,
  };
  return { model, options, loader, x, y };
}
const weights = (model: nn.Module) => model.parameters().flatMap((p) => [...p.dataSync()]);

describe('fit keeps the weights', () => {
  it('where a later loss is NaN', async () => {
    const { model, options, x } = setting();
    const y = tensor([...zeros([20]).dataSync(), Number.NaN, 0, 0, 0], { shape: [24, 1] });
    const train = new data.DataLoader(new data.TensorDataset(x, y), { batchSize: 8 });
    const before = weights(model);
    const error = await errorOf(() => fit(model, { ...options, train }));
    expect(error.message).toContain('the loss is NaN in batch 2 of epoch 1');
    expect(weights(model).every(Number.isFinite)).toBe(true);
    expect(weights(model)).not.toEqual(before); // two good steps
  });
  it('and the checkpoint where a gradient is NaN behind a finite loss', async () => {
    const model = new nn.Linear(1, 1, { bias: false });
    nn.init.constant(model.weight, 2);
    const mse = new nn.MSELoss();
    const checkpoint = file();
    const options = (train: FitOptions['train'], epochs: number): FitOptions => ({
      train,
      loss: { forward: (p, t) => mse.forward(p, t).sqrt() },
      optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }),
      epochs,
      checkpoint,
      resume: true,
      progress: false,
    });
    const [good, bad] = [
      [tensor([[1]]), zeros([1, 1])],
      [zeros([1, 1]), zeros([1, 1])],
    ];
    await fit(model, options([good], 1));
    const kept = readFileSync(checkpoint);
    const error = await errorOf(() => fit(model, options([good, bad], 2)));
    expect(error.message).toContain("the gradient of 'weight' is not finite in batch 1 of epoch 2");
    expect(weights(model)[0]).toBeCloseTo(1.8); // one step in each epoch
    expect(readFileSync(checkpoint).equals(kept)).toBe(true);
  });
  it('and says when a step has overflowed, before it writes a checkpoint', async () => {
    const { model, options } = setting(24);
    (options.optimizer as optim.SGD).options.lr = 3e38;
    const checkpoint = file();
    const huge: FitOptions['loss'] = { forward: (p, t) => new nn.MSELoss().forward(p, t).mul(1e6) };
    const error = await errorOf(() => fit(model, { ...options, loss: huge, checkpoint }));
    expect(error.message).toContain('is no longer finite after epoch 1');
    expect(() => readFileSync(checkpoint)).toThrow('ENOENT');
  });
});

describe('however fit ends', () => {
  it('modules are in the mode they were in', async () => {
    const { model, options, loader } = setting();
    const part = Object.values(model)
      .flat()
      .findLast((m): m is nn.Module => m instanceof nn.Module)!;
    part.eval();
    await fit(model, options);
    expect([model.training, part.training]).toEqual([true, false]);
    const metrics = {
      a: () => {
        throw new Error('mine');
      },
    };
    await expect(fit(model, { ...options, validation: loader(), metrics })).rejects.toThrow('mine');
    expect([model.training, part.training]).toEqual([true, false]);
    model.eval();
    await fit(model, { ...options, epochs: 2 });
    expect([model.training, part.training]).toEqual([false, false]);
  });
  it('an abort gives its reason, after the step under way', async () => {
    const { model, options, loader } = setting();
    const stop = new AbortController();
    const reason = new Error('enough');
    let batches = 0;
    model.eval();
    const onBatch = () => {
      if (++batches === 2) stop.abort(reason);
    };
    await expect(fit(model, { ...options, onBatch, signal: stop.signal })).rejects.toBe(reason);
    expect([batches, model.training]).toEqual([2, false]);
    const before = weights(model);
    await expect(fit(model, { ...options, signal: stop.signal })).rejects.toBe(reason);
    expect(weights(model)).toEqual(before);
    const late = new AbortController();
    const metrics = {
      a: () => {
        late.abort(reason);
        return 1;
      },
    };
    await expect(fit(model, { ...options, validation: loader(), metrics, signal: late.signal })).rejects.toBe(reason);
  });
  it('an abort does not wait for a batch that never comes', async () => {
    const { model, options } = setting();
    const stop = new AbortController();
    const reason = new Error('enough');
    const next = () => {
      queueMicrotask(() => stop.abort(reason));
      return new Promise<never>(() => {});
    };
    const train = { [Symbol.asyncIterator]: () => ({ next }) };
    await expect(fit(model, { ...options, train, signal: stop.signal })).rejects.toBe(reason);
  });
});

describe('checkpoints', () => {
  it('hold NaN and Infinity', () => {
    const value = { a: [Number.NaN, 1], b: { c: Number.POSITIVE_INFINITY, d: Number.NEGATIVE_INFINITY }, e: null };
    expect(fromJson(toJson(value))).toEqual(value);
  });
  it('of before, with null for a loss that was not finite, let early stopping go on', async () => {
    const { model, options, loader } = setting();
    const checkpoint = file();
    const all: FitOptions = { ...options, validation: loader(), earlyStopping: { patience: 1 }, checkpoint };
    await fit(model, all);
    const { tensors, metadata } = fromSafetensors(readFileSync(checkpoint));
    const contents = JSON.parse(metadata.checkpoint);
    contents.best.loss = null;
    contents.epochs[0].validation.loss = null;
    await writeFile(checkpoint, await toSafetensors(tensors, { checkpoint: JSON.stringify(contents) }));
    const history = await fit(model, { ...all, epochs: 2, resume: true });
    expect(history.epochs).toHaveLength(2);
    expect(history.epochs[0].validation!.loss).toBeNaN();
    const after = fromJson(fromSafetensors(readFileSync(checkpoint)).metadata.checkpoint) as typeof contents;
    expect(after.best).toEqual({ loss: history.epochs[1].validation!.loss, epoch: 2 });
    expect(after.epochs[0].validation.loss).toBeNaN();
  });
  it('bring the optimizer, but for a new learning rate', async () => {
    const { model, options } = setting();
    const checkpoint = file();
    await fit(model, { ...options, checkpoint });
    (options.optimizer as optim.SGD).options.lr = 5;
    await fit(model, { ...options, checkpoint, epochs: 2, resume: true });
    expect((options.optimizer as optim.SGD).options.lr).toBe(0.1);
    await fit(model, { ...options, checkpoint, epochs: 3, resume: { lr: 0.01 } });
    expect((options.optimizer as optim.SGD).options.lr).toBe(0.01);
  });
});

describe('steps', () => {
  const trained = async (change: Partial<FitOptions>, batchSize: number) => {
    const { model, options, loader } = setting();
    // At the full rate the steps for a sum diverge, and enlarge differences of rounding.
    if ((change.loss?.reduction ?? 'mean') === 'sum') options.optimizer.paramGroups[0].lr /= 24;
    await fit(model, { ...options, train: loader(batchSize), ...change });
    return weights(model);
  };
  it.each(['mean', 'sum'] as const)('of accumulated batches are those of one big batch: %s', async (reduction) => {
    const loss = new nn.MSELoss({ reduction });
    // Sums of other sizes round otherwise, and three epochs let the difference grow.
    expectClose(await trained({ loss, accumulate: 3, epochs: 3 }, 8), await trained({ loss, epochs: 3 }, 24), 3e-5);
    // 24 = 2 * 10 + 4: batches of other sizes, and with accumulate 5 also fewer of them.
    expectClose(await trained({ loss, accumulate: 3 }, 10), await trained({ loss }, 24));
    expectClose(await trained({ loss, accumulate: 5 }, 10), await trained({ loss }, 24));
  });
  it('are clipped', async () => {
    const { model, options } = setting(24);
    const before = weights(model);
    await fit(model, { ...options, clipGradNorm: 0.01 });
    const moved = Math.hypot(...weights(model).map((w, i) => w - before[i]));
    expect(moved / 0.1 / 0.01).toBeCloseTo(1, 3);
  });
  it('report every batch', async () => {
    const { model, options } = setting(16);
    const seen: [number, number, number][] = [];
    const history = await fit(model, {
      ...options,
      onBatch: async ({ epoch, batch, samples, loss }) => {
        await null;
        seen.push([epoch, batch, samples]);
        expect(loss).toBeGreaterThan(0);
      },
    });
    expect(seen).toEqual([
      [1, 0, 16],
      [1, 1, 8],
    ]);
    expect(history.epochs[0].samples).toBe(24);
  });
  it('a sum is reported as the mean of the samples', async () => {
    const report = async (loss: FitOptions['loss'], lossReduction?: 'sum') => {
      const { model, options, loader } = setting(16);
      (options.optimizer as optim.SGD).options.lr = 0;
      const { epochs } = await fit(model, { ...options, validation: loader(), loss, lossReduction });
      return [epochs[0].loss, epochs[0].validation!.loss];
    };
    const mean = await report(new nn.MSELoss());
    const sum = new nn.MSELoss({ reduction: 'sum' });
    expectClose(await report(sum), mean);
    expectClose(await report({ forward: (p, t) => sum.forward(p, t) }, 'sum'), mean);
  });
});

describe('metrics', () => {
  const report = async (metric: unknown, rows = 16) => {
    const { model, options, loader } = setting(rows);
    const metrics = { mine: metric as Metric };
    return (await fit(model, { ...options, validation: loader(), metrics })).epochs[0].validation!.mine;
  };
  it('may be numbers, tensors and promises of either', async () => {
    const given = await Promise.all(
      [() => 2, () => tensor(2), () => tensor([[2]]), async () => 2, async () => tensor([2])].map((m) => report(m)),
    );
    expect(given).toEqual([2, 2, 2, 2, 2]);
    expect(await report(() => Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
  });
  it('of the whole set see all samples at once', async () => {
    const shapes: (readonly number[])[] = [];
    const metric = Object.assign(
      (output: { shape: readonly number[] }, target: { shape: readonly number[] }) =>
        shapes.push(output.shape, target.shape),
      { wholeSet: true },
    );
    expect(await report(metric, 23)).toBe(2); // a last batch of one
    expect(shapes).toEqual([
      [24, 1],
      [24, 1],
    ]);
  });
  it.each<[string, unknown, string]>([
    [
      'several numbers',
      () => ones([2]),
      'the metric mine returned a tensor of shape [2] in validation batch 0 of epoch 1',
    ],
    ['nothing', () => undefined, 'the metric mine returned undefined'],
    ['a text', async () => '1', "the metric mine returned '1'"],
    ['NaN', () => Number.NaN, 'the metric mine is NaN in validation batch 0 of epoch 1'],
    [
      'infinities that cancel',
      (_: unknown, t: { shape: number[] }) => (t.shape[0] === 16 ? 1 : -1) / 0,
      'the mean mine',
    ],
  ])('are refused if they give %s', async (_, metric, text) => {
    expect((await errorOf(() => report(metric))).message).toContain(text);
  });
});

describe('fit refuses', () => {
  const x = ones([8, 3]);
  it.each<[string, (o: FitOptions) => unknown, string]>([
    ['no options', () => undefined, 'there are no options'],
    [
      'another optimizer',
      (o) => ({ ...o, optimizer: new optim.SGD(new nn.Linear(3, 1).parameters(), { lr: 1 }) }),
      'none of the 2 parameters of the optimizer',
    ],
    ['a loss without reduction', (o) => ({ ...o, loss: new nn.MSELoss({ reduction: 'none' }) }), "reduction 'none'"],
    [
      'a loss that keeps the elements',
      (o) => ({ ...o, loss: { forward: (p: unknown) => p } }),
      'a tensor of shape [8, 1]',
    ],
    ['contradiction', (o) => ({ ...o, lossReduction: 'sum' }), "lossReduction is 'sum'"],
    ['accumulate 0', (o) => ({ ...o, accumulate: 0 }), 'accumulate is 0'],
    ['a norm of 0', (o) => ({ ...o, clipGradNorm: 0 }), 'clipGradNorm is 0'],
    [
      'single tensors',
      (o) => ({ ...o, train: [x] }),
      'batch 0 of epoch 1 is a single tensor of shape [8, 3]; yield [input, target]',
    ],
    ['numbers', (o) => ({ ...o, train: [[1, 2]] }), 'batch 0 of epoch 1 is [1, 2]'],
    ['no target', (o) => ({ ...o, train: [[x]] }), 'batch 0 of epoch 1 is [a Tensor]'],
    ['a signal that is none', (o) => ({ ...o, signal: {} }), 'signal is a Object'],
    ['misspelt resume options', (o) => ({ ...o, checkpoint: 'x', resume: { learningRate: 1 } }), "'learningRate'"],
    ['a callback that is none', (o) => ({ ...o, onBatch: 1 }), 'onBatch is 1'],
    [
      'NaN in the validation data',
      (o) => ({ ...o, validation: [[x, ones([8, 1]).mul(Number.NaN)]] }),
      'the loss is NaN in validation batch 0 of epoch 1',
    ],
    [
      'a used iterator',
      (o) => ({ ...o, epochs: 2, train: [[x, ones([8, 1])]].values() }),
      'the training data yields no batch in epoch 2; ',
    ],
  ])('%s', async (_, change, text) => {
    const { model, options } = setting();
    expect((await errorOf(() => fit(model, change(options) as FitOptions))).message).toContain(text);
  });
  it('nothing where the optimizer owns a part', async () => {
    const { model, options } = setting();
    const last = model.parameters().slice(-2);
    const before = weights(model);
    await fit(model, { ...options, optimizer: new optim.SGD(last, { lr: 0.1 }) });
    expect(weights(model).slice(0, 16)).toEqual(before.slice(0, 16));
    expect(weights(model).slice(16)).not.toEqual(before.slice(16));
  });
});
