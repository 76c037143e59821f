import { describe, expect, it } from 'vitest';
import { nn, noGrad, tensor } from '../src/index.js';
import { fallbackSteps, sample, withCpu } from './helpers.js';

// A row of a batch has the bits it would have alone: what a server relies on that answers several requests at once.

describe.each(fallbackSteps)('on $name', ({ start }) => {
  const backend = start();
  it.each([
    [1, 3],
    [3, 1],
    [5, 2],
    [17, 9],
    [255, 10],
    [256, 16],
    [257, 33],
    [784, 128],
    [1100, 1],
  ])('a layer from %i to %i features and its activations do not depend on the batch', async (inputs, outputs) => {
    await withCpu(backend, () => {
      const most = 70;
      const values = sample(most * inputs, [-2, 2]);
      const model = new nn.Sequential(
        ...[new nn.Linear(inputs, outputs), new nn.Tanh(), new nn.Linear(outputs, 7), new nn.ReLU()],
        ...[new nn.Linear(7, 3), new nn.Sigmoid()],
      );
      const run = (from: number, to: number) =>
        noGrad(() =>
          model
            .forward(tensor(values.subarray(from * inputs, to * inputs), { shape: [to - from, inputs] }))
            .softmax(1)
            .dataSync(),
        );
      const alone = Float32Array.from(Array.from({ length: most }, (_, i) => [...run(i, i + 1)]).flat());
      for (const rows of [2, 3, 4, 5, 8, 33, most])
        expect(run(0, rows), `${rows} rows`).toEqual(alone.subarray(0, rows * 3));
    });
  });
});
