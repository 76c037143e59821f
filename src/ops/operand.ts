import type { Storage } from '../backends/storage.js';
import { Layout, rowMajorCopy } from '../layout.js';
import { temporary } from '../lifetime.js';
import { broadcastStrides, collapse, type LoopNest, loopNest } from '../shape.js';
import type { Tensor } from '../tensor.js';

// The operands of kernels. Most kernels require dense operands: a storage of exactly the elements, in row-major order. Other
// views are copied for the duration of the operation, unless the kernel supports strides.

/** The elements of x as a dense storage. A copy is freed when the operation ends. */
export function dense(x: Tensor): Storage {
  return x.layout.dense ? x.storage : temporary(rowMajorCopy(x.storage, x.layout));
}

/** Two operands, and the loops that iterate over them under broadcasting to `shape`. */
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
    // In the innermost loop kernels read consecutive elements as vectors, or repeat one number.
    if (loops.a[inner] <= 1 && loops.b[inner] <= 1) return { a: a.storage, b: b.storage, loops };
  }
  return { a: dense(a), b: dense(b), loops: loopNest(a.dims, b.dims, shape) };
}

/** A matrix operand of a product: its storage, or a copy. */
export interface MatrixOperand {
  readonly storage: Storage;
  /** Whether the matrices are stored transposed. */
  readonly transposed: boolean;
  readonly offset: number;
  /** Of all dimensions; empty for a single matrix. */
  readonly strides: readonly number[];
}

const NO_STRIDES: readonly number[] = [];

/** x with at least two dimensions. A copy is made unless each of its matrices is contiguous, row-major or column-major. */
export function matrices(x: Tensor): MatrixOperand {
  const { layout } = x;
  const transposed = layout.dense ? false : orderOf(layout);
  if (transposed === null) {
    return { storage: dense(x), transposed: false, offset: 0, strides: Layout.rowMajor(x.dims).strides };
  }
  const strides = x.ndim === 2 ? NO_STRIDES : layout.strides;
  return { storage: x.storage, transposed, offset: layout.offset, strides };
}

/** Whether the matrices of a layout are column-major; null if they are not contiguous. */
function orderOf({ shape, strides, offset }: Layout): boolean | null {
  const n = shape.length;
  const lies = (outer: number, inner: number) =>
    (shape[outer] === 1 || strides[outer] === shape[inner]) && (shape[inner] === 1 || strides[inner] === 1);
  const transposed = lies(n - 2, n - 1) ? false : lies(n - 1, n - 2) ? true : null;
  const size = shape[n - 2] * shape[n - 1];
  // GPU kernels address matrices by their number.
  const whole = offset % size === 0 && strides.every((s, i) => i >= n - 2 || s % size === 0);
  return whole ? transposed : null;
}
