import type { ReduceKernel } from '../backends/backend.js';
import { checkInteger, describe, fail, show } from '../errors.js';
import { Layout, rowMajorCopy } from '../layout.js';
import { temporary } from '../lifetime.js';
import {
  broadcastStrides,
  checkShape,
  collapse,
  normalizeDim,
  reducedShape,
  resolveReshape,
  sameShape,
  sizeOf,
  stridesOf,
} from '../shape.js';
import { Tensor } from '../tensor.js';
import { dispatch, generalRow } from './dispatch.js';
import { dense } from './operand.js';
import type { NamedGeneral } from './row.js';

// Operations that give the same elements another layout. They return views, which share the storage of x, except
// `contiguous`, and `reshape` where the layout does not allow a view.

/** Changes of shape. All but `contiguous` and some cases of `reshape` return views, which share the storage of this tensor. */
export interface ShapeMethods {
  /**
   * The same elements in row-major order under another shape: a view where the layout allows it, else a copy. As
   * torch.reshape.
   * @param shape dimensions with the same product; one may be -1, and is computed from the others
   * @returns a tensor of that shape
   * @throws TapegradError if the number of elements differs
   */
  reshape(shape: readonly number[]): Tensor;
  /**
   * The same as `reshape`, by the name of torch.Tensor.view.
   * @param shape dimensions with the same product; one may be -1, and is computed from the others
   * @returns a tensor of that shape
   * @throws TapegradError if the number of elements differs
   */
  view(shape: readonly number[]): Tensor;
  /**
   * A view with two dimensions exchanged. As torch.transpose.
   * @param d0 a dimension; a negative one counts from the end
   * @param d1 another dimension
   * @returns [.., b, .., a, ..] for a tensor of shape [.., a, .., b, ..]
   * @throws TapegradError for a dimension that does not exist
   */
  transpose(d0: number, d1: number): Tensor;
  /**
   * The transpose of a matrix, as a view. As torch.t.
   * @returns [n, m] for a matrix [m, n]
   * @throws TapegradError for a tensor that does not have two dimensions
   */
  t(): Tensor;
  /**
   * A view with the dimensions in another order. As torch.permute.
   * @param dims every dimension once; negative ones count from the end
   * @returns a tensor whose dimension i is dimension dims[i] of this one
   * @throws TapegradError if a dimension is missing or given twice
   */
  permute(dims: readonly number[]): Tensor;
  /**
   * A view of a range of one dimension. As torch.narrow.
   * @param dim the dimension; a negative one counts from the end
   * @param start the first index; a negative one counts from the end
   * @param length the number of indices
   * @returns a tensor with `length` in the place of dimension `dim`
   * @throws TapegradError for a dimension that does not exist, and a range that exceeds it
   */
  narrow(dim: number, start: number, length: number): Tensor;
  /**
   * A view of one index of a dimension. As torch.select.
   * @param dim the dimension; a negative one counts from the end
   * @param index the index; a negative one counts from the end
   * @returns a tensor without the dimension `dim`
   * @throws TapegradError for a dimension or an index that does not exist
   */
  select(dim: number, index: number): Tensor;
  /**
   * A view that repeats dimensions of one element and adds leading ones, as broadcasting does. As torch.Tensor.expand.
   * @param shape the new dimensions; -1 keeps one as it is
   * @returns a tensor of that shape; its gradient is summed over the repeated dimensions
   * @throws TapegradError for a shape that this one does not broadcast to
   */
  expand(shape: readonly number[]): Tensor;
  /**
   * A view without dimensions of one element. As torch.squeeze.
   * @param dim a dimension or several, which are removed if they have one element. Default: all
   * @returns a tensor without these dimensions
   * @throws TapegradError for a dimension that does not exist or is given twice
   */
  squeeze(dim?: number | readonly number[]): Tensor;
  /**
   * A view with a new dimension of one element. As torch.unsqueeze.
   * @param dim the position of the new dimension; -1 is the end
   * @returns a tensor with 1 at position `dim`
   * @throws TapegradError for a position out of range
   */
  unsqueeze(dim: number): Tensor;
  /**
   * The same elements with a dense, row-major layout. As torch.Tensor.contiguous.
   * @returns this tensor if its layout is row-major, else a copy of the same shape
   */
  contiguous(): Tensor;
}

function viewOf(x: Tensor, shape: readonly number[], strides: readonly number[], offset = x.layout.offset): Tensor {
  return new Tensor(Layout.strided(shape, strides, offset, x.storage.size), x.storage);
}

export const reshape: NamedGeneral<readonly number[]> = /* @__PURE__ */ generalRow('reshape', {
  forward: ([x], shape) => {
    if (x.layout.dense) return new Tensor(Layout.rowMajor(shape), x.storage);
    const strides = x.layout.reshaped(shape);
    if (strides !== null) return viewOf(x, shape, strides);
    return new Tensor(Layout.rowMajor(shape), rowMajorCopy(x.storage, x.layout));
  },
  saves: 'nothing',
  grad: (g, node) => [reshapeTo(g, node.shapes[0])],
});

