import type { Backend } from './backend.js';

/**
 * The element type of a storage. Public tensors are 'float32'; 'float64' is for gradient checks. Types for stored weights,
 * such as 'bfloat16', would be added here, with their size below.
 */
export type ElementType = 'float32' | 'float64';

/** The bytes of one element. */
export const BYTES_PER_ELEMENT: { readonly [T in ElementType]: number } = { float32: 4, float64: 8 };

/** More references than can occur: the count of a storage to which code outside the library may have a reference. */
export const ESCAPED = 2 ** 28;

let lastId = 0;

/** The serial number of the last storage. */
export function newestId(): number {
  return lastId;
}

/** The base class of the storages of all backends. */
export abstract class Storage {
  abstract readonly backend: Backend;
  /** The number of elements. */
  abstract readonly size: number;
  /** The number of changes in place, by which autograd detects that a saved value has changed. */
  version = 0;
  /** The number of references that the library counts; see lifetime.ts. */
  references = 0;
  /** How many tensors have been made on it. */
  tensors = 0;
  /** Serial numbers ascend in the order in which storages are made. */
  readonly id = ++lastId;

  get type(): ElementType {
    return 'float32';
  }
}
