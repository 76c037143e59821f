import type { Backend, Device } from './backends/backend.js';
import { backendOf, currentBackend } from './backends/registry.js';
import { checkBoolean, checkInteger, checkNumber, checkOptions, describe, fail, show } from './errors.js';
import { Layout } from './layout.js';
// Not from tensor.js: this import keeps the methods of tensors in every bundle that makes tensors.
import { Tensor } from './methods.js';
import { generator } from './random.js';
import { checkShape, sizeOf } from './shape.js';
import { type TensorValues, valuesOf } from './values.js';

export type { NestedArrayLike, TensorValues, TypedArray } from './values.js';

/** Options of the functions that make tensors. */
export interface TensorOptions {
  /** Whether backward computes a gradient for the tensor. Default false. */
  requiresGrad?: boolean;
  /** The device. Default: the one that useDevice selected, initially 'cpu'. */
  device?: Device;
}

const OPTIONS = ['requiresGrad', 'device'] as const;
/** Checks the arguments of functions of a shape and options, and returns the shape. */
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
    fail(op, `the argument is ${describe(x)}`, 'pass a tensor; the result gets its shape and device');
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
    result.requiresGrad = checkBoolean(op, 'requiresGrad', options.requiresGrad);
  }
  return result;
}

/**
 * A tensor of the given numbers, rounded to float32. As [torch.tensor](https://docs.pytorch.org/docs/stable/generated/torch.tensor.html).
 *
 * @param values a number, nested arrays of one depth and length per dimension, a typed array (one dimension unless `shape` is
 *   given), or the result of `Tensor.toJSON`
 * @param options `requiresGrad`, `device`, and `shape`: the dimensions, whose product must be the number of values
 * @returns a leaf
 * @throws TapegradError for ragged arrays, values that are not numbers, or a shape of another size
 * @example
 * ```ts
 * import { tensor } from 'tapegrad';
 *
 * console.log(tensor([[1, 2, 3], [4, 5, 6]]).shape); // [2, 3]
 * console.log(tensor(new Uint8Array(6), { shape: [3, 2] }).shape); // [3, 2]
 * ```
 */