/** Dimension i of the result is dimension order[i] of x. */
export const permute: NamedGeneral<readonly number[]> = /* @__PURE__ */ generalRow('permute', {
  forward: ([x], order) => {
    const n = order.length;
    const { strides } = x.layout;
    const shape = new Array<number>(n);
    const own = new Array<number>(n);
    for (let i = 0; i < n; i++) {
      shape[i] = x.dims[order[i]];
      own[i] = strides[order[i]];
    }
    return viewOf(x, shape, own);
  },
  saves: 'nothing',
  grad: (g, _, order) => {
    const inverse = new Array<number>(order.length);
    for (let i = 0; i < order.length; i++) inverse[order[i]] = i;
    return [dispatch(permute, [g], inverse)];
  },
});

/** A range of one dimension. */
export interface Range {
  readonly dim: number;
  readonly start: number;
  readonly length: number;
  /** The distance of its indices, default 1. */
  readonly step?: number;
}

const scaled = (strides: readonly number[], { dim, step = 1 }: Range) =>
  strides.map((s, i) => (i === dim ? s * step : s));

export const narrow: NamedGeneral<Range> = /* @__PURE__ */ generalRow('narrow', {
  forward: ([x], range) => {
    const { dim, start, length } = range;
    const { strides, offset } = x.layout;
    const shape = x.dims.map((d, i) => (i === dim ? length : d));
    return viewOf(x, shape, scaled(strides, range), offset + start * strides[dim]);
  },
  saves: 'nothing',
  grad: (g, node, range) => [dispatch(narrowBackward, [g], { ...range, length: node.shapes[0][range.dim] })],
});

/** Zeros with g at `start` of a dimension of `length` elements: the gradient of narrow. */
export const narrowBackward: NamedGeneral<Range> = /* @__PURE__ */ generalRow('narrowBackward', {
  forward: ([g], range) => {
    const { dim, start, length } = range;
    const shape = g.dims.map((d, i) => (i === dim ? length : d));
    const strides = stridesOf(shape);
    const out = g.backend.fill(sizeOf(shape), 0);
    if (g.size > 0) g.backend.put(out, dense(g), g.dims, scaled(strides, range), start * strides[dim]);
    return new Tensor(Layout.rowMajor(shape), out);
  },
  saves: 'nothing',
  grad: (gg, node, range) => [dispatch(narrow, [gg], { ...range, length: node.shapes[0][range.dim] })],
});

/** Repeats x along new or one-element dimensions, as broadcasting does. */
export const expand: NamedGeneral<readonly number[]> = /* @__PURE__ */ generalRow('expand', {
  forward: ([x], shape) => viewOf(x, shape, broadcastStrides(x.dims, shape, x.layout.strides)),
  saves: 'nothing',
  grad: (g, node) => [sumTo(g, node.shapes[0])],
});

/** Addition over a dimension, as a kernel: for the sum row and for the gradients of broadcasting. */
export const addition: Omit<ReduceKernel, 'name'> = {
  init: 0,
  combine: (acc, x) => acc + x,
  gpu: 'acc + x',
  finish: (acc) => acc,
  result: 'value',
};

const sumKernel: ReduceKernel = { ...addition, name: 'sum' };

/** The inverse of broadcasting: sums the dimensions along which a shape was repeated. */
export const unbroadcast: NamedGeneral<readonly number[]> = /* @__PURE__ */ generalRow('unbroadcast', {
  forward: ([x], shape) => {
    const layout = Layout.rowMajor(shape);
    if (x.size === 0) return new Tensor(layout, x.backend.fill(sizeOf(shape), 0));
    const last = x.dims[x.ndim - 1];
    if (shape.length === 1 && shape[0] === last) {
      return new Tensor(layout, x.backend.reduce(sumKernel, dense(x), 1, x.size / last, last));
    }
    // Adjacent dimensions that are all repeated, or all not repeated, are merged.
    const loops = collapse(x.dims, broadcastStrides(shape, x.dims), stridesOf(x.dims));
    let { sizes } = loops;
    const repeated = sizes.flatMap((_, i) => (loops.a[i] === 0 ? [i] : [])).reverse();
    // Only dimensions of one element go away.
    if (repeated.length === 0)
      return new Tensor(layout, x.layout.dense ? x.storage : rowMajorCopy(x.storage, x.layout));
    let storage = dense(x);
    repeated.forEach((i, n) => {
      const [outer, inner] = [sizeOf(sizes.slice(0, i)), sizeOf(sizes.slice(i + 1))];
      storage = x.backend.reduce(sumKernel, storage, outer, sizes[i], inner);
      if (n < repeated.length - 1) temporary(storage);
      sizes = reducedShape(sizes, [i], true);
    });
    return new Tensor(layout, storage);
  },
  saves: 'nothing',
  grad: (g, node) => [broadcastTo(g, node.shapes[0])],
});

export const contiguous: NamedGeneral<null> = /* @__PURE__ */ generalRow('contiguous', {
  forward: ([x]) => new Tensor(Layout.rowMajor(x.dims), rowMajorCopy(x.storage, x.layout)),
  saves: 'nothing',
  grad: (g) => [g],
});

