import { expect, it, vi } from 'vitest';
import { data, nn, tensor, zerosLike } from '../src/index.js';
import { errorOf } from './helpers.js';

// In a file of its own, without which the mutation runs do: code that runs when a module is loaded would count as covered by
// this one test, for which the loaded code is no longer changed.

const any = (value: unknown) => value as never;

it('another copy of the library is named where one of its tensors turns up', async () => {
  vi.resetModules();
  const other = await import('../src/index.js');
  const foreign = any(other.tensor([1]));
  const x = tensor([1], { requiresGrad: true });
  for (const run of [
    () => x.add(foreign),
    () => x.matmul(foreign),
    () => tensor(foreign),
    () => x.backward(foreign),
    () => nn.init.zeros(foreign),
    () => zerosLike(foreign),
    () => {
      x.grad = foreign;
    },
    () => nn.functional.relu(foreign),
    () => nn.functional.sigmoid(foreign),
    () => nn.functional.tanh(foreign),
    () => nn.functional.softmax(foreign, 0),
    () => nn.functional.logSoftmax(foreign, 0),
    () => new data.TensorDataset(x, foreign),
  ]) {
    expect((await errorOf(run)).message).toContain('made by another copy of tapegrad (npm ls tapegrad');
  }
  expect((await errorOf(() => tensor(any(x)))).message).toContain('values is a Tensor;');
});
