import { afterEach, describe, expect } from 'vitest';
import { compile, manualSeed, nn, optim, type Tensor, tensor, useDevice } from '../../src/index.js';
import { expectClose, sampleTensor } from '../helpers.js';
import { onGpu } from './device.js';

afterEach(() => useDevice('cpu'));

/** Trains a model with all the light layers, and returns losses and state. */
async function train(device: 'cpu' | 'gpu', compiled: boolean): Promise<{ losses: number[]; state: number[][] }> {
  await useDevice(device);
  manualSeed(3);
  const model = new nn.Sequential(
    new nn.Embedding(6, 4, { paddingIdx: 0 }),
    new nn.LayerNorm(4),
    new nn.Flatten(),
    new nn.BatchNorm1d(8),
    new nn.GELU(),
    new nn.Dropout(0.25),
    new nn.Linear(8, 3),
  );
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
  const criterion = new nn.CrossEntropyLoss({ labelSmoothing: 0.1 });
  const step = (x: Tensor, y: Tensor) => {
    optimizer.zeroGrad();
    const loss = criterion.forward(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  };
  const run = compiled ? compile(step) : step;
  const losses: number[] = [];
  for (let i = 0; i < 5; i++) {
    const ids = sampleTensor([6, 2], [0, 6], i + 1)
      .dataSync()
      .map(Math.floor);
    const x = tensor(ids, { shape: [6, 2] });
    losses.push(await run(x, tensor([0, 1, 2, 0, 1, 2])).item());
  }
  const state = await Promise.all(Object.values(model.stateDict()).map(async (t) => [...(await t.data())]));
  return { losses, state };
}

describe('the light layers', () => {
  onGpu('train on the GPU as on the CPU, compiled or not: masks, running means and counts', async () => {
    const expected = await train('cpu', false);
    for (const compiled of [false, true]) {
      const { losses, state } = await train('gpu', compiled);
      expectClose(losses, expected.losses, 1e-3, 1e-4);
      for (const [i, values] of state.entries()) expectClose(values, expected.state[i], 1e-3, 1e-3);
    }
    expect(expected.losses.length).toBe(5);
  });
});
