import { describe, fail } from '../errors.js';

/** Requires a nonempty array of numbers that a fit can produce, and returns a copy. */
export function checkFitted(op: string, name: string, value: unknown): number[] {
  // Values fitted from float32 data are within its range.
  const possible = (v: unknown) => typeof v === 'number' && Number.isFinite(Math.fround(v));
  if (!Array.isArray(value) || value.length === 0 || !value.every(possible)) {
    fail(op, `${name} is ${describe(value)}`, 'pass what toJSON() returned');
  }
  return value.slice();
}

/** Every preprocessor has this field: structuredClone refuses functions, and would otherwise drop the fitted values silently. */
export const notCloneable = () => 'It cannot be cloned or posted. Send toJSON(), then use fromJSON.';
