import type { IndexPlan } from '../backend.js';
import type { Job } from './pool.js';

// How the work of indexing is shared by threads. No number is computed by two, so that sums keep their order.

/** Nanoseconds for a number that is copied. */
const COPIED = 0.5;
/** How many numbers a row has to have so that a look at its index takes little of the time. */
const LONG = 16;

/** @param x the address of [outer, length, inner], and those of the indices and of the result [outer, count, inner] */
export function gatherJob(x: number, index: number, out: number, plan: IndexPlan): Job {
  const { outer, length, inner, count } = plan;
  const shared = Number(plan.shared);
  const args = [x, index, out, outer, count, length, inner, shared];
  const each = plan.shared ? 0 : 4;
  return outer === 1
    ? job('gather', args, [0, plan.shared ? 4 : 4 * inner, 4 * inner], 4, count, inner)
    : job('gather', args, [4 * length * inner, each * count * inner, 4 * count * inner], 3, outer, count * inner);
}

/** @param x the address of [outer, count, inner], and those of the indices and of the result [outer, length, inner] */
export function scatterJob(x: number, index: number, out: number, plan: IndexPlan): Job {
  const { outer, length, inner, count, shared } = plan;
  const each = shared ? 0 : 4;
  const args = [x, index, out, outer, 0, length, length, inner, count, Number(shared)];
  const size = (length + count) * inner;
  // Every thread looks at all indices of a list, and adds the rows that are its own.
  if (outer === 1 && shared && inner >= LONG)
    return job('scatter', args, [0, 0, 4 * inner, 0, 1], 5, length, size / length);
  return job('scatter', args, [4 * count * inner, each * count * inner, 4 * length * inner], 3, outer, size);
}

/** @param size how many numbers a unit has */
function job(
  kernel: string,
  args: number[],
  perUnit: readonly number[],
  counted: number,
  units: number,
  size: number,
): Job {
  return { kernel, args, perUnit, counted, units, grain: 1, cost: COPIED * size };
}
