import { binary, scale, ternary } from '../../../kernels/gpu/elementwise.js';
import { crossEntropy, crossEntropyGrad, squaredErrorGrad } from '../../../kernels/gpu/loss.js';
import { uniform } from '../../../kernels/gpu/random.js';
import { reduce } from '../../../kernels/gpu/reduce.js';
import { halves } from '../../random.js';
import type { Fused } from './launcher.js';
import { ordering } from './order.js';
import type { Cell } from './storage.js';
import { updates } from './updates.js';

const choose = ternary('where', 'a === 0 ? c : b');

/** The fused kernels of this backend, by name. */
export const fused: { readonly [name: string]: Fused | undefined } = {
  squaredError: (gpu, { operands: [a, b], numbers: [factor] }) => {
    const difference = binary('squaredError', '(a - b) * (a - b)', 1);
    const squares = gpu.launch(difference, a!.size, [gpu.present(a!), gpu.present(b!), 1, 1]);
    const sum = gpu.stages(reduce('squaredError', 'acc + x', 'sum'), squares, 1, a!.size, 1);
    return releasing(gpu.launch(scale, 1, [sum, factor]), squares, sum);
  },
  squaredErrorGrad: (gpu, { operands, numbers, size }) =>
    gpu.launch(squaredErrorGrad, size, [...operands.map((x) => gpu.present(x!)), ...numbers]),
  crossEntropy: (gpu, { operands: [x, index], bounds: [rows, cols] }) => {
    const [tops, rests] = gpu.rowRests(x!, rows, cols);
    return releasing(
      gpu.launch(crossEntropy, rows, [gpu.present(x!), gpu.present(index!), tops, rests, cols]),
      tops,
      rests,
    );
  },
  crossEntropyGrad: (gpu, { operands, bounds: [rows, cols], numbers }) => {
    const [x, index, g] = operands.map((s) => s!);
    const [tops, rests] = gpu.rowRests(x, rows, cols);
    const args = [gpu.present(x), gpu.present(index), gpu.present(g), tops, rests, cols, ...numbers];
    return releasing(gpu.launch(crossEntropyGrad, x.size, args), tops, rests);
  },
  ...ordering,
  // WebGL 1 has no integers of 32 bits.
  uniform: (gpu, { operands: [position], size, numbers }) => {
    const [keep, value, offset] = numbers.slice(4);
    if (position != null) return gpu.launch(uniform.device, size, [gpu.present(position), offset, keep, value]);
    if (gpu.info().backend === 'headlessgl') return undefined;
    return gpu.launch(uniform.host, size, [Float32Array.from(halves(numbers.slice(0, 4))), 0, keep, value]);
  },
  where: (gpu, { operands, size, bounds: [, ...steps] }) =>
    gpu.launch(choose, size, [...operands.map((x) => gpu.present(x!)), ...steps]),
  ...updates,
};

/** The result, when nothing else needs what was computed on the way. */
function releasing(out: Cell, ...cells: Cell[]): Cell {
  for (const cell of cells) cell.release();
  return out;
}
