import { describe, fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { normalizeDim, sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';
import { checkTensors, dispatch, generalRow } from './dispatch.js';
import { dense } from './operand.js';
import type { NamedGeneral } from './row.js';
import { narrow } from './view.js';

/** Tensors behind each other along a dimension, which is the attribute. */
export const join: NamedGeneral<number> = /* @__PURE__ */ generalRow('cat', {
  forward: (inputs, dim) => {
    const [{ backend, dims }] = inputs;
    const length = inputs.reduce((sum, x) => sum + x.dims[dim], 0);
    const shape = dims.map((d, i) => (i === dim ? length : d));
    const parts = inputs.filter((x) => x.size > 0);
    const widths = parts.map((x) => sizeOf(x.dims.slice(dim)));
    const storage =
      parts.length === 0 ? backend.fill(0, 0) : backend.cat(parts.map(dense), sizeOf(dims.slice(0, dim)), widths);
    return new Tensor(Layout.rowMajor(shape), storage);
  },
  saves: 'nothing',
  grad: (g, node, dim) => {
    let start = 0;
    return node.shapes.map((shape, i) => {
      const range = { dim, start, length: shape[dim] };
      start += shape[dim];
      return node.needs(i) ? dispatch(narrow, [g], range) : null;
    });
  },
});

/** Requires at least one tensor, all on one device. */
function checkList(op: string, tensors: readonly Tensor[]): void {
  if (!Array.isArray(tensors)) fail(op, `tensors is ${describe(tensors)}`, `pass one array, as in ${op}([a, b])`);
  if (tensors.length === 0) fail(op, 'there are no tensors', 'pass at least one');
  checkTensors(op, tensors);
}

/**
 * Puts tensors behind each other along a dimension. Same as
 * [torch.cat](https://docs.pytorch.org/docs/stable/generated/torch.cat.html).
 *
 * @param tensors at least one; their shapes are the same except for dimension `dim`. Tensors of shape [0] are left out
 * @param dim the dimension; a negative one counts from the end. Default 0
 * @returns a tensor whose dimension `dim` is the sum of theirs
 * @throws TapegradError for no tensors, scalars, other shapes, a dimension that does not exist, and tensors on different devices
 * @example
 * ```ts
 * import { cat, ones, zeros } from 'tapegrad';
 *
 * console.log(cat([zeros([1, 2]), ones([2, 2])]).toArraySync()); // [[0, 0], [1, 1], [1, 1]]
 * console.log(cat([zeros([2, 1]), ones([2, 2])], 1).toArraySync()); // [[0, 1, 1], [0, 1, 1]]
 * ```
 */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  checkList('cat', tensors);
  // PyTorch lets a loop begin with an empty list of numbers, whatever it appends.
  const some = tensors.filter((x) => x.ndim !== 1 || x.size > 0);
  const parts = some.length > 0 ? some : tensors;
  const [{ dims, ndim }] = parts;
  const d = normalizeDim('cat', dim, ndim, dims);
  for (let i = 1; i < parts.length; i++) {
    const other = parts[i].dims;
    if (other.length === ndim && other.every((n, k) => k === d || n === dims[k])) continue;
    fail(
      'cat',
      `tensors of shapes ${show(dims)} and ${show(other)} do not fit along dimension ${d}`,
      'shapes must be the same except for that dimension; stack joins along a new one',
      { shapes: parts.map((x) => x.dims) },
    );
  }
  return dispatch(join, parts, d);
}

/**
 * Puts tensors of one shape behind each other along a new dimension. Same as
 * [torch.stack](https://docs.pytorch.org/docs/stable/generated/torch.stack.html).
 *
 * @param tensors at least one, all of one shape
 * @param dim the position of the new dimension; -1 is the end. Default 0
 * @returns a tensor with the number of tensors at position `dim` of their shape
 * @throws TapegradError for no tensors, different shapes, a position out of range, and tensors on different devices
 * @example
 * ```ts
 * import { stack, tensor } from 'tapegrad';
 *
 * const [a, b] = [tensor([1, 2]), tensor([3, 4])];
 * console.log(stack([a, b]).toArraySync()); // [[1, 2], [3, 4]]
 * console.log(stack([a, b], 1).toArraySync()); // [[1, 3], [2, 4]]
 * ```
 */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  checkList('stack', tensors);
  const [{ dims, ndim }] = tensors;
  const d = normalizeDim('stack', dim, ndim + 1, dims);
  for (const x of tensors) {
    if (x.ndim === ndim && x.dims.every((n, i) => n === dims[i])) continue;
    fail('stack', `tensors have the shapes ${show(dims)} and ${show(x.dims)}`, 'pass tensors of one shape', {
      shapes: tensors.map((t) => t.dims),
    });
  }
  return dispatch(
    join,
    tensors.map((x) => x.unsqueeze(d)),
    d,
  );
}
