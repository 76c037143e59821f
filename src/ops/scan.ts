import { normalizeDim } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { dispatch } from './dispatch.js';
import { fusedRow } from './fused.js';
import type { NamedGeneral } from './row.js';
import { narrow, narrowBackward } from './view.js';

/** Running sums. */
export interface ScanMethods {
  /**
   * Running sums along a dimension: element i is the sum of the elements 0 … i. The derivative of element i is 1 for each of
   * them. As torch.cumsum.
   * @param dim the dimension; a negative one counts from the end
   * @returns a tensor of the same shape
   * @throws TapegradError for a dimension that does not exist
   * @example
   * tensor([1, 2, 3]).cumsum(0); // [1, 3, 6]
   */
  cumsum(dim: number): Tensor;
}

/** Over the last dimension of [rows, n]; from the end on if the attribute is 1. */
export const cumsum: NamedGeneral<0 | 1> = /* @__PURE__ */ fusedRow('cumsum', {
  shape: ([x]) => x.dims,
  bounds: ([x]) => x.dims,
  numbers: (reverse) => [reverse],
  steps: ([, n]) => [n, n],
  flops: ([rows, n]) => rows * n,
  cost: ([, n]) => 1.5 * n,
  saves: 'nothing',
  grad: (g, _, reverse) => [dispatch(cumsum, [g], reverse === 0 ? 1 : 0)],
  // Doubling: after k steps an element has the sum of 2^k of them.
  equals: ([x], reverse) => {
    const length = x.dims[1];
    let y = x;
    for (let step = 1; step < length; step *= 2) {
      const [from, to] = reverse === 0 ? [0, step] : [step, 0];
      const part = dispatch(narrow, [y], { dim: 1, start: from, length: length - step });
      y = y.add(dispatch(narrowBackward, [part], { dim: 1, start: to, length }));
    }
    return y === x ? x.mul(1) : y;
  },
});

/** The rows that lie along a dimension, as a matrix, and what puts results of as many rows back. */
export function alongLast(op: string, x: Tensor, dim: number): [rows: Tensor, back: (y: Tensor) => Tensor] {
  const given = x.ndim === 0 ? x.reshape([1]) : x;
  const d = normalizeDim(op, dim, given.ndim, x.dims);
  const turned = given.transpose(d, -1);
  const lead = turned.dims.slice(0, -1);
  const rows = turned.reshape([lead.reduce((a, b) => a * b, 1), turned.dims[lead.length]]);
  const back = (y: Tensor) => (x.ndim === 0 ? y.reshape([]) : y.reshape([...lead, y.dims[1]]).transpose(d, -1));
  return [rows, back];
}

/** The methods. */
export const scan = {
  cumsum(this: Tensor, dim: number) {
    const [rows, back] = alongLast('cumsum', this, dim);
    return back(dispatch(cumsum, [rows], 0));
  },
} satisfies ScanMethods;
