import { checkInteger, describe, fail, show } from '../errors.js';
import { normalizeDim } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { flip } from './arrange.js';
import { dispatch } from './dispatch.js';
import { indexIn, narrow, reshape } from './view.js';

/**
 * What `slice` takes of one dimension: a number selects an index, [start, stop] and [start, stop, step] a range, null all of it.
 * '...' stands for as many dimensions as are left.
 */
export type SliceRange =
  | number
  | null
  | '...'
  | readonly [start: number | null, stop: number | null, step?: number | null];

/** Parts of a tensor. */
export interface SliceMethods {
  /**
   * A part of the tensor, by NumPy's [basic indexing](https://numpy.org/doc/stable/user/basics.indexing.html): `x.slice([0, 2], null,
   * [null, null, -1])` is x[0:2, :, ::-1]. A view, except with a negative step. What is left out at the end is null.
   * @param ranges one for each dimension. A number selects an index, and the dimension goes. [start, stop] or [start, stop, step] is
   *   a range without stop; null is an open end; negative numbers count from the end; what is beyond the dimension is ignored.
   *   null keeps the dimension. '...' keeps those that the others leave
   * @returns a tensor without the selected dimensions
   * @throws TapegradError for more ranges than dimensions, a number that is out of range or no integer, and a step of 0
   */
  slice(...ranges: readonly SliceRange[]): Tensor;
  /**
   * Views of consecutive parts of one dimension. As torch.split.
   * @param sizes how many indices each part has, the last one possibly fewer; or an array of the sizes of all parts
   * @param dim the dimension; a negative one counts from the end. Default 0
   * @returns the parts in their order
   * @throws TapegradError for a dimension that does not exist, sizes that are no integers of at least 0, sizes whose sum is not
   *   the dimension, and the size 0
   */
  split(sizes: number | readonly number[], dim?: number): Tensor[];
  /**
   * Views of at most n parts of one dimension, of one size but the last. As torch.chunk: there are fewer parts where that size
   * uses the dimension up.
   * @param n the largest number of parts
   * @param dim the dimension; a negative one counts from the end. Default 0
   * @returns the parts in their order
   * @throws TapegradError for a dimension that does not exist, and for n that is no integer of at least 1
   */
  chunk(n: number, dim?: number): Tensor[];
}

/** An end of a range: the given one, counted from the start and at most at the ends of the dimension. */
function end(op: string, name: string, given: unknown, open: number, size: number, low: number): number {
  if (given === null || given === undefined) return open;
  const at = checkInteger(op, name, given, -Infinity);
  return Math.min(Math.max(at < 0 ? at + size : at, low), size + low);
}

export function applySlice(x: Tensor, ...ranges: readonly SliceRange[]): Tensor {
  const op = 'slice';
  const given = ranges.length - Number(ranges.includes('...'));
  if (given > x.ndim) {
    fail(op, `${given} ranges for a tensor of shape ${show(x.dims)}`, `pass at most ${x.ndim}`, { shapes: [x.dims] });
  }
  let out = x;
  let dim = 0;
  const reversed: number[] = [];
  const selected: number[] = [];
  ranges.forEach((range: unknown, i) => {
    if (range === '...' && ranges.indexOf('...') === i) {
      dim += x.ndim - given;
      return;
    }
    const size = x.dims[dim];
    if (typeof range === 'number') {
      selected.push(dim);
      out = dispatch(narrow, [out], { dim, start: indexIn(op, x, dim, range), length: 1 });
    } else if (Array.isArray(range) && (range.length === 2 || range.length === 3)) {
      const step = checkInteger(op, 'step', range[2] ?? 1, -Infinity);
      if (step === 0) fail(op, `the step of range ${i} is 0`, 'pass another integer; -1 reverses');
      const low = step < 0 ? -1 : 0;
      const start = end(op, 'start', range[0], step < 0 ? size - 1 : 0, size, low);
      const stop = end(op, 'stop', range[1], step < 0 ? -1 : size, size, low);
      const length = Math.max(0, Math.ceil((stop - start) / step));
      // Backwards it is the same numbers from the last one on, reversed.
      const first = length === 0 ? 0 : step < 0 ? start + (length - 1) * step : start;
      out = dispatch(narrow, [out], { dim, start: first, length, step: Math.abs(step) });
      if (step < 0) reversed.push(dim);
    } else if (range !== null) {
      fail(
        op,
        `range ${i} is ${describe(range)}`,
        "pass a number, [start, stop], [start, stop, step], null for the whole dimension, or '...' once",
      );
    }
    dim++;
  });
  if (reversed.length > 0) out = dispatch(flip, [out], reversed);
  if (selected.length === 0) return out;
  return dispatch(
    reshape,
    [out],
    out.dims.filter((_, i) => !selected.includes(i)),
  );
}

export function applySplit(x: Tensor, sizes: number | readonly number[], dim = 0, op = 'split'): Tensor[] {
  const d = normalizeDim(op, dim, x.ndim, x.dims);
  const length = x.dims[d];
  let parts = sizes as readonly number[];
  if (!Array.isArray(sizes)) {
    const size = checkInteger(op, 'sizes', sizes, length === 0 ? 0 : 1);
    parts = Array.from({ length: Math.max(1, Math.ceil(length / (size || 1))) }, (_, i) =>
      Math.min(size, length - i * size),
    );
  }
  const total = parts.reduce((sum, n, i) => sum + checkInteger(op, `sizes[${i}]`, n, 0), 0);
  if (total !== length) {
    const what = `the sizes ${show(parts)} are ${total} in all for dimension ${d} of shape ${show(x.dims)}`;
    fail(op, what, `they must be ${length} in all`, { shapes: [x.dims] });
  }
  let start = 0;
  return parts.map((n) => {
    const part = dispatch(narrow, [x], { dim: d, start, length: n });
    start += n;
    return part;
  });
}

export function applyChunk(x: Tensor, n: number, dim = 0): Tensor[] {
  const length = x.dims[normalizeDim('chunk', dim, x.ndim, x.dims)];
  const size = Math.ceil(length / checkInteger('chunk', 'n', n));
  return applySplit(x, size > 0 ? size : new Array<number>(n).fill(0), dim, 'chunk');
}
