import { zeros } from '../create.js';
import { describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { Module, type TensorModule } from '../nn/module.js';
import { keepModes } from './modes.js';

/**
 * Runs a model forward and backward once for each shape of its input, with zeros, so that the first training step or prediction
 * does not wait for the device to compile its kernels. It changes nothing: the model is in evaluation mode meanwhile, and gradients
 * are put back. Kernels are compiled once for all shapes, but those of large and small products differ.
 *
 * @param model a model that maps one tensor to one tensor, on its device
 * @param shapes shapes of inputs, such as [[64, 784]]
 * @returns a promise that resolves when everything has been computed
 * @throws TapegradError for a value that is not a module, and as the model's forward
 * @example
 * ```ts
 * import { nn, warmUp } from 'tapegrad';
 *
 * const model = new nn.Linear(784, 10);
 * await warmUp(model, [[1, 784], [64, 784]]);
 * ```
 */
export async function warmUp(model: TensorModule, shapes: readonly (readonly number[])[]): Promise<void> {
  if (!(model instanceof Module)) fail('warmUp', `the model is ${describe(model)}`, 'pass an nn.Module');
  if (!Array.isArray(shapes) || !shapes.every(Array.isArray))
    fail('warmUp', `the shapes are ${describe(shapes)}`, 'pass a list of shapes, such as [[64, 784]]');
  const parameters = model.parameters();
  const device = parameters[0]?.device;
  const restore = keepModes(model);
  const before = parameters.map((p) => p.grad);
  const computed: Tensor[] = [];
  try {
    model.eval();
    for (const shape of shapes) {
      for (const p of parameters) p.grad = null;
      const output = model.forward(zeros(shape, device === undefined ? {} : { device }));
      if (output.requiresGrad) output.sum().backward();
      computed.push(output, ...parameters.flatMap((p) => p.grad ?? []));
    }
  } finally {
    restore();
    for (const [i, p] of parameters.entries()) p.grad = before[i];
  }
  await Promise.all(computed.map((t) => t.data()));
}
