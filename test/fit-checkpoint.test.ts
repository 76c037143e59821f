import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type FitOptions, fit, manualSeed, nn, ones, optim, randn, type Tensor, tensor, zeros } from '../src/index.js';
import { fromSafetensors, toSafetensors } from '../src/io/index.js';
import { fromJson, toJson } from '../src/train/json.js';
import { errorOf } from './helpers.js';

// Early stopping, and what a checkpoint restores and refuses.

const file = () => join(mkdtempSync(join(tmpdir(), 'tapegrad-checkpoint-')), 'c');
const read = (path: string) => fromSafetensors(readFileSync(path));
const contents = (path: string) => fromJson(read(path).metadata.checkpoint) as Record<string, never>;
const net = () => new nn.Sequential(new nn.Linear(2, 3), new nn.Tanh(), new nn.Linear(3, 1));
const weights = (model: nn.Module) => model.parameters().flatMap((p) => [...p.dataSync()]);

/** Training whose validation loss in epoch n is `losses[n - 1]`, and whose weights change in each epoch. */
function setting(losses: readonly number[] = [], model: nn.TensorModule = net()) {
  manualSeed(8);
  const x = randn([4, 2]);
  const mse = new nn.MSELoss();
  const options: FitOptions = {
    train: [[x, x.sum(1, true)]],
    loss: { forward: (p, y) => (model.training ? mse.forward(p, y) : tensor(losses[epoch - 1])) },
    optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }),
    validation: [[x, x.sum(1, true)]],
    epochs: losses.length || 1,
    progress: false,
  };
  let epoch = 1;
  /** The weights after each epoch. */
  const after: number[][] = [];
  const onEpoch: FitOptions['onEpoch'] = (report) => {
    epoch = report.epoch + 1;
    after.push(weights(model));
  };
  return { model, options: { ...options, onEpoch }, after, from: (n: number) => (epoch = n) };
}

describe('early stopping', () => {
  const run = async (losses: number[], earlyStopping: FitOptions['earlyStopping'], more: Partial<FitOptions> = {}) => {
    const { model, options, after } = setting(losses);
    const { epochs, stopped } = await fit(model, { ...options, earlyStopping, ...more });
    return { count: epochs.length, stopped, best: after.findIndex((w) => `${w}` === `${weights(model)}`) + 1 };
  };
  it('ends after exactly as many epochs without a decrease as its patience', async () => {
    expect(await run([3, 2, 4, 4, 4, 1], { patience: 3 })).toEqual({ count: 5, stopped: 'earlyStopping', best: 2 });
    expect(await run([3, 2, 4, 4, 1, 4], { patience: 3 })).toEqual({ count: 6, stopped: 'epochs', best: 5 });
  });
  it('takes an equal loss for no decrease', async () => {
    expect(await run([2, 2, 2, 2], { patience: 2 })).toEqual({ count: 3, stopped: 'earlyStopping', best: 1 });
  });
  it('takes a decrease up to minDelta for none', async () => {
    const losses = [4, 3.5, 3, 2.5, 2];
    expect(await run(losses, { patience: 1, minDelta: 0.25 })).toEqual({ count: 5, stopped: 'epochs', best: 5 });
    expect(await run(losses, { patience: 1, minDelta: 0.5 })).toEqual({ count: 2, stopped: 'earlyStopping', best: 1 });
    expect(await run(losses, { patience: 2, minDelta: 0.75 })).toEqual({ count: 5, stopped: 'epochs', best: 5 });
  });
  it('is not the reason where the last epoch is also ended by onEpoch', async () => {
    const onEpoch: FitOptions['onEpoch'] = ({ epoch }) => epoch < 3;
    const { stopped, count } = await run([1, 1, 1, 1], { patience: 2 }, { onEpoch });
    expect({ stopped, count }).toEqual({ stopped: 'onEpoch', count: 3 });
  });
  it('takes the parameters of a loss back to the best epoch, too', async () => {
    const { model, options } = setting([1, 2, 3]);
    const s = new nn.Parameter(ones([]));
    const seen: number[] = [];
    const { forward } = options.loss;
    await fit(model, {
      ...options,
      loss: { forward: (p, y) => forward(p, y).add(s.mul(s)) },
      optimizer: new optim.SGD([...model.parameters(), s], { lr: 0.1 }),
      earlyStopping: { patience: 5 },
      onEpoch: (report) => {
        seen.push(s.itemSync());
        return options.onEpoch(report);
      },
    });
    expect(new Set(seen).size).toBe(3);
    expect(s.itemSync()).toBe(seen[0]);
  });
  it('ends only where onEpoch returns false', async () => {
    const { model, options } = setting([1, 1, 1]);
    const history = await fit(model, { ...options, onEpoch: ({ epoch }) => epoch < 2 });
    expect([history.epochs.length, history.stopped]).toEqual([2, 'onEpoch']);
    expect((await fit(model, { ...options, onEpoch: () => 0 })).epochs).toHaveLength(3);
  });
});

