import type { Backend, Device } from './backends/backend.js';
import { backendOf, currentBackend } from './backends/registry.js';
import { checkNumber, checkOptions, describe, fail, show } from './errors.js';
import { generator } from './random.js';
import { checkShape, sizeOf } from './shape.js';
import { type NestedArray, Tensor } from './tensor.js';

/** The typed arrays whose elements are plain numbers. */
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

/** What a tensor can be made from. */
export type TensorValues = NestedArray | readonly NestedArrayLike[] | TypedArray;
/** Numbers in nested arrays that are only read. */
export type NestedArrayLike = number | readonly NestedArrayLike[];

export interface TensorOptions {
  /** Whether backward computes a gradient for it. Default false. */
  requiresGrad?: boolean;
  /** Where it lives. Default: what useDevice chose, 'cpu' at first. */
  device?: Device;
}

const OPTIONS = ['requiresGrad', 'device'] as const;

function make(
  op: string,
  shape: readonly number[],
  options: TensorOptions,
  storage: (backend: Backend) => Tensor['storage'],
): Tensor {
  const backend = options.device === undefined ? currentBackend() : backendOf(options.device);
  const result = new Tensor(shape, storage(backend));
  if (options.requiresGrad !== undefined) {
    if (typeof options.requiresGrad !== 'boolean')
      fail(op, `requiresGrad is ${describe(options.requiresGrad)}`, 'pass true or false');
    result.requiresGrad = options.requiresGrad;
  }
  return result;
}

/**
 * A tensor of the given numbers, rounded to float32.
 *
 * @param values a number, nested arrays of one depth and length per dimension, or a typed array (one dimension unless `shape` is given)
 * @param options `shape`: the dimensions, whose product must be the number of values
 * @throws TapegradError for ragged or empty arrays, values that are no numbers, or a shape of another size
 */
export function tensor(values: TensorValues, options: TensorOptions & { shape?: readonly number[] } = {}): Tensor {
  checkOptions('tensor', options, ['shape', ...OPTIONS]);
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
  } else {
    flat = flatten(values as NestedArrayLike, found);
  }
  const shape = checkShape('tensor', options.shape ?? found);
  if (sizeOf(shape) !== flat.length) {
    fail(
      'tensor',
      `${flat.length} values for the shape ${show(shape)} of ${sizeOf(shape)} elements`,
      'give as many values as the shape has elements',
      { shapes: [shape] },
    );
  }
  return make('tensor', shape, options, (backend) => backend.upload(flat));
}

/** The numbers of nested arrays in order; writes their shape to `shape`. */
function flatten(values: NestedArrayLike, shape: number[]): number[] {
  for (let v: unknown = values; Array.isArray(v); v = v[0]) shape.push(v.length);
  const flat: number[] = [];
  const visit = (v: unknown, depth: number, path: string): void => {
    if (depth < shape.length) {
      if (!Array.isArray(v) && !ArrayBuffer.isView(v))
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
    } else if (ArrayBuffer.isView(v) && flat.length === 0 && !(v instanceof DataView)) {
      shape.push((v as TypedArray).length); // rows that are typed arrays are the last dimension
      visit(v, depth, path);
    } else {
      fail(
        'tensor',
        `values${path} is ${describe(v)}`,
        Array.isArray(v) ? 'every row must have the same length and depth' : 'pass numbers',
      );
    }
  };
  visit(values, 0, '');
  return flat;
}

/** A tensor of zeros. @throws TapegradError for a shape that is none */
export function zeros(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return full(shape, 0, options);
}

/** A tensor of ones. @throws TapegradError for a shape that is none */
export function ones(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return full(shape, 1, options);
}

/** A tensor of one repeated value. @throws TapegradError for a shape or value that is none */
export function full(shape: readonly number[], value: number, options: TensorOptions = {}): Tensor {
  checkOptions('full', options, OPTIONS);
  const dims = checkShape('full', shape);
  if (typeof value !== 'number') fail('full', `value is ${describe(value)}`, 'pass a number');
  return make('full', dims, options, (backend) => backend.fill(sizeOf(dims), value));
}

/**
 * Evenly spaced numbers from start (0 if only one number is given) up to, but not including, end. Shape [n].
 * @throws TapegradError for a step of 0, or one that leads away from the end
 */
export function arange(start: number, end?: number, step = 1, options: TensorOptions = {}): Tensor {
  checkOptions('arange', options, OPTIONS);
  const from = end === undefined ? 0 : checkNumber('arange', 'start', start);
  const to = checkNumber('arange', 'end', end ?? start);
  const n = Math.ceil((to - from) / checkNumber('arange', 'step', step));
  if (step === 0 || !(n >= 1))
    fail(
      'arange',
      `from ${from} to ${to} in steps of ${step} there are no numbers`,
      'choose a step that leads from start to end',
    );
  const shape = checkShape('arange', [n]);
  return make('arange', shape, options, (backend) =>
    backend.upload(Float64Array.from({ length: n }, (_, i) => from + i * step)),
  );
}

/** Numbers uniform in [0, 1) from the global random stream. @throws TapegradError for a shape that is none */
export function rand(shape: readonly number[], options: TensorOptions = {}): Tensor {
  checkOptions('rand', options, OPTIONS);
  const dims = checkShape('rand', shape);
  return make('rand', dims, options, (backend) => backend.upload(generator.uniform(new Float32Array(sizeOf(dims)))));
}

/** Standard normal numbers from the global random stream. @throws TapegradError for a shape that is none */
export function randn(shape: readonly number[], options: TensorOptions = {}): Tensor {
  checkOptions('randn', options, OPTIONS);
  const dims = checkShape('randn', shape);
  return make('randn', dims, options, (backend) => backend.upload(generator.normal(new Float32Array(sizeOf(dims)))));
}
