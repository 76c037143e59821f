import { onesLike } from '../../create.js';
import { checkInteger, checkOptions, fail, show } from '../../errors.js';
import type { Tensor } from '../../methods.js';
import { checkTensors, dispatch } from '../../ops/dispatch.js';
import { checkIndices, gather, scatter } from '../../ops/indexing.js';

/** Options of {@link embedding}. */
export interface EmbeddingOptions {
  /** The row of the weight that gets no gradient; a negative index counts from the end. None by default. */
  paddingIdx?: number | null;
}

/** The row of paddingIdx as an index from 0 on; null if there is none. @internal */
export function checkPadding(op: string, paddingIdx: number | null | undefined, rows: number): number | null {
  if (paddingIdx === null || paddingIdx === undefined) return null;
  checkInteger(op, 'paddingIdx', paddingIdx, -rows);
  if (paddingIdx >= rows)
    fail(op, `paddingIdx is ${paddingIdx} for ${rows} rows`, `pass an integer from ${-rows} to ${rows - 1}`);
  return paddingIdx < 0 ? paddingIdx + rows : paddingIdx;
}

/**
 * The rows of a matrix that the indices name. Same as
 * [torch.nn.functional.embedding](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding.html).
 *
 * @param indices integers from 0 to rows - 1, of any shape
 * @param weight the matrix, shape [rows, dim]
 * @param options `paddingIdx`: a row that gets no gradient
 * @returns a tensor of shape [..indices, dim]
 * @throws TapegradError for a weight that is not a matrix, a paddingIdx that is not a row, unknown options, and (for indices that
 *   a GPU computed: from the next read) indices that are not integers from 0 to rows - 1
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const weight = tensor([[1, 2], [3, 4]]);
 * console.log(nn.functional.embedding(tensor([1, 0]), weight).toArraySync()); // [[3, 4], [1, 2]]
 * ```
 */
export function embedding(indices: Tensor, weight: Tensor, options: EmbeddingOptions = {}): Tensor {
  const op = 'embedding';
  checkOptions(op, options, ['paddingIdx']);
  checkTensors(op, [indices, weight]);
  if (weight.ndim !== 2)
    fail(op, `the weight has shape ${show(weight.dims)}`, 'pass a matrix [rows, dim]', { shapes: [weight.dims] });
  const [rows, dim] = weight.dims;
  const padding = checkPadding(op, options.paddingIdx, rows);
  checkIndices(op, indices, rows, ['index', 'indices', 'rows']);
  const flat = indices.detach().reshape([indices.size]);
  const out = dispatch(gather, [weight, flat], { dim: 0, length: rows });
  const padded = padding === null ? out : withoutGradient(out, flat.eq(padding).reshape([-1, 1]));
  return padded.reshape([...indices.dims, dim]);
}

/** The same numbers, but the gradient of masked rows is 0. */
function withoutGradient(x: Tensor, mask: Tensor): Tensor {
  return x.mul(mask.neg().add(1)).add(x.detach().mul(mask));
}

/**
 * Ones at the classes that the indices name, zeros elsewhere. Same as
 * [torch.nn.functional.one_hot](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.one_hot.html).
 *
 * @param indices integers from 0 to classes - 1, of any shape
 * @param classes the number of classes; by default one more than the largest index, which the host must be able to read
 * @returns a tensor of shape [..indices, classes], without a gradient
 * @throws TapegradError for indices that are not integers from 0 to classes - 1, and if the number of classes is missing for
 *   no indices or for a device that the host cannot read
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.oneHot(tensor([2, 0]), 3).toArraySync()); // [[0, 0, 1], [1, 0, 0]]
 * ```
 */
export function oneHot(indices: Tensor, classes?: number): Tensor {
  const op = 'oneHot';
  checkTensors(op, [indices]);
  const count = checkInteger(op, 'classes', classes ?? countOf(op, indices));
  checkIndices(op, indices, count, ['index', 'indices', 'classes']);
  const column = indices.detach().reshape([indices.size, 1]);
  const out = dispatch(scatter, [onesLike(column), column], { dim: 1, length: count });
  return out.reshape([...indices.dims, count]);
}

function countOf(op: string, indices: Tensor): number {
  const values = indices.peek();
  if (values === null || values.length === 0)
    fail(op, 'the number of classes cannot be found from the indices', 'pass it: oneHot(indices, classes)');
  let largest = 0;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, values[i]);
  return largest + 1;
}