describe('a resumed run with early stopping', () => {
  it('goes back to the best parameters of before, if no later epoch is better', async () => {
    const checkpoint = file();
    const one = setting([1, 2]);
    await fit(one.model, { ...one.options, earlyStopping: { patience: 9 }, checkpoint });
    const two = setting([1, 2, 3]);
    two.from(3);
    const rest = { ...two.options, earlyStopping: { patience: 9 }, checkpoint, resume: true };
    const { epochs } = await fit(two.model, rest);
    expect(epochs.map(({ validation }) => validation!.loss)).toEqual([1, 2, 3]);
    expect(weights(two.model)).toEqual(one.after[0]);
    expect(contents(checkpoint).best).toEqual({ loss: 1, epoch: 1 });
    // Nothing is left to train: the same parameters.
    const three = setting([1, 2, 3]);
    await fit(three.model, { ...three.options, earlyStopping: { patience: 1 }, checkpoint, resume: true });
    expect(weights(three.model)).toEqual(one.after[0]);
  });
  it('has no best parameters from a run without it', async () => {
    const checkpoint = file();
    const one = setting([1]);
    await fit(one.model, { ...one.options, checkpoint });
    const two = setting([1]);
    const { stopped } = await fit(two.model, {
      ...two.options,
      earlyStopping: { patience: 1 },
      checkpoint,
      resume: true,
    });
    expect(stopped).toBe('epochs');
    expect(weights(two.model)).toEqual(one.after[0]);
  });
});

describe('a checkpoint', () => {
  const resumed = (path: string, model: nn.TensorModule = net(), more: Partial<FitOptions> = {}) =>
    fit(model, { ...setting([], model).options, validation: undefined, checkpoint: path, resume: true, ...more });

  it('has no second copy of the parameters of the model', async () => {
    const { model, options } = setting([1]);
    const checkpoint = file();
    await fit(model, { ...options, checkpoint });
    const keys = Object.keys(read(checkpoint).tensors).filter((key) => !key.startsWith('optimizer.'));
    expect(keys).toEqual(model.namedParameters().map(([name]) => `model.${name}`));
  });
  it('keeps the learning rate where resume does not give one', async () => {
    const { model, options } = setting([1, 1]);
    const checkpoint = file();
    await fit(model, { ...options, checkpoint, epochs: 1 });
    options.optimizer.paramGroups[0].lr = 7;
    await fit(model, { ...options, checkpoint, resume: {} });
    expect(options.optimizer.paramGroups[0].lr).toBe(0.1);
  });
  it.each<[string, string | undefined]>([
    ['no metadata', undefined],
    ['another text', 'x'],
    ['another format', toJson({ format: 'other', version: 2 })],
    ['a later version', toJson({ format: 'tapegrad-checkpoint', version: 3 })],
  ])('is refused with %s', async (_, checkpoint) => {
    const path = file();
    writeFileSync(path, await toSafetensors({ a: ones([1]) }, checkpoint === undefined ? {} : { checkpoint }));
    const { message } = await errorOf(() => resumed(path));
    expect(message).toContain(`${path} is not a checkpoint that this version can read; remove it`);
  });
  it('of another optimizer changes nothing', async () => {
    const { model, options } = setting([1]);
    const checkpoint = file();
    await fit(model, { ...options, checkpoint });
    const other = net();
    const before = weights(other);
    const optimizer = new optim.SGD(other.parameters().slice(0, 2), { lr: 1 });
    expect((await errorOf(() => resumed(checkpoint, other, { optimizer }))).message).toContain('groups of');
    expect(weights(other)).toEqual(before);
    expect(optimizer.paramGroups[0].lr).toBe(1);
  });
  it('of a larger model is refused', async () => {
    const large = net().modules;
    const model = new nn.Sequential(...large, new nn.Linear(1, 1));
    const checkpoint = file();
    const { options } = setting([1], model);
    await fit(model, { ...options, checkpoint });
    expect((await errorOf(() => resumed(checkpoint))).message).toContain('unexpected keys: 3.weight, 3.bias');
  });
  it('without the parameters of the loss is refused', async () => {
    const { model, options } = setting([1]);
    const checkpoint = file();
    await fit(model, { ...options, checkpoint });
    const own = net();
    const optimizer = new optim.SGD([...own.parameters(), new nn.Parameter(zeros([]))], { lr: 1 });
    expect((await errorOf(() => resumed(checkpoint, own, { optimizer }))).message).toContain('missing keys: tensors.0');
  });
});

