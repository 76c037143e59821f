import type { Backend, Device } from './backends/backend.js';
import { backendOf, currentBackend } from './backends/registry.js';
import { checkInteger, checkNumber, checkOptions, describe, fail, show } from './errors.js';
import { Layout } from './layout.js';
import { generator } from './random.js';
import { checkShape, sizeOf } from './shape.js';
import { type NestedArray, Tensor, type TensorJSON } from './tensor.js';

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
export type TensorValues = NestedArray | readonly NestedArrayLike[] | TypedArray | TensorJSON;
/** Numbers in nested arrays that are only read. */
export type NestedArrayLike = number | readonly NestedArrayLike[];

export interface TensorOptions {
  /** Whether backward computes a gradient for it. Default false. */
  requiresGrad?: boolean;
  /** Where it lives. Default: what useDevice chose, 'cpu' at first. */
  device?: Device;
}

const OPTIONS = ['requiresGrad', 'device'] as const;
/** Deeper arrays are taken for a mistake: an array that contains itself has no end. */
const MAX_DEPTH = 64;

/** Checks what the functions that take a shape and options are given. */
function checkArguments(op: string, shape: unknown, options: unknown): readonly number[] {
  if (typeof shape === 'number') {
    const dims = typeof options === 'number' ? [shape, options] : [shape];
    fail(op, `shape is the number ${shape}`, `pass the dimensions in one array, as in ${op}(${show(dims)})`);
  }
  const dims = checkShape(op, shape);
  checkOptions(op, options as object, OPTIONS);
  return dims;
}

function checkLike(op: string, x: unknown): Tensor {
  if (!(x instanceof Tensor))
    fail(op, `the argument is ${describe(x)}`, 'pass a tensor, whose shape and device the result shall have');
  return x;
}

function make(
  op: string,
  shape: readonly number[],
  options: TensorOptions,
  storage: (backend: Backend) => Tensor['storage'],
): Tensor {
  const backend = options.device === undefined ? currentBackend() : backendOf(options.device);
  const result = new Tensor(Layout.rowMajor(shape), storage(backend));
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
 * @param values a number, nested arrays of one depth and length per dimension, a typed array (one dimension unless `shape` is given), or what `toJSON` made of a tensor
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
  } else if (isJSON(values)) {
    flat = values.data.map((v, i) => {
      if (typeof v !== 'number' && !SPELLED.includes(v))
        fail('tensor', `data[${i}] is ${describe(v)}`, 'pass numbers, or what toJSON() gave');
      return Number(v);
    });
    found.push(...checkShape('tensor', values.shape));
  } else {
    flat = flatten(values as NestedArrayLike, found);
  }
  const shape = checkShape('tensor', options.shape === undefined ? found : options.shape);
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

/** What to do with a value that is no number. */
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

/** A tensor of zeros. @throws TapegradError for a shape that is none @example zeros([2, 3]) */
export function zeros(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return filled('zeros', checkArguments('zeros', shape, options), 0, options);
}

/** A tensor of ones. @throws TapegradError for a shape that is none @example ones([2, 3]) */
export function ones(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return filled('ones', checkArguments('ones', shape, options), 1, options);
}

/** A tensor of one repeated value. @throws TapegradError for a shape or value that is none @example full([2, 3], 7) */
export function full(shape: readonly number[], value: number, options: TensorOptions = {}): Tensor {
  const dims = checkArguments('full', shape, options);
  if (typeof value !== 'number') fail('full', `value is ${describe(value)}`, 'pass a number');
  return filled('full', dims, value, options);
}

function filled(op: string, dims: readonly number[], value: number, options: TensorOptions): Tensor {
  return make(op, dims, options, (backend) => backend.fill(sizeOf(dims), value));
}

/** The options of a tensor like x: on the device of x unless another is named. */
function optionsLike(op: string, x: Tensor, options: TensorOptions): TensorOptions {
  checkOptions(op, options, OPTIONS);
  return options.device === undefined ? { ...options, device: x.device } : options;
}

/** Zeros of the shape and on the device of x. As torch.zeros_like. @throws TapegradError if x is no tensor @example zerosLike(weight) */
export function zerosLike(x: Tensor, options: TensorOptions = {}): Tensor {
  const { shape } = checkLike('zerosLike', x);
  return filled('zerosLike', shape, 0, optionsLike('zerosLike', x, options));
}

