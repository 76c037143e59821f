import { describe, fail } from './errors.js';
import { checkShape } from './shape.js';
import { type NestedArray, Tensor, type TensorJSON } from './tensor.js';

/** The typed arrays whose elements are numbers, not bigints. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint8ClampedArray
  | Uint16Array
  | Uint32Array;

/** The values that `tensor` accepts. */
export type TensorValues = NestedArray | readonly NestedArrayLike[] | TypedArray | TensorJSON;
/** Numbers in nested, read-only arrays. */
export type NestedArrayLike = number | readonly NestedArrayLike[];

/** Deeper arrays are refused: an array that contains itself has infinite depth. */
const MAX_DEPTH = 64;

/** The numbers of the argument of `tensor` in row-major order, and the shape that it implies. */
export function valuesOf(values: TensorValues): { flat: ArrayLike<number>; found: number[] } {
  const found: number[] = [];
  let flat: ArrayLike<number>;
  if (ArrayBuffer.isView(values) && !(values instanceof DataView)) {
    flat = values as TypedArray;
    if (typeof flat[0] === 'bigint')
      fail(
        'tensor',
        `values are a ${values.constructor.name}`,
        'convert the numbers with Float64Array.from(values, Number)',
      );
    found.push(flat.length);
  } else if (isJSON(values)) {
    flat = values.data.map((v, i) => {
      if (typeof v !== 'number' && !SPELLED.includes(v))
        fail('tensor', `data[${i}] is ${describe(v)}`, 'pass numbers, or the result of toJSON()');
      return Number(v);
    });
    found.push(...checkShape('tensor', values.shape));
  } else {
    flat = flatten(values as NestedArrayLike, found);
  }
  return { flat, found };
}

/** The numbers that JSON cannot write, as `toJSON` spells them. */
const SPELLED = ['NaN', 'Infinity', '-Infinity'];

function isJSON(values: unknown): values is TensorJSON {
  if (typeof values !== 'object' || values === null || values instanceof Tensor) return false;
  const { shape, data } = values as Partial<TensorJSON>;
  return Array.isArray(shape) && Array.isArray(data);
}

function isTyped(values: unknown): values is TypedArray {
  return ArrayBuffer.isView(values) && !(values instanceof DataView);
}

/** The numbers of nested arrays in order; writes their shape to `shape`. */
function flatten(values: unknown, shape: number[]): number[] {
  for (let v = values; Array.isArray(v); v = v[0]) {
    if (shape.length === MAX_DEPTH) {
      const remedy = 'pass arrays as deep as the tensor has dimensions, which do not contain themselves';
      fail('tensor', `values are nested more than ${MAX_DEPTH} deep`, remedy);
    }
    shape.push(v.length);
  }
  const flat: number[] = [];
  const visit = (v: unknown, depth: number, path: string): void => {
    if (depth < shape.length) {
      if (!Array.isArray(v) && !isTyped(v))
        fail(
          'tensor',
          `values${path} is ${describe(v)} where an array of ${shape[depth]} is expected`,
          'every row must have the same length and depth',
        );
      const row = v as ArrayLike<unknown>;
      if (row.length !== shape[depth])
        fail(
          'tensor',
          `values${path} has ${row.length} entries where ${shape[depth]} are expected`,
          'every row must have the same length and depth',
        );
      for (let i = 0; i < row.length; i++) visit(row[i], depth + 1, `${path}[${i}]`);
    } else if (typeof v === 'number') {
      flat.push(v);
    } else if (isTyped(v) && flat.length === 0) {
      shape.push(v.length); // rows that are typed arrays are the last dimension
      visit(v, depth, path);
    } else {
      fail('tensor', `values${path} is ${describe(v)}`, remedyFor(v, path));
    }
  };
  visit(values, 0, '');
  return flat;
}

/** The remedy for a value that is not a number. */
function remedyFor(value: unknown, path: string): string {
  if (Array.isArray(value)) return 'every row must have the same length and depth';
  if (value instanceof Tensor) {
    return path === ''
      ? 'use x.clone() for a copy, x.detach() for one without a history, or x.to(device)'
      : 'read its numbers first, with await x.toArray()';
  }
  if (typeof value === 'bigint') return 'convert it with Number(value)';
  if (typeof value === 'object' && value !== null && Symbol.iterator in value)
    return 'pass numbers in an array, such as Array.from(values)';
  return 'pass numbers';
}
