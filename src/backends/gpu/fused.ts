import { binary, scale } from '../../../kernels/gpu/elementwise.js';
import { crossEntropy, crossEntropyGrad, squaredErrorGrad } from '../../../kernels/gpu/loss.js';
import { reduce } from '../../../kernels/gpu/reduce.js';
import type { Fused } from './launcher.js';
import type { Cell } from './storage.js';
import { updates } from './updates.js';

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
  ...updates,
};

/** The result, when nothing else needs what was computed on the way. */
function releasing(out: Cell, ...cells: Cell[]): Cell {
  for (const cell of cells) cell.release();
  return out;
}
