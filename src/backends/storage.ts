import type { Backend } from './backend.js';

/**
 * How the elements of a storage are represented. Tensors that people see are 'float32'; 'float64' serves gradient checks.
 * Types of weights at rest, such as 'bfloat16', belong here, with their size below.
 */
export type ElementType = 'float32' | 'float64';

/** The bytes of one element. */
export const BYTES_PER_ELEMENT: { readonly [T in ElementType]: number } = { float32: 4, float64: 8 };

/** More references than there can be: what a storage gets that code outside the library can reach. */
export const ESCAPED = 2 ** 28;

let lastId = 0;

/** The number of the storage that was made last. */
export function newestId(): number {
  return lastId;
}

/** Numbers that belong to one backend; what every backend's storage has. */
export abstract class Storage {
  abstract readonly backend: Backend;
  /** The number of elements. */
  abstract readonly size: number;
  readonly type: ElementType = 'float32';
  /** Counts the changes in place, so that autograd can tell that a saved value is no longer what it was. */
  version = 0;
  /** How many retain it, as far as the library counts them; see lifetime.ts. */
  references = 0;
  /** How many tensors have been made on it. */
  tensors = 0;
  /** Storages made later have higher numbers. */
  readonly id = ++lastId;
}
