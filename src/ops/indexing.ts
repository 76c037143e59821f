import type { IndexPlan } from '../backends/backend.js';
import { fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { normalizeDim, sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';
import { checkTensors, dispatch, generalRow } from './dispatch.js';
import { dense } from './operand.js';
import type { NamedGeneral } from './row.js';
import { narrowBackward, reshapeTo } from './view.js';

/** What indices pick, and sums by index. Indices are tensors of whole numbers. */
export interface IndexMethods {
  /**
   * Picks indices of one dimension: y[.., k, ..] = x[.., index[k], ..]. The gradient of an element is the sum over where it
   * was picked. As torch.index_select.
   * @param dim the dimension; a negative one counts from the end
   * @param index integers from 0 to the number of elements of the dimension - 1, shape [n]
   * @returns a tensor with n in the place of dimension `dim`
   * @throws TapegradError for a dimension that does not exist, an index of another shape, and (for one that a GPU computed: from
   *   the next read) numbers that are no such integers
   */
  indexSelect(dim: number, index: Tensor): Tensor;
  /**
   * Picks one element for each index, along one dimension: y[i, j, k] = x[index[i, j, k], j, k] for dim 0. The gradient of an
   * element is the sum over where it was picked. As torch.gather.
   * @param dim the dimension; a negative one counts from the end
   * @param index integers from 0 to the number of elements of the dimension - 1, with as many dimensions as x; all but `dim` are
   *   at most those of x
   * @returns a tensor of the shape of `index`
   * @throws TapegradError for a dimension that does not exist, an index of another shape, and (for one that a GPU computed: from
   *   the next read) numbers that are no such integers
   */
  gather(dim: number, index: Tensor): Tensor;
  /**
   * Adds elements of another tensor at indices of one dimension, not in place: y = x, then y[index[i, j, k], j, k] +=
   * source[i, j, k] for dim 0, in ascending order of i. As torch.scatter_add.
   * @param dim the dimension; a negative one counts from the end
   * @param index integers from 0 to the number of elements of the dimension - 1, with as many dimensions as x; all but `dim` are
   *   at most those of x
   * @param source as many dimensions, each at least that of `index`; what is beyond it is not used
   * @returns a tensor of the shape of x
   * @throws TapegradError for a dimension that does not exist, other shapes, and (for indices that a GPU computed: from the next
   *   read) numbers that are no such integers
   */
  scatterAdd(dim: number, index: Tensor, source: Tensor): Tensor;
}

/** Indices into one dimension. */
export interface Indexing {
  readonly dim: number;
  /** The elements of that dimension. */
  readonly length: number;
}

function planOf({ dims }: Tensor, index: Tensor, { dim, length }: Indexing): IndexPlan {
  const shared = index.ndim === 1;
  const outer = sizeOf(dims.slice(0, dim));
  return { outer, length, inner: sizeOf(dims.slice(dim + 1)), count: index.dims[shared ? 0 : dim], shared };
}

const withDim = (shape: readonly number[], dim: number, length: number) =>
  shape.map((d, i) => (i === dim ? length : d));

/** What the indices pick of one dimension of x; they have the shape of the result, or one dimension. */
export const gather: NamedGeneral<Indexing> = /* @__PURE__ */ generalRow('gather', {
  forward: ([x, index], at) => {
    const plan = planOf(x, index, at);
    const shape = withDim(x.dims, at.dim, plan.count);
    const { backend } = x;
    const storage = sizeOf(shape) === 0 ? backend.fill(0, 0) : backend.gather(dense(x), dense(index), plan);
    return new Tensor(Layout.rowMajor(shape), storage);
  },
  saves: 'inputs',
  grad: (g, node, at) => [dispatch(scatter, [g, node.input(1)], at), null],
});

/** The sums of x over where `gather` would read: its gradient. */
export const scatter: NamedGeneral<Indexing> = /* @__PURE__ */ generalRow('scatter', {
  forward: ([x, index], at) => {
    const shape = withDim(x.dims, at.dim, at.length);
    const { backend } = x;
    const [size, used] = [sizeOf(shape), x.size > 0];
    const storage =
      used && size > 0 ? backend.scatter(dense(x), dense(index), planOf(x, index, at)) : backend.fill(size, 0);
    return new Tensor(Layout.rowMajor(shape), storage);
  },
  saves: 'inputs',
  grad: (g, node, at) => [dispatch(gather, [g, node.input(1)], at), null],
});

/** What indices are called in errors: one of them, several, and what they count. */
type Names = readonly [one: string, several: string, counted: string];

/** Requires integers in 0 … count - 1. If the host would have to wait for them, the device checks them. @internal */
export function checkIndices(
  op: string,
  index: Tensor,
  count: number,
  [one, several, counted]: Names = ['index', 'indices', 'elements'],
): void {
  const values = index.peek();
  if (values === null) {
    const { storage } = index.layout.dense ? index : index.detach().clone();
    index.backend.checkIndices?.(op, storage, count);
    return;
  }
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (!Number.isInteger(v) || v < 0 || v >= count) {
      fail(op, `${one} ${i} is ${v} for ${count} ${counted}`, `${several} are integers from 0 to ${count - 1}`, {
        shapes: [index.dims],
      });
    }
  }
}

export function applyIndexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  const op = 'indexSelect';
  checkTensors(op, [x, index]);
  const d = normalizeDim(op, dim, x.ndim, x.dims);
  if (index.ndim > 1)
    fail(op, `the index has shape ${show(index.dims)}`, 'pass one dimension of indices: index.flatten()', {
      shapes: [x.dims, index.dims],
    });
  checkIndices(op, index, x.dims[d]);
  return dispatch(gather, [x, reshapeTo(index, [index.size])], { dim: d, length: x.dims[d] });
}

/** x up to the shape of the index in all dimensions but one. */
function within(op: string, name: string, x: Tensor, index: Tensor, dim: number): Tensor {
  if (x.ndim !== index.ndim || index.dims.some((n, i) => i !== dim && n > x.dims[i])) {
    const remedy = `the index has as many dimensions, each at most as long${dim < 0 ? '' : ` except dimension ${dim}`}`;
    fail(op, `${name} has shape ${show(x.dims)} and the index ${show(index.dims)}`, remedy, {
      shapes: [x.dims, index.dims],
    });
  }
  let part = x;
  index.dims.forEach((n, i) => {
    if (i !== dim && n < x.dims[i]) part = part.narrow(i, 0, n);
  });
  return part;
}

export function applyGather(x: Tensor, dim: number, index: Tensor): Tensor {
  checkTensors('gather', [x, index]);
  const d = normalizeDim('gather', dim, x.ndim, x.dims);
  const part = within('gather', 'the tensor', x, index, d);
  checkIndices('gather', index, x.dims[d]);
  return dispatch(gather, [part, index], { dim: d, length: x.dims[d] });
}

export function applyScatterAdd(x: Tensor, dim: number, index: Tensor, source: Tensor): Tensor {
  const op = 'scatterAdd';
  checkTensors(op, [x, index, source]);
  const d = normalizeDim(op, dim, x.ndim, x.dims);
  const target = within(op, 'the tensor', x, index, d);
  const part = within(op, 'the source', source, index, -1);
  checkIndices(op, index, x.dims[d]);
  let sums = dispatch(scatter, [part, index], { dim: d, length: x.dims[d] });
  target.dims.forEach((n, i) => {
    if (n < x.dims[i]) sums = dispatch(narrowBackward, [sums], { dim: i, start: 0, length: x.dims[i] });
  });
  return x.add(sums);
}
