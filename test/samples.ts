import type { Device, FusedCall, Storage } from '../src/backends/backend.js';
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

/** A call of the kernel of optim.SGD. */
export function sgdCall(
  operands: readonly (Storage | null)[],
  { lr, momentum = 0 }: { lr: number; momentum?: number },
): FusedCall {
  return {
    name: 'sgd',
    operands,
    size: 0,
    changes: [0, 2],
    bounds: [operands[0]!.size],
    numbers: [lr, momentum, 0, 0, 0, 0],
    steps: [1, 1, 1],
    flops: 0,
    cost: 0.3,
    guard: null,
  };
}
