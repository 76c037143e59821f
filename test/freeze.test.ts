import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nn, ones, optim } from '../src/index.js';
import { loadModel, saveModel } from '../src/io/index.js';
import { errorOf } from './helpers.js';

const any = (value: unknown) => value as never;

describe('setRequiresGrad', () => {
  it('freezes a module and what is inside, and lets it be trained again', async () => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU(), new nn.Sequential(new nn.Linear(3, 1)));
    const names = Object.keys(model.stateDict());
    expect(model.setRequiresGrad(false)).toBe(model);
    expect(model.parameters().map((p) => p.requiresGrad)).toEqual([false, false, false, false]);
    expect(Object.keys(model.stateDict())).toEqual(names);
    const head = model.modules[2].setRequiresGrad(true);
    model.forward(ones([1, 2])).backward();
    expect(model.parameters().map((p) => p.grad !== null)).toEqual([false, false, true, true]);
    expect(head.parameters().every((p) => p.requiresGrad)).toBe(true);
    expect(
      model
        .setRequiresGrad()
        .parameters()
        .every((p) => p.requiresGrad),
    ).toBe(true);
    expect((await errorOf(() => model.setRequiresGrad(any(1)))).message).toContain('[setRequiresGrad] the value is 1');
  });
  it('keeps what is frozen as it is in training, and frozen in files', async () => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.Tanh(), new nn.Linear(3, 1));
    model.modules[0].setRequiresGrad(false);
    const before = model.parameters().map((p) => [...p.dataSync()]);
    model
      .forward(ones([4, 2]))
      .sum()
      .backward();
    new optim.SGD(model.parameters(), { lr: 0.1 }).step();
    const same = model.parameters().map((p, i) => before[i].every((v, j) => v === p.dataSync()[j]));
    expect(same).toEqual([true, true, false, false]);
    const path = join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'model.safetensors');
    await saveModel(model, path);
    const loaded = await loadModel(path);
    expect(loaded.parameters().map((p) => p.requiresGrad)).toEqual([false, false, true, true]);
    expect(loaded.parameters().map((p) => [...p.dataSync()])).toEqual(model.parameters().map((p) => [...p.dataSync()]));
  });
});
