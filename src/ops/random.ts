import type { Backend, FusedKernel } from '../backends/backend.js';
import { random as library } from '../backends/cpu/generated/random.js';
import { Layout } from '../layout.js';
import { generator } from '../random.js';
import { sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';

// Random numbers that a device computes by itself, from the seed and the position of the stream: the same bits everywhere.

const kernel: FusedKernel = {
  name: 'uniform',
  library,
  changes: [],
  // The first operand stands for the number of counters before those of a thread.
  steps: () => [1, 4],
  flops: ([units]) => 80 * units,
  cost: () => 5,
};

/**
 * Numbers uniform in [0, 1), multiples of 2^-24, that continue the global stream: those that `rand` gives, but computed on
 * the device. With `keep` a mask instead: `value` where the number is below `keep`, else 0.
 * @param backend where the numbers are needed
 * @param shape the shape of the result
 */
export function uniform(backend: Backend, shape: readonly number[], keep = -1, value = 1): Tensor {
  const size = sizeOf(shape);
  const units = Math.ceil(size / 4);
  const { words, recorded } = generator;
  const device = recorded?.position.backend === backend ? recorded : null;
  const state = [...words, keep, value, device === null ? 0 : device.blocks];
  const operands = [device === null ? null : device.position];
  let storage = size === 0 ? backend.fill(0, 0) : backend.fused(kernel, operands, size, [units], state, null);
  if (storage === null) {
    const numbers = generator.uniform(new Float32Array(size));
    const limit = Math.fround(keep);
    storage = backend.upload(keep < 0 ? numbers : numbers.map((u) => (u < limit ? value : 0)));
  } else {
    generator.skip(units);
    if (device !== null) device.blocks += units;
  }
  return new Tensor(Layout.rowMajor(shape), storage);
}
