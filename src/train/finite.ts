import type { Tensor } from '../methods.js';

/** Up to this many elements a loop is faster than calling a kernel. */
const LOOP_LIMIT = 64;

/** Whether the host can read a tensor without waiting. */
export const isReadable = (t: Tensor): boolean => t.backend.readSync !== undefined;

/** Whether all elements of a readable tensor are finite. */
export function isFiniteNow(t: Tensor): boolean {
  if (t.size > LOOP_LIMIT) {
    // NaN and Infinity propagate through a sum. A sum that is not finite can also be an overflow, so it is inconclusive.
    const sum = (t.requiresGrad ? t.detach() : t).sum();
    const value = sum.itemSync();
    sum.dispose();
    if (Number.isFinite(value)) return true;
  }
  return allFinite(t.peek()!);
}

/** The same for a tensor on any device. */
export async function isFiniteAnywhere(t: Tensor): Promise<boolean> {
  return isReadable(t) ? isFiniteNow(t) : allFinite(await t.data());
}

function allFinite(values: ArrayLike<number>): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] - values[i]; // 0, or NaN for NaN and Infinity
  return sum === 0;
}
