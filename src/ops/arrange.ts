import { checkInteger, describe, fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { normalizeDim, normalizeDims, sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';
import { checkTensors, dispatch, generalRow } from './dispatch.js';
import { compare, reluGrad } from './elementwise.js';
import { applyBinary } from './families.js';
import { join } from './join.js';
import type { NamedGeneral } from './row.js';
import { broadcastTo, narrow, reshapeTo } from './view.js';

/** The same elements in another arrangement. */
export interface ArrangeMethods {
  /**
   * Merges dimensions into one: a view where the layout allows it, else a copy. As torch.flatten.
   * @param start the first of these dimensions; a negative one counts from the end. Default 0
   * @param end the last one. Default -1
   * @returns a tensor with the product in their place; [1] for a scalar
   * @throws TapegradError for dimensions that do not exist, and for `start` behind `end`
   */
  flatten(start?: number, end?: number): Tensor;
  /**
   * Copies of the tensor behind each other, along each dimension. As torch.Tensor.repeat.
   * @param sizes how often, for each dimension; there may be more of them than dimensions, for new leading ones
   * @returns a tensor whose dimensions are the products
   * @throws TapegradError for fewer sizes than dimensions, and for sizes that are no integers of at least 0
   */
  repeat(sizes: readonly number[]): Tensor;
  /**
   * A copy with the elements of some dimensions in reverse order. As torch.flip.
   * @param dims one dimension, or several; negative ones count from the end
   * @returns a tensor of the same shape
   * @throws TapegradError for a dimension that does not exist or is given twice
   */
  flip(dims: number | readonly number[]): Tensor;
  /**
   * A copy with the elements moved along dimensions; what leaves at the end enters at the start. As torch.roll.
   * @param shifts by how many places; negative ones move towards the start
   * @param dims the dimension for each shift. Default: the elements in row-major order, by a single shift
   * @returns a tensor of the same shape
   * @throws TapegradError for shifts that are no integers, a dimension that does not exist, and another number of dimensions
   */
  roll(shifts: number | readonly number[], dims?: number | readonly number[]): Tensor;
  /**
   * A copy with 0 above a diagonal of every matrix. As torch.tril.
   * @param k which diagonal: 0 for the main one, 1 for the one above it, -1 for the one below it. Default 0
   * @returns a tensor of the same shape [.., m, n]; its gradient is 0 where it is 0
   * @throws TapegradError for fewer than two dimensions, and for k that is no integer
   */
  tril(k?: number): Tensor;
  /**
   * A copy with 0 below a diagonal of every matrix. As torch.triu.
   * @param k which diagonal: 0 for the main one, 1 for the one above it, -1 for the one below it. Default 0
   * @returns a tensor of the same shape [.., m, n]; its gradient is 0 where it is 0
   * @throws TapegradError for fewer than two dimensions, and for k that is no integer
   */
  triu(k?: number): Tensor;
  /**
   * The products of all elements of two vectors. As torch.outer.
   * @param other a vector [n]
   * @returns [m, n] for a vector [m]
   * @throws TapegradError if one of them is no vector
   */
  outer(other: Tensor): Tensor;
}

/** The elements of some dimensions in reverse order. */
export const flip: NamedGeneral<readonly number[]> = /* @__PURE__ */ generalRow('flip', {
  forward: ([x], dims) => {
    const { backend, storage, layout } = x;
    let first = layout.offset;
    const strides = layout.strides.map((s, i) => {
      if (!dims.includes(i)) return s;
      first += (x.dims[i] - 1) * s;
      return -s;
    });
    return new Tensor(
      Layout.rowMajor(x.dims),
      x.size === 0 ? backend.fill(0, 0) : backend.copy(storage, x.dims, strides, first),
    );
  },
  saves: 'nothing',
  grad: (g, _, dims) => [dispatch(flip, [g], dims)],
});

export function applyFlatten(x: Tensor, start = 0, end = -1): Tensor {
  const { dims } = x;
  // PyTorch counts the dimensions of a scalar as one.
  const n = Math.max(1, x.ndim);
  const [from, to] = [start, end].map((d) => normalizeDim('flatten', d, n, dims));
  if (from > to)
    fail('flatten', `start is ${start} and end ${end} for a tensor of shape ${show(dims)}`, 'start comes first', {
      shapes: [dims],
    });
  return reshapeTo(x, [...dims.slice(0, from), sizeOf(dims.slice(from, to + 1)), ...dims.slice(to + 1)]);
}

export function applyRepeat(x: Tensor, sizes: readonly number[]): Tensor {
  if (!Array.isArray(sizes)) fail('repeat', `sizes is ${describe(sizes)}`, 'pass one array, as in repeat([2, 1])');
  const lead = sizes.length - x.ndim;
  const times = sizes.map((n, i) => checkInteger('repeat', `sizes[${i}]`, n, 0));
  if (lead < 0) {
    const remedy = `pass at least ${x.ndim} sizes; 1 does not repeat`;
    fail('repeat', `sizes is ${show(sizes)} for a tensor of shape ${show(x.dims)}`, remedy, { shapes: [x.dims] });
  }
  const own = times.map((_, i) => (i < lead ? 1 : x.dims[i - lead]));
  const once = reshapeTo(
    x,
    own.flatMap((d) => [1, d]),
  );
  const all = broadcastTo(
    once,
    own.flatMap((d, i) => [times[i], d]),
  );
  const out = reshapeTo(
    all,
    own.map((d, i) => d * times[i]),
  );
  return out.storage === x.storage ? out.clone() : out;
}

export function applyFlip(x: Tensor, dims: number | readonly number[]): Tensor {
  if (dims === undefined) fail('flip', 'dims is undefined', 'name at least one dimension');
  return dispatch(flip, [x], Array.isArray(dims) && dims.length === 0 ? [] : normalizeDims('flip', dims, x.dims));
}

const list = (x: number | readonly number[]): readonly number[] => (typeof x === 'number' ? [x] : x);

export function applyRoll(x: Tensor, shifts: number | readonly number[], dims?: number | readonly number[]): Tensor {
  const op = 'roll';
  if (dims === undefined) return reshapeTo(applyRoll(applyFlatten(x), shifts, 0), x.dims);
  const [by, along] = [list(shifts), list(dims)];
  if (!Array.isArray(by) || !Array.isArray(along) || by.length !== along.length || by.length === 0) {
    fail(op, `shifts is ${describe(shifts)} and dims ${describe(dims)}`, 'pass one shift for each dimension');
  }
  return by.reduce((y: Tensor, shift, i) => {
    const dim = normalizeDim(op, along[i], x.ndim, x.dims);
    const n = x.dims[dim];
    const moved = checkInteger(op, 'shift', shift, -Infinity) % n;
    if (n === 0) return y;
    const start = (n - moved) % n;
    const ranges = [
      { dim, start, length: n - start },
      { dim, start: 0, length: start },
    ];
    return dispatch(
      join,
      ranges.map((range) => dispatch(narrow, [y], range)),
      dim,
    );
  }, x);
}

/** x where the column is less than row + k, or not less, else 0. */
function triangle(op: string, x: Tensor, k: number, lower: boolean): Tensor {
  if (x.ndim < 2)
    fail(op, `a tensor of shape ${show(x.dims)} has no matrices`, 'pass at least two dimensions', { shapes: [x.dims] });
  const given = checkInteger(op, 'k', k, -Infinity);
  const [m, n] = x.dims.slice(-2);
  const from = Math.min(Math.max(given, -m), n) + (lower ? 0.5 : -0.5);
  const numbers = (size: number, first: number, shape: readonly number[]) =>
    new Tensor(Layout.rowMajor(shape), x.backend.upload(Float32Array.from({ length: size }, (_, i) => i + first)));
  const [rows, cols] = [numbers(m, from, [m, 1]), numbers(n, 0, [n])];
  // A product with the mask would turn infinities into NaN.
  return reluGrad(x, lower ? applyBinary(compare.gt, rows, cols) : applyBinary(compare.lt, rows, cols));
}

export const applyTril = (x: Tensor, k = 0): Tensor => triangle('tril', x, k, true);
export const applyTriu = (x: Tensor, k = 0): Tensor => triangle('triu', x, k, false);

export function applyOuter(x: Tensor, other: Tensor): Tensor {
  checkTensors('outer', [x, other]);
  if (x.ndim !== 1 || other.ndim !== 1)
    fail('outer', `the tensors have shapes ${show(x.dims)} and ${show(other.dims)}`, 'pass two vectors: x.flatten()', {
      shapes: [x.dims, other.dims],
    });
  return x.unsqueeze(1).mul(other);
}

/**
 * The products of all elements of two vectors; see `Tensor.outer`. Same as
 * [torch.outer](https://docs.pytorch.org/docs/stable/generated/torch.outer.html).
 *
 * @param a a vector [m]
 * @param b a vector [n]
 * @returns a matrix [m, n]
 * @throws TapegradError if one of them is no vector, and for tensors on different devices
 * @example
 * ```ts
 * import { outer, tensor } from 'tapegrad';
 *
 * console.log(outer(tensor([1, 2]), tensor([3, 4])).toArraySync()); // [[3, 4], [6, 8]]
 * ```
 */
export const outer = (a: Tensor, b: Tensor): Tensor => applyOuter(a, b);
