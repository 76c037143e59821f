import { copy } from '../../../kernels/gpu/layout.js';
import { bitonic, inverse, positions, ranks, search } from '../../../kernels/gpu/order.js';
import type { Fused, Launcher } from './fused.js';
import type { Cell } from './storage.js';

/** The longest rows whose elements count those before them. */
const COUNTED = 1024;

/** The first k positions in the order of each row of [rows, n]. */
function order(gpu: Launcher, x: Cell, rows: number, n: number, k: number, descending: boolean): Cell {
  const way = descending ? 'descending' : 'ascending';
  if (n <= COUNTED) {
    const places = gpu.launch(ranks[way], rows * n, [x, n]);
    const out = gpu.launch(inverse, rows * k, [places, n, k]);
    places.release();
    return out;
  }
  const m = 2 ** Math.ceil(Math.log2(n));
  let order = gpu.launch(positions, rows * m, [m]);
  const go = (next: Cell) => {
    order.release();
    order = next;
  };
  for (let size = 2; size <= m; size *= 2) {
    for (let stride = size / 2; stride >= 1; stride /= 2) {
      go(gpu.launch(bitonic[way], rows * m, [x, order, n, m, size, stride]));
    }
  }
  go(gpu.launch(copy(2), rows * k, [order, k, m, 1, 0]));
  return order;
}

/** Sorting, and what belongs to it. */
export const ordering: { readonly [name: string]: Fused } = {
  order: (gpu, { operands: [x], bounds: [rows, n, k], numbers: [descending] }) =>
    order(gpu, gpu.present(x!), rows, n, k, descending > 0),
  search: (gpu, { operands: [x, t], size, bounds: [, n, k] }) =>
    gpu.launch(search, size, [gpu.present(x!), gpu.present(t!), n, k]),
};
