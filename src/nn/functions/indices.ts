import { fail } from '../../errors.js';
import type { Tensor } from '../../methods.js';

/**
 * Requires integers in 0 … count - 1. If the host would have to wait for them, the device checks them. @internal
 */
export function checkIndices(op: string, indices: Tensor, count: number): void {
  const values = indices.peek();
  if (values === null) {
    checkOnDevice(op, indices, count);
    return;
  }
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (!Number.isInteger(v) || v < 0 || v >= count)
      fail(op, `index ${i} is ${v} for ${count} rows`, `indices are integers from 0 to ${count - 1}`, {
        shapes: [indices.dims],
      });
  }
}

/** Lets the device check indices; the next read rejects if they are wrong. @internal */
export function checkOnDevice(op: string, indices: Tensor, count: number): void {
  const { storage } = indices.layout.dense ? indices : indices.detach().clone();
  indices.backend.checkIndices?.(op, storage, count);
}
