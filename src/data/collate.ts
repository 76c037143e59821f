import { tensor } from '../create.js';
import { describe, fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { Tensor } from '../methods.js';
import { sameShape } from '../shape.js';
import type { TypedArray } from '../values.js';

/**
 * What {@link defaultCollate} makes of samples of type `S`: a tensor of tensors, numbers, booleans and typed arrays; an array of
 * strings; and for arrays and objects the same of each field.
 */
export type Collated<S> = S extends Tensor | number | boolean | TypedArray
  ? Tensor
  : S extends string
    ? string[]
    : S extends object
      ? { -readonly [K in keyof S]: Collated<S[K]> }
      : unknown;

/**
 * Makes a batch of samples. Tensors and typed arrays of one shape [..] are stacked to a tensor [n, ..], numbers and booleans
 * (as 0 and 1) become a tensor [n], strings an array, and arrays and plain objects are collated field by field. As
 * [torch.utils.data.default_collate](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.default_collate); tensors are float32,
 * and the batch has no history: no gradient flows to the samples.
 *
 * @typeParam S the type of one sample
 * @param samples at least one sample, all of one structure
 * @returns the batch. Tensors are on the device of the samples' tensors, or else on the default device
 * @throws TapegradError for no samples, for samples of different structures, shapes or devices, and for values of other types
 * @example
 * ```ts
 * import { data, tensor } from 'tapegrad';
 *
 * const { x, name } = data.defaultCollate([
 *   { x: tensor([1, 2]), name: 'a' },
 *   { x: tensor([3, 4]), name: 'b' },
 * ]);
 * console.log(x.shape, name); // [2, 2] ['a', 'b']
 * ```
 */
export function defaultCollate<S>(samples: readonly S[]): Collated<S> {
  if (!Array.isArray(samples) || samples.length === 0)
    fail('defaultCollate', `the samples are ${describe(samples)}`, 'pass an array of at least one sample');
  return collate('defaultCollate', samples, (i) => `samples[${i}]`) as Collated<S>;
}

const REMEDY =
  'give all samples the same structure, or pass the option collate, a function that makes a batch of samples';

/** The batch of at least one sample; `name` says which sample an error is about. */
export function collate(op: string, samples: readonly unknown[], name: (i: number) => string): unknown {
  const first = samples[0];
  const kind = kindOf(first);
  const differs = (i: number, one: string, other: string, shapes: readonly (readonly number[])[] = []): never =>
    fail(op, `${name(0)} is ${one}, and ${name(i)} is ${other}`, REMEDY, { shapes });
  samples.forEach((sample, i) => {
    const found = kindOf(sample);
    if (found === null)
      fail(op, `${name(i)} is ${describe(sample)}`, 'return tensors, numbers, strings, or arrays and objects of them, or pass the option collate'); // biome-ignore format: one line
    if (found !== kind) differs(i, describe(first), describe(sample));
  });
  switch (kind) {
    case 'tensor':
      return stack(op, samples as Tensor[], name, differs);
    case 'typed array': {
      const width = (first as TypedArray).length;
      const all = new Float32Array(samples.length * width);
      (samples as TypedArray[]).forEach((values, i) => {
        if (values.length !== width) differs(i, `an array of ${width} numbers`, `an array of ${values.length} numbers`);
        all.set(values, i * width);
      });
      return tensor(all, { shape: [samples.length, width] });
    }
    case 'array': {
      const rows = samples as unknown[][];
      rows.forEach((row, i) => {
        if (row.length !== rows[0].length)
          differs(i, `an array of ${rows[0].length} fields`, `an array of ${row.length} fields`);
      });
      return rows[0].map((_, k) => collate(op, rows.map((row) => row[k]), (i) => `${name(i)}[${k}]`)); // biome-ignore format: one line
    }
    case 'object': {
      const objects = samples as Record<string, unknown>[];
      const keys = Object.keys(objects[0]);
      objects.forEach((object, i) => {
        const own = Object.keys(object);
        if (own.length !== keys.length || !keys.every((key) => Object.hasOwn(object, key)))
          differs(i, `an object with the fields ${describe(keys)}`, `an object with the fields ${describe(own)}`);
      });
      const fields = keys.map((key) => [
        key,
        collate(op, objects.map((object) => object[key]), (i) => `${name(i)}.${key}`),
      ]); // biome-ignore format: pairs
      return Object.fromEntries(fields);
    }
    case 'string':
      return [...samples];
    default:
      return tensor(Float32Array.from(samples as number[]));
  }
}

function kindOf(
  value: unknown,
): 'tensor' | 'typed array' | 'array' | 'object' | 'string' | 'number' | 'boolean' | null {
  if (typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean') {
    return typeof value as 'number' | 'string' | 'boolean';
  }
  if (typeof value !== 'object' || value === null) return null;
  if (value instanceof Tensor) return 'tensor';
  if (Array.isArray(value)) return 'array';
  if (ArrayBuffer.isView(value)) {
    const { BYTES_PER_ELEMENT } = value as Partial<TypedArray>;
    return BYTES_PER_ELEMENT === undefined || value instanceof BigInt64Array || value instanceof BigUint64Array
      ? null
      : 'typed array';
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype ? 'object' : null;
}

function stack(
  op: string,
  tensors: readonly Tensor[],
  name: (i: number) => string,
  differs: (i: number, one: string, other: string, shapes: readonly (readonly number[])[]) => never,
): Tensor {
  const [{ shape, size, device, backend }] = tensors;
  tensors.forEach((t, i) => {
    if (!sameShape(t.shape, shape))
      differs(i, `a tensor of shape ${show(shape)}`, `one of shape ${show(t.shape)}`, [shape, t.shape]);
    if (t.backend !== backend)
      fail(op, `${name(0)} is on '${device}', and ${name(i)} on '${t.device}'`, `move it with .to('${device}')`);
  });
  const layout = Layout.rowMajor([tensors.length, ...shape]);
  const all = new Float32Array(tensors.length * size);
  const onHost = tensors.every((t, i) => {
    const values = t.peek();
    if (values !== null) all.set(values, i * size);
    return values !== null;
  });
  if (onHost) return new Tensor(layout, backend.upload(all));
  // Copied on the device, where reading the numbers would mean waiting.
  const out = new Tensor(layout, backend.fill(all.length, 0));
  tensors.forEach((t, i) => {
    out.select(0, i).copyFrom(t.detach());
  });
  return out;
}
