import { describe, fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { Tensor } from '../methods.js';
import { denseCopy } from '../tensor.js';

/** The chosen rows of numbers that lie `width` to a row. */
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
 * The rows of a tensor [n, ..] at places `from` to `to` of an order, as a tensor of its device: from what the host knows of
 * its numbers, or where it would have to wait for them, on the device.
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

/** The numbers of a tensor where the host knows them. */
export function knownValues(t: Tensor): Float32Array | null {
  const values = t.peek();
  return values === null || values instanceof Float32Array ? values : Float32Array.from(values);
}

/** Requires tensors with one first dimension, and returns it. */
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

/** The numbers of features [n, f], checked. */
export function featureValues(op: string, x: Tensor): { values: Float32Array; rows: number; columns: number } {
  checkFeatures(op, x);
  return { values: x.hostValues(op), rows: x.shape[0], columns: x.shape[1] };
}

/** Refuses the first of the numbers, `columns` to a sample, that is `bad`: it names the feature and the sample. */
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

/** For refuseValues, where NaN stands for a gap. */
export const isInfinite = (v: number): boolean => v === Infinity || v === -Infinity;