describe('a checkpoint of version 1', () => {
  const parts = {
    'model.0.weight': ones([3, 2]),
    'model.0.bias': ones([3]),
    'model.2.weight': ones([1, 3]),
    'model.2.bias': ones([1]),
  };
  const write = async (path: string, tensors: Record<string, Tensor>, more: object = {}) => {
    const state = {
      format: 'tapegrad-checkpoint',
      version: 1,
      epochs: [{ epoch: 1, loss: 1, samples: 4, seconds: 1, samplesPerSecond: 4, validation: { loss: 5 } }],
      best: null,
      random: { seed: 1, block: 2 },
      loader: null,
      options: { lr: 0.5, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false },
      velocities: [false, false, false, false],
      ...more,
    };
    writeFileSync(path, await toSafetensors(tensors, { checkpoint: JSON.stringify(state) }));
  };
  it('may lack the parameters of a loss, but not trained ones of the model', async () => {
    const path = file();
    await write(path, parts, { velocities: [false, false, false, false, false] });
    const { model, options } = setting([1]);
    const s = new nn.Parameter(ones([]).mul(3));
    const optimizer = new optim.SGD([...model.parameters(), s], { lr: 0.1 });
    await fit(model, { ...options, optimizer, checkpoint: path, resume: true });
    expect(weights(model).every((w) => w === 1)).toBe(true);
    expect([s.itemSync(), optimizer.paramGroups[0].lr]).toEqual([3, 0.5]);
    const { 'model.2.bias': _, ...less } = parts;
    await write(path, less);
    const other = setting([1]);
    const error = await errorOf(() => fit(other.model, { ...other.options, checkpoint: path, resume: true }));
    expect(error.message).toContain('missing keys: 2.bias');
  });
  it('has the best parameters without the frozen ones', async () => {
    const path = file();
    const best = { 'best.2.weight': ones([1, 3]).mul(2), 'best.2.bias': ones([1]).mul(2) };
    const { 'model.0.weight': _, 'model.0.bias': __, ...trained } = parts;
    await write(path, { ...trained, ...best }, { best: { loss: 0.5, epoch: 1 }, velocities: [false, false] });
    const { model, options } = setting([1]);
    (model as ReturnType<typeof net>).modules[0].setRequiresGrad(false);
    const before = weights(model).slice(0, 9);
    await fit(model, { ...options, earlyStopping: { patience: 1 }, checkpoint: path, resume: true });
    expect(weights(model)).toEqual([...before, 2, 2, 2, 2]);
  });
  it('may hold velocities of the frozen parameters, too', async () => {
    const path = file();
    const velocities = { 'velocity.2': ones([1, 3]).mul(7) };
    await write(
      path,
      { ...parts, ...velocities },
      {
        options: { lr: 0.5, momentum: 0.9, dampening: 0, weightDecay: 0, nesterov: false },
        velocities: [false, false, true, false],
      },
    );
    const { model, options } = setting([1]);
    (model as ReturnType<typeof net>).modules[0].setRequiresGrad(false);
    await fit(model, { ...options, checkpoint: path, resume: true });
    expect(options.optimizer.stateDict()['velocity.2'].toArraySync()).toEqual([[7, 7, 7]]);
  });
});

describe('the text of a checkpoint', () => {
  it('keeps objects that only resemble a number that is not finite', () => {
    for (const value of [{}, { a: {} }, { nonFinite: 'NaN', more: 1 }, { nonFinite: 1 }, { nonFinite: null }])
      expect(fromJson(JSON.stringify(value))).toEqual(value);
  });
});
