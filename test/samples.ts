import type { Backend, Device, Storage } from '../src/backends/backend.js';
import { type Tensor, tensor } from '../src/index.js';
import { Generator } from '../src/random.js';
import { sizeOf } from '../src/shape.js';

/** `n` numbers uniform in the domain, from a fixed seed. */
export function sample(n: number, [low, high]: readonly [number, number], seed = 1): Float32Array {
  return new Generator(seed).uniform(new Float32Array(n)).map((v) => low + v * (high - low));
}

export function sampleTensor(
  shape: readonly number[],
  domain: readonly [number, number],
  seed = 1,
  device: Device = 'cpu',
  requiresGrad = false,
): Tensor {
  return tensor(sample(sizeOf(shape), domain, seed), { shape, device, requiresGrad });
}

/** Runs the kernel of optim.SGD on [parameter, gradient, velocity]. */
export function runSgd(
  backend: Backend,
  operands: readonly (Storage | null)[],
  { lr, momentum = 0 }: { lr: number; momentum?: number },
): void {
  const kernel = { name: 'sgd', changes: [0, 2], steps: () => [1, 1, 1], flops: () => 0, cost: () => 0.3 };
  backend.fused(kernel, operands, 0, [operands[0]!.size], [lr, momentum, 0, 0, 0, 0], null);
}
