import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { data, type FitOptions, fit, manualSeed, nn, ones, optim, randn, type Tensor, zeros } from 'tapegrad';
import { toSafetensors } from 'tapegrad/io';
import { describe, expect, it } from 'vitest';
import { errorOf } from './helpers.js';

// What fit keeps beside the model's own weights, and what it says of parameters that it cannot see.

const file = () => join(mkdtempSync(join(tmpdir(), 'tapegrad-resume-')), 'c');
const net = () => new nn.Sequential(new nn.Linear(2, 4), new nn.ReLU(), new nn.Linear(4, 1));

function setting(model: nn.TensorModule, more: Partial<FitOptions> = {}): FitOptions {
  const x = randn([32, 2]);
  const train = new data.DataLoader(new data.TensorDataset(x, x.sum(1, true)), { batchSize: 8 });
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9 });
  return { train, loss: new nn.MSELoss(), optimizer, epochs: 2, progress: false, ...more };
}

/** A loss with a parameter of its own. */
class Weighted extends nn.Module {
  s = new nn.Parameter(zeros([]));
  forward(p: Tensor, y: Tensor): Tensor {
    return p.sub(y).pow(2).mean().mul(this.s.neg().exp()).add(this.s);
  }
}

describe('a resumed run', () => {
  it('has the parameters of the loss, too', async () => {
    const run = async (epochs: number, checkpoint: string) => {
      manualSeed(5);
      const [model, loss] = [net(), new Weighted()];
      const optimizer = new optim.SGD([...model.parameters(), ...loss.parameters()], { lr: 0.05, momentum: 0.9 });
      await fit(model, setting(model, { loss, optimizer, epochs, checkpoint, resume: true }));
      return loss.s.itemSync();
    };
    const [one, two] = [file(), file()];
    const whole = await run(6, one);
    await run(3, two);
    expect(await run(6, two)).toBe(whole);
  });
  it('does not go back to the best of a run that stopped early', async () => {
    const model = net();
    const options = setting(model, { checkpoint: file() });
    const validation = options.train;
    await fit(model, { ...options, validation, epochs: 1, earlyStopping: { patience: 5 } });
    const before = model.parameters()[0].toArraySync();
    await fit(model, { ...options, validation, epochs: 4, resume: true });
    expect(model.parameters()[0].toArraySync()).not.toEqual(before);
  });
  it('reads checkpoints that left out frozen layers', async () => {
    const model = net();
    for (const p of (model.modules[0] as nn.Linear).parameters()) p.requiresGrad = false;
    const checkpoint = file();
    const contents = {
      format: 'tapegrad-checkpoint',
      version: 1,
      epochs: [{ epoch: 1, loss: 1, samples: 32, seconds: 1, samplesPerSecond: 32, validation: null }],
      best: null,
      random: { seed: 1, block: 2 },
      loader: null,
      options: { lr: 0.1, momentum: 0.9, dampening: 0, weightDecay: 0, nesterov: false },
      velocities: [true, true],
    };
    const tensors = {
      'model.2.weight': ones([1, 4]),
      'model.2.bias': ones([1]),
      'velocity.0': ones([1, 4]),
      'velocity.1': zeros([1]),
    };
    writeFileSync(checkpoint, await toSafetensors(tensors, { checkpoint: JSON.stringify(contents) }));
    const options = setting(model, { checkpoint, resume: true, epochs: 1 });
    await fit(model, options);
    expect(model.parameters()[2].toArraySync()).toEqual([[1, 1, 1, 1]]);
    expect(options.optimizer.paramGroups[0].lr).toBe(0.1);
    expect(options.optimizer.stateDict()['velocity.2'].toArraySync()).toEqual([[1, 1, 1, 1]]);
  });
});

describe('a parameter that fit cannot see', () => {
  it('is named where the model uses it', async () => {
    class Private extends nn.Module {
      #hidden = new nn.Linear(2, 2);
      head = new nn.Linear(2, 1);
      forward(x: Tensor) {
        return this.head.forward(this.#hidden.forward(x));
      }
    }
    const model = new Private();
    const error = await errorOf(() => fit(model, setting(model)));
    expect(error.message).toContain('a parameter of shape [2, 2] that is neither in the model nor in the optimizer');
  });
  it('is fine in a loss, in what made the batches, in the optimizer, and when it is frozen', async () => {
    const model = net();
    const [judge, encoder] = [new nn.Linear(1, 1), new nn.Linear(2, 2)];
    const mse = new nn.MSELoss();
    await fit(model, setting(model, { loss: { forward: (p, y) => mse.forward(judge.forward(p), y) } }));
    const { train } = setting(model);
    const encoded = {
      *[Symbol.iterator]() {
        for (const [x, y] of train as Iterable<Tensor[]>) yield [encoder.forward(x), y];
      },
    };
    await fit(model, setting(model, { train: encoded }));
    class Outside extends nn.Module {
      head = new nn.Linear(2, 1);
      forward(x: Tensor) {
        return this.head.forward(encoder.forward(x));
      }
    }
    const outside = new Outside();
    const optimizer = new optim.SGD([...outside.parameters(), ...encoder.parameters()], { lr: 0.01 });
    await fit(outside, setting(outside, { optimizer }));
    for (const p of encoder.parameters()) p.requiresGrad = false;
    await fit(outside, setting(outside));
  });
});

describe('a step that overflows', () => {
  it('is named with the parameter', async () => {
    const model = net();
    const optimizer = new optim.SGD(model.parameters(), { lr: 3e38 });
    const error = await errorOf(() => fit(model, setting(model, { optimizer })));
    expect(error.message).toMatch(/the loss is NaN in batch 1 of epoch 1: the parameter '.*' was already not finite/);
  });
});
