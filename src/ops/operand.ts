import type { Storage } from '../backends/storage.js';
import { Layout, rowMajorCopy } from '../layout.js';
import { temporary } from '../lifetime.js';
import { broadcastStrides, collapse, type LoopNest, loopNest } from '../shape.js';
import type { Tensor } from '../tensor.js';

// What kernels read. Most want their operands dense: a storage that holds just the elements, in row-major order. A view
// that is not is copied for the time of the operation, unless the kernel reads it where it lies.

/** The elements of x as a dense storage. A copy lives until the operation ends. */
export function dense(x: Tensor): Storage {
  return x.layout.dense ? x.storage : temporary(rowMajorCopy(x.storage, x.layout));
}

/** Two operands, and the loops that walk them under broadcasting to `shape`. */
export interface Pair {
  readonly a: Storage;
  readonly b: Storage;
  readonly loops: LoopNest;
}

export function pair(a: Tensor, b: Tensor, shape: readonly number[]): Pair {
  const [la, lb] = [a.layout, b.layout];
  if (la.dense && lb.dense) return { a: a.storage, b: b.storage, loops: loopNest(a.dims, b.dims, shape) };
  if (la.offset === 0 && lb.offset === 0) {
    const loops = collapse(
      shape,
      broadcastStrides(a.dims, shape, la.strides),
      broadcastStrides(b.dims, shape, lb.strides),
    );
    const inner = loops.sizes.length - 1;
    // Kernels walk the innermost loop in vectors, or repeat one number.
    if (loops.a[inner] <= 1 && loops.b[inner] <= 1) return { a: a.storage, b: b.storage, loops };
  }
  return { a: dense(a), b: dense(b), loops: loopNest(a.dims, b.dims, shape) };
}

/** A matrix operand as products read it: in its storage, or a copy. */
export interface MatrixOperand {
  readonly storage: Storage;
  /** Whether the last two dimensions lie exchanged. */
  readonly transposed: boolean;
  readonly offset: number;
  /** Strides of the dimensions before the last two. */
  readonly batch: readonly number[];
}

/** x with at least two dimensions. Each of its matrices must lie in one piece, row by row or column by column. */
export function matrices(x: Tensor): MatrixOperand {
  const { layout } = x;
  const n = x.ndim;
  const [rows, cols] = [x.dims[n - 2], x.dims[n - 1]];
  if (!layout.dense) {
    const { strides, offset } = layout;
    const lies = (outer: number, inner: number, d: number, e: number) =>
      (d === 1 || strides[outer] === e) && (e === 1 || strides[inner] === 1);
    const straight = lies(n - 2, n - 1, rows, cols);
    const transposed = !straight && lies(n - 1, n - 2, cols, rows);
    const size = rows * cols;
    // The GPU's kernels count whole matrices.
    const whole = offset % size === 0 && strides.every((s, i) => i >= n - 2 || s % size === 0);
    if ((straight || transposed) && whole)
      return { storage: x.storage, transposed, offset, batch: strides.slice(0, n - 2) };
  }
  return { storage: dense(x), transposed: false, offset: 0, batch: Layout.rowMajor(x.dims).strides.slice(0, n - 2) };
}
