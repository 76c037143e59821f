import { expect } from 'vitest';
import { autograd, checkpoint, manualSeed, nn, rand, randn, type Tensor } from '../../src/index.js';
import { expectClose } from '../helpers.js';
import { onGpu } from './device.js';

const both = autograd.customFunction({
  forward(ctx, x: Tensor) {
    const y = x.exp();
    ctx.saveForBackward(y);
    return [y, x.mul(2)];
  },
  backward: (ctx, g, h) => g.mul(ctx.saved[0]).add(h.mul(2)),
});

/** The gradients of the input and of the first weight of a model with random masks. */
async function gradients(device: 'cpu' | 'gpu', wrap: typeof checkpoint): Promise<Float32Array[]> {
  manualSeed(2);
  const sizes = [new nn.Linear(16, 32), new nn.Tanh(), new nn.Linear(32, 16), new nn.Tanh()];
  const model = new nn.Sequential(...sizes).to(device);
  const x = randn([8, 16], { device, requiresGrad: true });
  const block = (t: Tensor) => {
    const [a, b] = both(model.forward(t.mul(rand([8, 16], { device }).gt(0.3))));
    return a.mul(b);
  };
  wrap((t) => wrap(block, wrap(block, t)), x)
    .sum()
    .backward();
  return [await x.grad!.data(), await model.parameters()[0].grad!.data()];
}

onGpu('custom functions in nested checkpoints have the gradients that they have on the CPU without', async () => {
  const plain = await gradients('cpu', (fn, ...inputs) => fn(...inputs));
  const got = await gradients('gpu', checkpoint);
  for (const [i, values] of got.entries()) expectClose(values, plain[i], 1e-3, 1e-4);
  expect(got[0].some((v) => v !== 0)).toBe(true);
});
