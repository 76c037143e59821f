import type { Tensor } from '../../methods.js';

/** Lets the device check indices that only it has; the next read rejects if they are wrong. @internal */
export function checkOnDevice(op: string, indices: Tensor, count: number): void {
  const { storage } = indices.layout.dense ? indices : indices.detach().clone();
  indices.backend.checkIndices?.(op, storage, count);
}
