import { describe } from '../../errors.js';
import { sizeOf } from '../../shape.js';
import { refuse } from '../errors.js';
import type { Signature } from './tensors.js';

// The numbers of requests: reading them from bytes and from JSON, and checking that they are finite.

/** A view of the numbers, or a copy if they are not aligned; little-endian like all machines that run Node. */
export function floats(bytes: Uint8Array, allocator: Allocator): Float32Array {
  if (bytes.byteOffset % 4 === 0) return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const values = allocator.take(bytes.length / 4);
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength).set(bytes);
  return values;
}

/** Allocates memory for the numbers of requests. */
export interface Allocator {
  /** Returns memory for `size` numbers, valid until the allocator is cleared. */
  take(size: number): Float32Array;
}

/** Allocates garbage-collected memory. */
export const heapAllocator: Allocator = { take: (size) => new Float32Array(size) };

/** The numbers of JSON data, flat or nested as in the shape. */
export function flatten(
  data: unknown[],
  shape: readonly number[],
  signature: Pick<Signature, 'allowsMissing'>,
  allocator: Allocator,
): Float32Array {
  const size = sizeOf(shape);
  const nested = Array.isArray(data[0]);
  const want = nested ? shape[0] : size;
  if (data.length !== want)
    refuse(
      `data has ${data.length} ${nested ? 'rows' : 'numbers'}, shape [${shape.join(', ')}] has ${want}`,
      'send the numbers flat in row-major order, or nested as in the shape',
    );
  // Before memory is reserved for what the shape claims.
  if (nested) checkNesting(data, shape, 1);
  const out = allocator.take(size);
  if (nested) fillNested(out, 0, data, shape, 0, signature);
  else fill(out, 0, data, signature);
  return out;
}

function checkNesting(data: readonly unknown[], shape: readonly number[], depth: number): void {
  if (depth === shape.length) return;
  data.forEach((row, i) => {
    if (!Array.isArray(row) || row.length !== shape[depth])
      refuse(`row ${i} has ${Array.isArray(row) ? row.length : 'no'} numbers`, `each row has ${shape[depth]}`);
    checkNesting(row, shape, depth + 1);
  });
}

function fillNested(
  out: Float32Array,
  at: number,
  data: readonly unknown[],
  shape: readonly number[],
  depth: number,
  signature: Pick<Signature, 'allowsMissing'>,
): void {
  if (depth === shape.length - 1) {
    fill(out, at, data, signature);
    return;
  }
  const step = sizeOf(shape.slice(depth + 1));
  data.forEach((row, i) => {
    fillNested(out, at + i * step, row as unknown[], shape, depth + 1, signature);
  });
}

/** Copies numbers, and requires that they are finite in float32; null is a missing value where allowed. */
export function fill(
  out: Float32Array,
  at: number,
  numbers: readonly unknown[],
  { allowsMissing }: Pick<Signature, 'allowsMissing'>,
): void {
  for (let i = 0; i < numbers.length; i++) {
    const v = numbers[i];
    if (typeof v === 'number') {
      const f = Math.fround(v);
      out[at + i] = f;
      if (f - f === 0) continue;
    } else if (v === null && allowsMissing) {
      out[at + i] = NaN;
      continue;
    }
    refuse(
      `number ${at + i} is ${describe(v)}`,
      allowsMissing ? 'send finite numbers, and null for missing values' : 'send finite numbers that float32 can hold',
    );
  }
}

/** @throws RequestError naming the first value that is neither finite nor an allowed missing value */
export function checkValues(
  values: Float32Array,
  features: number,
  { allowsMissing }: Pick<Signature, 'allowsMissing'>,
): void {
  if (allFinite(values)) return;
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (v - v !== 0 && !(allowsMissing && Number.isNaN(v)))
      refuse(`feature ${i % features} of row ${Math.floor(i / features)} is ${v}`, 'send finite numbers');
  }
}

/** The lowest bit of the exponent: added to an exponent of all ones (Infinity, NaN), it carries into the sign bit. */
const CARRY = 0x0080_0000;

/** Whether no value is NaN or infinite. Four accumulators allow instruction-level parallelism. */
export function allFinite(values: Float32Array): boolean {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  let [a, b, c, d] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 4 <= bits.length; i += 4) {
    a |= (bits[i] & 0x7fff_ffff) + CARRY;
    b |= (bits[i + 1] & 0x7fff_ffff) + CARRY;
    c |= (bits[i + 2] & 0x7fff_ffff) + CARRY;
    d |= (bits[i + 3] & 0x7fff_ffff) + CARRY;
  }
  for (; i < bits.length; i++) a |= (bits[i] & 0x7fff_ffff) + CARRY;
  return (a | b | c | d) >= 0;
}
