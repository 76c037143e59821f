import { describe, fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { Tensor } from '../methods.js';
import { denseCopy } from '../tensor.js';

/** Copies rows `rows[from]` to `rows[to - 1]` of a row-major matrix with `width` columns. */
export function gather(
  values: Float32Array,
  width: number,
  rows: ArrayLike<number>,
  from = 0,
  to = rows.length,
): Float32Array {
  const out = new Float32Array((to - from) * width);
  for (let i = from; i < to; i++) {
    const start = rows[i] * width;
    out.set(values.subarray(start, start + width), (i - from) * width);
  }
  return out;
}

/**
 * The rows `order[from]` to `order[to - 1]` of a tensor [n, ..], as a tensor on the same device. Copied on the host where it
 * has the values; gathered on the device where reading them would mean waiting.
 */
export function takeRows(
  op: string,
  t: Tensor,
  host: Float32Array | null,
  order: Int32Array,
  from: number,
  to: number,
): Tensor {
  const { backend, shape } = t;
  const width = t.size / shape[0];
  const storage =
    host === null && backend.rows !== undefined
      ? backend.rows((t.layout.dense ? t : denseCopy(t)).storage, order.subarray(from, to), width)
      : backend.upload(gather(host ?? t.hostValues(op), width, order, from, to));
  return new Tensor(Layout.rowMajor([to - from, ...shape.slice(1)]), storage);
}

/** The values of a tensor if the host can read them without waiting, else null. */
export function knownValues(t: Tensor): Float32Array | null {
  const values = t.peek();
  return values === null || values instanceof Float32Array ? values : Float32Array.from(values);
}

/** Requires tensors with equal first dimensions, and returns that dimension. */
export function commonRows(op: string, tensors: readonly Tensor[]): number {
  if (tensors.length === 0) fail(op, 'there are no tensors', 'pass at least one tensor');
  tensors.forEach((t: unknown, i) => {
    if (!(t instanceof Tensor)) fail(op, `argument ${i} is ${describe(t)}`, 'pass tensors; tensor(values) makes one');
  });
  for (const t of tensors) {
    if (t.ndim === 0 || t.shape[0] !== tensors[0].shape[0]) {
      fail(
        op,
        `the tensors have shapes ${tensors.map((x) => show(x.shape)).join(', ')}`,
        'the first dimension, the number of samples, must be the same for all',
        { shapes: tensors.map((x) => x.shape) },
      );
    }
  }
  return tensors[0].shape[0];
}

/** Requires features [n, f]. */
export function checkFeatures(op: string, x: Tensor, columns?: number): void {
  if (!(x instanceof Tensor) || x.ndim !== 2)
    fail(
      op,
      `the features are ${x instanceof Tensor ? `of shape ${show(x.shape)}` : describe(x)}`,
      'pass a tensor of shape [samples, features]',
    );
  if (columns !== undefined && x.shape[1] !== columns)
    fail(op, `features of shape ${show(x.shape)} for a fit on ${columns} features`, `pass [samples, ${columns}]`, {
      shapes: [x.shape],
    });
}

/** The values of features [n, f], after checking the shape. */
export function featureValues(op: string, x: Tensor): { values: Float32Array; rows: number; columns: number } {
  checkFeatures(op, x);
  return { values: x.hostValues(op), rows: x.shape[0], columns: x.shape[1] };
}

/** Throws for the first value that is `bad`; the error names the feature and the sample. The matrix has `columns` columns. */
export function refuseValues(
  op: string,
  values: ArrayLike<number>,
  columns: number,
  bad: (v: number) => boolean,
  remedy: string,
  what = 'feature',
): void {
  for (let i = 0; i < values.length; i++) {
    if (bad(values[i])) fail(op, `${what} ${i % columns} of sample ${Math.floor(i / columns)} is ${values[i]}`, remedy);
  }
}

/** A test for refuseValues where NaN is allowed because it marks a missing value. */
export const isInfinite = (v: number): boolean => v === Infinity || v === -Infinity;
