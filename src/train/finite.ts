import type { Tensor } from '../methods.js';

/** Up to so many numbers are looked at one by one sooner than a kernel is called. */
const FEW = 64;

/** Whether the host can look at a tensor at once. */
export const isReadable = (t: Tensor): boolean => t.backend.readSync !== undefined;

/** Whether every number of a readable tensor is finite. */
export function isFiniteNow(t: Tensor): boolean {
  if (t.size > FEW) {
    // NaN and Infinity come through a sum. A sum that is not finite may have overflowed, so it proves nothing.
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