/** Ones of the shape and on the device of x. As torch.ones_like. @throws TapegradError if x is no tensor @example onesLike(weight) */
export function onesLike(x: Tensor, options: TensorOptions = {}): Tensor {
  const { shape } = checkLike('onesLike', x);
  return filled('onesLike', shape, 1, optionsLike('onesLike', x, options));
}

/** Numbers uniform in [0, 1), of the shape and on the device of x. As torch.rand_like. @throws TapegradError if x is no tensor @example randLike(weight) */
export function randLike(x: Tensor, options: TensorOptions = {}): Tensor {
  const { shape } = checkLike('randLike', x);
  return drawn('randLike', shape, optionsLike('randLike', x, options), 'uniform');
}

/** The matrix [n, m] with 1 on its diagonal and 0 elsewhere; m is n by default. As torch.eye. @throws TapegradError for sizes that are none @example eye(3) */
export function eye(n: number, m: number = n, options: TensorOptions = {}): Tensor {
  checkInteger('eye', 'n', n);
  checkInteger('eye', 'm', m);
  checkOptions('eye', options, OPTIONS);
  const shape = checkShape('eye', [n, m]);
  return make('eye', shape, options, (backend) => {
    const values = new Float32Array(n * m);
    for (let i = 0; i < Math.min(n, m); i++) values[i * m + i] = 1;
    return backend.upload(values);
  });
}

/**
 * `steps` numbers at equal distances from start to end, both included. Shape [steps]. As torch.linspace.
 * @throws TapegradError for bounds that are not finite, or less than one step
 * @example linspace(0, 1, 5) // 0, 0.25, 0.5, 0.75, 1
 */
export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  checkNumber('linspace', 'start', start);
  checkNumber('linspace', 'end', end);
  checkInteger('linspace', 'steps', steps);
  checkOptions('linspace', options, OPTIONS);
  const shape = checkShape('linspace', [steps]);
  const last = steps - 1;
  const step = last === 0 ? 0 : end / last - start / last;
  // Counted from the nearer end, so that both ends are exact.
  const at = (i: number) => (i < steps / 2 ? start + i * step : end - (last - i) * step);
  return make('linspace', shape, options, (backend) =>
    backend.upload(Float64Array.from({ length: steps }, (_, i) => at(i))),
  );
}

/**
 * Evenly spaced numbers from start (0 if only one number is given) up to, but not including, end. Shape [n].
 * @throws TapegradError for a step of 0, one that leads away from the end, or numbers that float32 cannot tell apart
 * @example arange(3) // 0, 1, 2
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
  return make('arange', shape, options, (backend) => {
    if (backend.type === 'float32') checkDistinct(from, from + (n - 1) * step, step);
    return backend.upload(Float64Array.from({ length: n }, (_, i) => from + i * step));
  });
}

/** Refuses a range that float32 would repeat numbers of, or whose whole numbers it would change. */
function checkDistinct(from: number, last: number, step: number): void {
  const far = Math.max(Math.abs(from), Math.abs(last));
  const gap = 2 ** (Math.ceil(Math.log2(far)) - 24); // between the float32 numbers just below it
  // Where the two last whole numbers are exact, so are all that are nearer to 0.
  const ends = from === last ? [from] : [from, from + step, last - step, last];
  const whole = Number.isInteger(from) && Number.isInteger(step);
  if (whole ? ends.every((v) => Math.fround(v) === v) : Math.abs(step) >= gap) return;
  fail(
    'arange',
    `from ${from} to ${last} in steps of ${step} there are numbers that float32 cannot tell apart or must round`,
    `keep integers within ±${2 ** 24}, or take larger steps`,
  );
}

function drawn(op: string, dims: readonly number[], options: TensorOptions, how: 'uniform' | 'normal'): Tensor {
  return make(op, dims, options, (backend) => backend.upload(generator[how](new Float32Array(sizeOf(dims)))));
}

/** Numbers uniform in [0, 1) from the global random stream. @throws TapegradError for a shape that is none @example rand([2, 3]) */
export function rand(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return drawn('rand', checkArguments('rand', shape, options), options, 'uniform');
}

/** Standard normal numbers from the global random stream. @throws TapegradError for a shape that is none @example randn([2, 3]) */
export function randn(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return drawn('randn', checkArguments('randn', shape, options), options, 'normal');
}
