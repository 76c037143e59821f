import { checkInteger, describe, fail, show } from './errors.js';

/** The largest number of elements a tensor may have. */
export const MAX_SIZE = 2 ** 31 - 1;

/** The shape of a scalar. */
export const SCALAR: readonly number[] = [];

/** The number of elements of a shape; 1 for a scalar's []. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (let i = 0; i < shape.length; i++) size *= shape[i];
  return size;
}

/** Requires an array of integers of at least 0 whose product is at most MAX_SIZE, and returns a copy. */
export function checkShape(op: string, shape: unknown): readonly number[] {
  if (!Array.isArray(shape)) {
    fail(op, `shape is ${describe(shape)}`, `pass one array of integers, as in ${op}([2, 3])`);
  }
  for (const dim of shape) {
    if (typeof dim !== 'number' || !Number.isInteger(dim) || dim < 0) {
      fail(
        op,
        `shape ${describe(shape)} has the dimension ${describe(dim)}`,
        'every dimension is an integer of at least 0',
      );
    }
  }
  if (sizeOf(shape) > MAX_SIZE) {
    fail(op, `shape ${show(shape)} has ${sizeOf(shape)} elements`, `a tensor has at most ${MAX_SIZE}`);
  }
  return shape.slice();
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The broadcast shape of two operands, by NumPy's rule: aligned at the right, dimensions must be equal or 1. */
export function broadcastShapes(op: string, a: readonly number[], b: readonly number[]): readonly number[] {
  if (sameShape(a, b)) return a;
  const ndim = Math.max(a.length, b.length);
  const out = new Array<number>(ndim);
  for (let i = 1; i <= ndim; i++) {
    const da = i <= a.length ? a[a.length - i] : 1;
    const db = i <= b.length ? b[b.length - i] : 1;
    if (da !== db && da !== 1 && db !== 1) {
      fail(
        op,
        `shapes ${show(a)} and ${show(b)} cannot be broadcast together: dimension -${i} is ${da} and ${db}`,
        'aligned at the right, dimensions must be equal or 1; reshape or transpose one operand',
        { shapes: [a, b] },
      );
    }
    out[ndim - i] = da === 1 ? db : da;
  }
  return out;
}

/** One dimension, negative ones counted from the end, as 0 … ndim - 1. */
export function normalizeDim(op: string, dim: unknown, ndim: number, shape: readonly number[]): number {
  if (typeof dim !== 'number' || !Number.isInteger(dim) || dim < -ndim || dim >= ndim) {
    fail(
      op,
      `dim is ${describe(dim)} for a tensor of shape ${show(shape)}`,
      ndim === 0 ? 'a scalar has no dimensions' : `pass an integer from ${-ndim} to ${ndim - 1}`,
      { shapes: [shape] },
    );
  }
  return dim < 0 ? dim + ndim : dim;
}

/** Whether a dimension is that of a scalar, which in reductions counts as one element along a dimension, as in PyTorch. */
export function isScalarDim(dim: unknown, ndim: number): boolean {
  return ndim === 0 && (dim === 0 || dim === -1);
}

/** The dimensions to reduce, sorted; all of them for undefined. */
export function normalizeDims(
  op: string,
  dim: number | readonly number[] | undefined,
  shape: readonly number[],
): number[] {
  if (dim === undefined || isScalarDim(dim, shape.length)) return Array.from({ length: shape.length }, (_, i) => i);
  if (typeof dim === 'number') return [normalizeDim(op, dim, shape.length, shape)];
  const dims = (Array.isArray(dim) ? dim : [dim]).map((d) => normalizeDim(op, d, shape.length, shape));
  if (dims.length === 0) fail(op, 'dim is an empty array', 'name at least one dimension, or none to reduce all');
  dims.sort((a, b) => a - b);
  for (let i = 1; i < dims.length; i++) {
    if (dims[i] === dims[i - 1])
      fail(op, `dim ${describe(dim)} names dimension ${dims[i]} twice`, 'name each dimension once');
  }
  return dims;
}

/** The shape after reducing `dims` (sorted). */
export function reducedShape(shape: readonly number[], dims: readonly number[], keepdim: boolean): readonly number[] {
  if (!keepdim && dims.length === shape.length) return SCALAR;
  const out: number[] = [];
  for (let i = 0, next = 0; i < shape.length; i++) {
    if (dims[next] !== i) {
      out.push(shape[i]);
    } else {
      next++;
      if (keepdim) out.push(1);
    }
  }
  return out;
}

/** Row-major strides in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  for (let i = shape.length - 1, step = 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

/** Strides with which a tensor of `shape` is broadcast to the shape `target`: 0 where it repeats. `own` are its own strides. */
export function broadcastStrides(
  shape: readonly number[],
  target: readonly number[],
  own: readonly number[] = stridesOf(shape),
): number[] {
  const lead = target.length - shape.length;
  const strides = new Array<number>(target.length);
  for (let i = 0; i < target.length; i++) strides[i] = i < lead || shape[i - lead] === 1 ? 0 : own[i - lead];
  return strides;
}

/** Resolves one -1 in a shape for reshape and checks that the number of elements stays the same. */
export function resolveReshape(op: string, from: readonly number[], to: unknown): readonly number[] {
  if (!Array.isArray(to)) fail(op, `shape is ${describe(to)}`, `pass one array, as in ${op}([2, -1])`);
  const size = sizeOf(from);
  const open = to.indexOf(-1);
  let target = to as readonly number[];
  if (open >= 0) {
    const rest = to.reduce((p: number, d, i) => (i === open ? p : p * checkInteger(op, `shape[${i}]`, d, 0)), 1);
    if (to.indexOf(-1, open + 1) >= 0 || size % rest !== 0) {
      fail(
        op,
        `cannot reshape ${show(from)} (${size} elements) to ${show(target)}`,
        'use one -1 at most, with the other dimensions dividing the size',
        { shapes: [from] },
      );
    }
    target = to.map((d, i) => (i === open ? size / rest : d));
  }
  const shape = checkShape(op, target);
  if (sizeOf(shape) !== size) {
    fail(
      op,
      `cannot reshape ${show(from)} (${size} elements) to ${show(shape)} (${sizeOf(shape)})`,
      'the number of elements must stay the same',
      { shapes: [from] },
    );
  }
  return shape;
}

/** The iteration over two operands that fills a row-major result: nested loops, outermost first. */
export interface LoopNest {
  readonly sizes: readonly number[];
  /** Strides in elements of each operand; the innermost ones are 0 or 1. */
  readonly a: readonly number[];
  readonly b: readonly number[];
}

/** The fewest loops that pair two row-major operands under broadcasting to `out`. */
export function loopNest(a: readonly number[], b: readonly number[], out: readonly number[]): LoopNest {
  if (sameShape(a, b)) return { sizes: [sizeOf(out)], a: [1], b: [1] };
  return collapse(out, broadcastStrides(a, out), broadcastStrides(b, out));
}

/** Drops loops of length 1 and merges adjacent loops that are one loop for both operands. */
export function collapse(shape: readonly number[], sa: readonly number[], sb: readonly number[]): LoopNest {
  const sizes: number[] = [];
  const la: number[] = [];
  const lb: number[] = [];
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] === 1) continue;
    const last = sizes.length - 1;
    if (last >= 0 && sa[i] === la[last] * sizes[last] && sb[i] === lb[last] * sizes[last]) {
      sizes[last] *= shape[i];
    } else {
      sizes.push(shape[i]);
      la.push(sa[i]);
      lb.push(sb[i]);
    }
  }
  if (sizes.length === 0) return { sizes: [1], a: [1], b: [1] };
  return { sizes: sizes.reverse(), a: la.reverse(), b: lb.reverse() };
}

/** Calls `inner` for every combination of all loops but the last two, with the operands' offsets. */
export function outerLoops(loops: LoopNest, inner: (offsetA: number, offsetB: number, index: number) => void): void {
  const { sizes, a, b } = loops;
  let index = 0;
  const walk = (depth: number, ia: number, ib: number): void => {
    if (depth >= sizes.length - 2) inner(ia, ib, index++);
    else for (let i = 0; i < sizes[depth]; i++) walk(depth + 1, ia + i * a[depth], ib + i * b[depth]);
  };
  walk(0, 0, 0);
}

/** Whether the loops but the last two iterate over consecutive matrices. */
export function isBatch(sizes: readonly number[], step: readonly number[]): boolean {
  const i = sizes.length - 2;
  const own = stridesOf(sizes);
  return sizes.slice(0, i).every((_, d) => step[d] === own[d]);
}