export function tensor(values: TensorValues, options: TensorOptions & { shape?: readonly number[] } = {}): Tensor {
  checkOptions('tensor', options, ['shape', ...OPTIONS]);
  const { flat, found } = valuesOf(values);
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

/**
 * A tensor of zeros. As [torch.zeros](https://docs.pytorch.org/docs/stable/generated/torch.zeros.html).
 * @param shape the dimensions, integers of at least 0; [] for a scalar
 * @param options `requiresGrad` and `device`
 * @returns a leaf of that shape
 * @throws TapegradError for an invalid shape, and for unknown options
 * @example
 * ```ts
 * import { zeros } from 'tapegrad';
 *
 * const weight = zeros([2, 3], { requiresGrad: true });
 * ```
 */
export function zeros(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return filled('zeros', checkArguments('zeros', shape, options), 0, options);
}

/**
 * A tensor of ones. As [torch.ones](https://docs.pytorch.org/docs/stable/generated/torch.ones.html).
 * @param shape the dimensions, integers of at least 0; [] for a scalar
 * @param options `requiresGrad` and `device`
 * @returns a leaf of that shape
 * @throws TapegradError for an invalid shape, and for unknown options
 * @example
 * ```ts
 * import { ones } from 'tapegrad';
 *
 * console.log(String(ones([2, 3])));
 * ```
 */
export function ones(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return filled('ones', checkArguments('ones', shape, options), 1, options);
}

/**
 * A tensor whose elements all have one value. As [torch.full](https://docs.pytorch.org/docs/stable/generated/torch.full.html).
 * @param shape the dimensions, integers of at least 0; [] for a scalar
 * @param value the value, rounded to float32
 * @param options `requiresGrad` and `device`
 * @returns a leaf of that shape
 * @throws TapegradError for an invalid shape, a value that is not a number, and unknown options
 * @example
 * ```ts
 * import { full } from 'tapegrad';
 *
 * console.log(full([2, 2], 7).toArraySync()); // [[7, 7], [7, 7]]
 * ```
 */
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

/**
 * Zeros of the shape and on the device of x. As [torch.zeros_like](https://docs.pytorch.org/docs/stable/generated/torch.zeros_like.html).
 * @param x the tensor whose shape and device the result gets
 * @param options `requiresGrad`, and `device` for another one
 * @returns a leaf of the shape of x
 * @throws TapegradError if x is not a tensor, and for unknown options
 * @example
 * ```ts
 * import { zerosLike, randn } from 'tapegrad';
 *
 * console.log(zerosLike(randn([2, 3])).shape); // [2, 3]
 * ```
 */
export function zerosLike(x: Tensor, options: TensorOptions = {}): Tensor {
  const { shape } = checkLike('zerosLike', x);
  return filled('zerosLike', shape, 0, optionsLike('zerosLike', x, options));
}

/**
 * Ones of the shape and on the device of x. As [torch.ones_like](https://docs.pytorch.org/docs/stable/generated/torch.ones_like.html).
 * @param x the tensor whose shape and device the result gets
 * @param options `requiresGrad`, and `device` for another one
 * @returns a leaf of the shape of x
 * @throws TapegradError if x is not a tensor, and for unknown options
 * @example
 * ```ts
 * import { onesLike, randn } from 'tapegrad';
 *
 * console.log(onesLike(randn([2, 3])).shape); // [2, 3]
 * ```
 */
export function onesLike(x: Tensor, options: TensorOptions = {}): Tensor {
  const { shape } = checkLike('onesLike', x);
  return filled('onesLike', shape, 1, optionsLike('onesLike', x, options));
}

/**
 * Numbers uniform in [0, 1) from the global random stream, of the shape and on the device of x. As [torch.rand_like](https://docs.pytorch.org/docs/stable/generated/torch.rand_like.html).
 * @param x the tensor whose shape and device the result gets
 * @param options `requiresGrad`, and `device` for another one
 * @returns a leaf of the shape of x
 * @throws TapegradError if x is not a tensor, and for unknown options
 * @example
 * ```ts
 * import { randLike, randn } from 'tapegrad';
 *
 * console.log(randLike(randn([2, 3])).shape); // [2, 3]
 * ```
 */
export function randLike(x: Tensor, options: TensorOptions = {}): Tensor {
  const { shape } = checkLike('randLike', x);
  return drawn('randLike', shape, optionsLike('randLike', x, options), 'uniform');
}

/**
 * The matrix [n, m] with 1 on its diagonal and 0 elsewhere. As [torch.eye](https://docs.pytorch.org/docs/stable/generated/torch.eye.html).
 * @param n the number of rows, at least 1
 * @param m the number of columns, at least 1; n by default
 * @param options `requiresGrad` and `device`
 * @returns a leaf of shape [n, m]
 * @throws TapegradError for sizes that are not integers of at least 1, and for unknown options
 * @example
 * ```ts
 * import { eye } from 'tapegrad';
 *
 * console.log(eye(2).toArraySync()); // [[1, 0], [0, 1]]
 * ```
 */
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
 * Evenly spaced numbers from start to end, both included. As
 * [torch.linspace](https://docs.pytorch.org/docs/stable/generated/torch.linspace.html).
 * @param start the first number
 * @param end the last number
 * @param steps how many numbers, at least 1
 * @param options `requiresGrad` and `device`
 * @returns a leaf of shape [steps]
 * @throws TapegradError for bounds that are not finite, less than one step, and unknown options
 * @example
 * ```ts
 * import { linspace } from 'tapegrad';
 *
 * console.log(linspace(0, 1, 5).toArraySync()); // [0, 0.25, 0.5, 0.75, 1]
 * ```
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
 * Evenly spaced numbers from start up to, but not including, end. As
 * [torch.arange](https://docs.pytorch.org/docs/stable/generated/torch.arange.html).
 * @param start the first number; with only one argument it is the end, and the first number is 0
 * @param end the bound, which is not included
 * @param step the difference of consecutive numbers; default 1
 * @param options `requiresGrad` and `device`
 * @returns a leaf of shape [n], where n = ⌈(end - start) / step⌉
 * @throws TapegradError for a step of 0, a step of the wrong sign, numbers that are not distinct in float32, integers that
 *   float32 would round, and unknown options
 * @example
 * ```ts
 * import { arange } from 'tapegrad';
 *
 * console.log(arange(3).toArraySync()); // [0, 1, 2]
 * console.log(arange(1, 2, 0.25).toArraySync()); // [1, 1.25, 1.5, 1.75]
 * ```
 */
export function arange(start: number, end?: number, step = 1, options: TensorOptions = {}): Tensor {
  checkOptions('arange', options, OPTIONS);
  const from = end === undefined ? 0 : checkNumber('arange', 'start', start);
  const to = checkNumber('arange', 'end', end ?? start);
  const n = Math.ceil((to - from) / checkNumber('arange', 'step', step));
  if (step === 0 || !(n >= 1))
    fail(
      'arange',
      `there are no numbers from ${from} to ${to} in steps of ${step}`,
      'pass a step with the sign of end - start',
    );
  const shape = checkShape('arange', [n]);
  return make('arange', shape, options, (backend) => {
    if (backend.type === 'float32') checkDistinct(from, from + (n - 1) * step, step);
    return backend.upload(Float64Array.from({ length: n }, (_, i) => from + i * step));
  });
}

/** Throws for a range with numbers that are equal in float32, and for a range of integers that float32 would round. */
function checkDistinct(from: number, last: number, step: number): void {
  const far = Math.max(Math.abs(from), Math.abs(last));
  const gap = 2 ** (Math.ceil(Math.log2(far)) - 24); // between the float32 numbers just below it
  // If the last two integers are exact, so are all that are closer to 0.
  const ends = from === last ? [from] : [from, from + step, last - step, last];
  const integers = Number.isInteger(from) && Number.isInteger(step);
  if (integers ? ends.every((v) => Math.fround(v) === v) : Math.abs(step) >= gap) return;
  fail(
    'arange',
    `from ${from} to ${last} in steps of ${step} there are numbers that are equal in float32 or rounded by it`,
    `keep integers within ±${2 ** 24}, or take larger steps`,
  );
}

function drawn(op: string, dims: readonly number[], options: TensorOptions, how: 'uniform' | 'normal'): Tensor {
  return make(op, dims, options, (backend) => backend.upload(generator[how](new Float32Array(sizeOf(dims)))));
}

/**
 * Numbers uniform in [0, 1) from the global random stream. As [torch.rand](https://docs.pytorch.org/docs/stable/generated/torch.rand.html).
 * @param shape the dimensions, integers of at least 0; [] for a scalar
 * @param options `requiresGrad` and `device`
 * @returns a leaf of that shape
 * @throws TapegradError for an invalid shape, and for unknown options
 * @example
 * ```ts
 * import { manualSeed, rand } from 'tapegrad';
 *
 * manualSeed(1);
 * console.log(String(rand([2, 3])));
 * ```
 */
export function rand(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return drawn('rand', checkArguments('rand', shape, options), options, 'uniform');
}

/**
 * Numbers of the standard normal distribution from the global random stream. As
 * [torch.randn](https://docs.pytorch.org/docs/stable/generated/torch.randn.html).
 * @param shape the dimensions, integers of at least 0; [] for a scalar
 * @param options `requiresGrad` and `device`
 * @returns a leaf of that shape
 * @throws TapegradError for an invalid shape, and for unknown options
 * @example
 * ```ts
 * import { manualSeed, randn } from 'tapegrad';
 *
 * manualSeed(1);
 * console.log(String(randn([2, 3])));
 * ```
 */
export function randn(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return drawn('randn', checkArguments('randn', shape, options), options, 'normal');
}

/**
 * A random order of 0 … n - 1, from the global random stream. As
 * [torch.randperm](https://docs.pytorch.org/docs/stable/generated/torch.randperm.html).
 * @param n how many, at least 0 and at most 2^24, beyond which float32 does not represent every integer
 * @param options `requiresGrad` and `device`
 * @returns a leaf of shape [n]
 * @throws TapegradError for another n, and for unknown options
 * @example
 * ```ts
 * import { manualSeed, randperm } from 'tapegrad';
 *
 * manualSeed(1);
 * console.log(randperm(5).toArraySync());
 * ```
 */
export function randperm(n: number, options: TensorOptions = {}): Tensor {
  checkOptions('randperm', options, OPTIONS);
  if (checkInteger('randperm', 'n', n, 0) > 2 ** 24)
    fail('randperm', `n is ${n}`, `keep integers within ${2 ** 24}, which float32 represents`);
  return make('randperm', [n], options, (backend) => backend.upload(generator.permutation(n)));
}
