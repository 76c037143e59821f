import type { ReduceKernel, Storage } from '../backends/backend.js';
import {
  broadcastStrides,
  collapse,
  normalizeDim,
  reducedShape,
  resolveReshape,
  sameShape,
  sizeOf,
  stridesOf,
} from '../shape.js';
import { Tensor } from '../tensor.js';
import { applyGeneral, generalRow } from './record.js';
import type { NamedGeneral } from './row.js';

export interface ShapeMethods {
  /**
   * The same numbers in row-major order under another shape. Shares the storage.
   * @param shape dimensions with the same product; one may be -1 and is worked out
   * @throws TapegradError if the number of elements differs
   */
  reshape(shape: readonly number[]): Tensor;
  /** The same as `reshape`, under PyTorch's other name. @throws TapegradError if the number of elements differs */
  view(shape: readonly number[]): Tensor;
  /**
   * Two dimensions exchanged: [.., a, .., b, ..] becomes [.., b, .., a, ..]. Negative ones count from the end.
   * @throws TapegradError for a dimension that is not there
   */
  transpose(d0: number, d1: number): Tensor;
  /** The transpose of a matrix, [m, n] to [n, m]. @throws TapegradError unless there are two dimensions */
  t(): Tensor;
}

/** Addition over a dimension, as a kernel: what the sum row and the gradients of broadcasting share. */
export const sumFold: Omit<ReduceKernel, 'name'> = {
  init: 0,
  combine: (acc, x) => acc + x,
  gpu: 'acc + x',
  finish: (acc) => acc,
  result: 'value',
};

export const reshape: NamedGeneral<readonly number[]> = /* @__PURE__ */ generalRow('reshape', {
  forward: ([x], shape) => new Tensor(shape, x.storage),
  saves: 'nothing',
  grad: (g, node) => [reshapeTo(g, node.shapes[0])],
  examples: [
    { shapes: [[2, 6]], attributes: [3, 4] },
    { shapes: [[]], attributes: [1, 1] },
  ],
});

export const transpose: NamedGeneral<readonly [number, number]> = /* @__PURE__ */ generalRow('transpose', {
  forward: ([x], [d0, d1]) => {
    const n = x.ndim;
    const order = new Array<number>(n);
    const shape = new Array<number>(n);
    for (let i = 0; i < n; i++) {
      order[i] = i === d0 ? d1 : i === d1 ? d0 : i;
      shape[i] = x.dims[order[i]];
    }
    // Exchanging the last two dimensions only sets a flag: a product reads either order.
    if (d0 !== d1 && Math.min(d0, d1) === shape.length - 2) return new Tensor(shape, x.raw, !x.flipped);
    return new Tensor(shape, permuted(x, order));
  },
  saves: 'nothing',
  grad: (g, _, dims) => [applyGeneral(transpose, [g], dims)],
  examples: [
    { shapes: [[3, 4]], attributes: [0, 1] },
    { shapes: [[2, 3, 4]], attributes: [0, 2] },
    { shapes: [[2, 3, 4]], attributes: [0, 1] },
    { shapes: [[2, 5, 6]], attributes: [1, 2] },
  ],
});

/** Repeats x along new or one-element dimensions, as broadcasting does. */
export const broadcast: NamedGeneral<readonly number[]> = /* @__PURE__ */ generalRow('broadcastTo', {
  forward: ([x], shape) => new Tensor(shape, x.backend.copy(x.storage, shape, broadcastStrides(x.dims, shape))),
  saves: 'nothing',
  grad: (g, node) => [sumTo(g, node.shapes[0])],
  examples: [
    { shapes: [[3, 1]], attributes: [2, 3, 4] },
    { shapes: [[]], attributes: [5] },
    { shapes: [[4]], attributes: [3, 4] },
  ],
});

/** The inverse: sums the dimensions along which a shape was repeated. */
export const sumBack: NamedGeneral<readonly number[]> = /* @__PURE__ */ generalRow('sumTo', {
  forward: ([x], shape) => {
    const last = x.dims[x.ndim - 1];
    if (shape.length === 1 && shape[0] === last) {
      return new Tensor(shape, x.backend.reduce(sumKernel, x.storage, 1, x.size / last, last));
    }
    const strides = broadcastStrides(shape, x.dims);
    // Neighbouring dimensions that are all repeated, or all not, are one dimension here.
    const loops = collapse(x.dims, strides, stridesOf(x.dims));
    let storage = x.storage;
    let { sizes } = loops;
    for (let i = sizes.length - 1; i >= 0; i--) {
      if (loops.a[i] !== 0) continue;
      storage = x.backend.reduce(sumKernel, storage, sizeOf(sizes.slice(0, i)), sizes[i], sizeOf(sizes.slice(i + 1)));
      sizes = reducedShape(sizes, [i], true);
    }
    return new Tensor(shape, storage);
  },
  saves: 'nothing',
  grad: (g, node) => [broadcastTo(g, node.shapes[0])],
  examples: [
    { shapes: [[2, 3, 4]], attributes: [3, 1] },
    { shapes: [[2, 3, 4]], attributes: [4] },
    { shapes: [[2, 3, 4]], attributes: [] },
    { shapes: [[4, 3, 2]], attributes: [4, 1, 2] },
  ],
});

const sumKernel: ReduceKernel = { ...sumFold, name: 'sum' };

export function reshapeTo(x: Tensor, shape: readonly number[]): Tensor {
  return sameShape(x.dims, shape) ? x : applyGeneral(reshape, [x], shape);
}

export function broadcastTo(x: Tensor, shape: readonly number[]): Tensor {
  return sameShape(x.dims, shape) ? x : applyGeneral(broadcast, [x], shape);
}

export function sumTo(x: Tensor, shape: readonly number[]): Tensor {
  return sameShape(x.dims, shape) ? x : applyGeneral(sumBack, [x], shape);
}

/** A copy of x with its dimensions in another order. */
export function permuted(x: Tensor, order: readonly number[]): Storage {
  const strides = stridesOf(x.dims);
  return x.backend.copy(
    x.storage,
    order.map((d) => x.dims[d]),
    order.map((d) => strides[d]),
  );
}

export function applyReshape(op: string, x: Tensor, shape: readonly number[]): Tensor {
  return applyGeneral(reshape, [x], resolveReshape(op, x.dims, shape));
}

export function applyTranspose(op: string, x: Tensor, d0: number, d1: number): Tensor {
  const dims = [normalizeDim(op, d0, x.ndim, x.dims), normalizeDim(op, d1, x.ndim, x.dims)] as const;
  return applyGeneral(transpose, [x], dims);
}