export function reshapeTo(x: Tensor, shape: readonly number[]): Tensor {
  return sameShape(x.dims, shape) ? x : dispatch(reshape, [x], shape);
}

export function broadcastTo(x: Tensor, shape: readonly number[]): Tensor {
  return sameShape(x.dims, shape) ? x : dispatch(expand, [x], shape);
}

export function sumTo(x: Tensor, shape: readonly number[]): Tensor {
  return sameShape(x.dims, shape) ? x : dispatch(unbroadcast, [x], shape);
}

export function applyReshape(op: string, x: Tensor, shape: readonly number[]): Tensor {
  return dispatch(reshape, [x], resolveReshape(op, x.dims, shape));
}

export function applyTranspose(op: string, x: Tensor, d0: number, d1: number): Tensor {
  const a = normalizeDim(op, d0, x.ndim, x.dims);
  const b = normalizeDim(op, d1, x.ndim, x.dims);
  const order = x.dims.map((_, i) => (i === a ? b : i === b ? a : i));
  return dispatch(permute, [x], order);
}

export function applyPermute(x: Tensor, dims: readonly number[]): Tensor {
  if (!Array.isArray(dims)) fail('permute', `dims is ${describe(dims)}`, 'pass one array, as in permute([1, 0])');
  const order = dims.map((d) => normalizeDim('permute', d, x.ndim, x.dims));
  if (order.length !== x.ndim || new Set(order).size !== x.ndim) {
    const remedy = `name each of the ${x.ndim} dimensions once`;
    fail('permute', `dims is ${show(dims)} for a tensor of shape ${show(x.dims)}`, remedy, { shapes: [x.dims] });
  }
  return dispatch(permute, [x], order);
}

export function applyNarrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  const d = normalizeDim('narrow', dim, x.ndim, x.dims);
  const size = x.dims[d];
  checkInteger('narrow', 'length', length, 0);
  const from = checkInteger('narrow', 'start', start, -Infinity) < 0 ? start + size : start;
  if (from < 0 || length < 0 || from + length > size) {
    const what = `start ${start} and length ${length} for dimension ${d} of shape ${show(x.dims)}`;
    fail('narrow', what, `choose a range within its ${size} elements`, { shapes: [x.dims] });
  }
  return dispatch(narrow, [x], { dim: d, start: from, length });
}

/** One index of dimension d, negative ones counted from the end, as 0 … n - 1. */
export function indexIn(op: string, x: Tensor, d: number, index: unknown): number {
  const size = x.dims[d];
  const given = checkInteger(op, 'index', index, -Infinity);
  const at = given < 0 ? given + size : given;
  if (at < 0 || at >= size) {
    const what = `index ${given} for dimension ${d} of shape ${show(x.dims)}`;
    fail(op, what, size === 0 ? 'it has no elements' : `pass an integer from ${-size} to ${size - 1}`, {
      shapes: [x.dims],
    });
  }
  return at;
}

export function applySelect(x: Tensor, dim: number, index: number): Tensor {
  const d = normalizeDim('select', dim, x.ndim, x.dims);
  const one = dispatch(narrow, [x], { dim: d, start: indexIn('select', x, d, index), length: 1 });
  return dispatch(reshape, [one], reducedShape(x.dims, [d], false));
}

export function applyExpand(x: Tensor, shape: readonly number[]): Tensor {
  if (!Array.isArray(shape)) fail('expand', `shape is ${describe(shape)}`, 'pass one array, as in expand([2, 3])');
  const lead = shape.length - x.ndim;
  const target = checkShape(
    'expand',
    shape.map((d, i) => (d === -1 && i >= lead ? x.dims[i - lead] : d)),
  );
  if (lead < 0 || x.dims.some((d, i) => d !== 1 && d !== target[i + lead])) {
    const remedy = 'only dimensions of one element, and new leading ones, can repeat';
    fail('expand', `shape ${show(x.dims)} does not expand to ${show(shape)}`, remedy, { shapes: [x.dims] });
  }
  return dispatch(expand, [x], target);
}

export function applySqueeze(x: Tensor, dim: number | readonly number[] | undefined): Tensor {
  const given = dim === undefined ? x.dims.map((_, i) => i) : typeof dim === 'number' ? [dim] : dim;
  if (!Array.isArray(given))
    fail('squeeze', `dim is ${describe(dim)}`, 'pass a dimension, several in an array, or none');
  const dims = given.map((d) => normalizeDim('squeeze', d, x.ndim, x.dims));
  if (new Set(dims).size < dims.length)
    fail('squeeze', `dim ${describe(dim)} names a dimension twice`, 'name each dimension once');
  const shape = x.dims.filter((d, i) => d !== 1 || !dims.includes(i));
  return dispatch(reshape, [x], shape);
}

export function applyUnsqueeze(x: Tensor, dim: number): Tensor {
  const d = normalizeDim('unsqueeze', dim, x.ndim + 1, x.dims);
  return dispatch(reshape, [x], [...x.dims.slice(0, d), 1, ...x.dims.slice(d)]);
}

export function applyContiguous(x: Tensor): Tensor {
  return x.layout.contiguous ? x : dispatch(contiguous, [x], null);
}
