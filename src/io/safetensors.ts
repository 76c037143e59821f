import { tensor } from '../create.js';
import { describe, fail } from '../errors.js';
import { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import { sizeOf } from '../shape.js';
import { decoders, fits } from './dtypes.js';

// The safetensors format (https://github.com/huggingface/safetensors): the header's length as a little-endian u64, the
// header as JSON padded with spaces, then the tensors' bytes without holes or overlap.

const MAX_HEADER = 100_000_000;
const OP = 'safetensors';

interface Entry {
  dtype: string;
  shape: number[];
  begin: number;
  end: number;
}

/**
 * Serializes tensors in the [safetensors](https://github.com/huggingface/safetensors) format, as F32.
 *
 * @param state tensors by name, such as `model.stateDict()`, on any device
 * @param metadata strings by name, stored under `__metadata__`
 * @returns the bytes of a safetensors file
 * @throws TapegradError if `state` is not an object of tensors, a tensor is named `__metadata__`, or a value of `metadata` is
 *   not a string
 * @example
 * ```ts
 * import { tensor } from 'tapegrad';
 * import { fromSafetensors, toSafetensors } from 'tapegrad/io';
 *
 * const bytes = await toSafetensors({ weight: tensor([1, 2]) }, { author: 'me' });
 * console.log(fromSafetensors(bytes).metadata); // { author: 'me' }
 * ```
 */
export async function toSafetensors(state: StateDict, metadata: Record<string, string> = {}): Promise<Uint8Array> {
  checkState('toSafetensors', state);
  const names = Object.keys(state);
  // Reads all tensors at once: a training step between two reads would mix the values of two steps.
  const numbers = Promise.all(names.map((name) => (state[name] instanceof Tensor ? state[name].data() : null)));
  numbers.catch(() => {}); // awaited below unless an error is thrown first
  const header: [string, unknown][] = [];
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string')
      fail(
        'toSafetensors',
        `metadata.${key} is ${describe(value)}`,
        'pass strings by name; use JSON.stringify for other values',
      );
  }
  if (Object.keys(metadata).length > 0) header.push(['__metadata__', metadata]);
  let offset = 0;
  for (const name of names) {
    const t: unknown = state[name];
    if (!(t instanceof Tensor))
      fail(
        'toSafetensors',
        `'${name}' is ${describe(t)}`,
        'pass an object of tensors by name, such as model.stateDict()',
      );
    if (name === '__metadata__')
      fail('toSafetensors', "a tensor is named '__metadata__'", 'the format reserves this name; choose another');
    header.push([name, { dtype: 'F32', shape: t.shape, data_offsets: [offset, offset + t.size * 4] }]);
    offset += t.size * 4;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length + offset);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(length), true);
  bytes.fill(0x20, 8, 8 + length);
  bytes.set(json, 8);
  let at = 8 + length;
  for (const values of await numbers) {
    for (const v of values!) {
      view.setFloat32(at, v, true);
      at += 4;
    }
  }
  return bytes;
}

/** Requires an object of tensors by name. @internal */
export function checkState(op: string, state: unknown): void {
  const plain = typeof state === 'object' && state !== null && !Array.isArray(state);
  if (plain && !(state instanceof Map) && !(state instanceof Promise)) return;
  const remedy =
    state instanceof Map
      ? 'use Object.fromEntries(map)'
      : state instanceof Promise
        ? 'await it first'
        : 'pass an object of tensors by name, such as model.stateDict()';
  fail(op, `the state is ${describe(state)}`, remedy);
}

/**
 * Parses a [safetensors](https://github.com/huggingface/safetensors) file. F32 is read bit for bit; F64, F16, BF16, integers
 * and BOOL are converted to float32.
 *
 * @param bytes the contents of the file
 * @returns tensors and metadata
 * @throws TapegradError for anything but a well-formed file: a header that is truncated, larger than 100 MB or not JSON,
 *   offsets that do not match the shapes, overlap or leave holes, and a number that float32 cannot represent. Sizes are checked
 *   before memory is allocated
 * @example
 * ```ts
 * import { tensor } from 'tapegrad';
 * import { fromSafetensors, toSafetensors } from 'tapegrad/io';
 *
 * const { tensors } = fromSafetensors(await toSafetensors({ weight: tensor([1, 2]) }));
 * console.log(tensors.weight.toArraySync()); // [1, 2]
 * ```
 */
export function fromSafetensors(bytes: Uint8Array): {
  /** The tensors by name, on the CPU. */
  tensors: StateDict;
  /** The strings in `__metadata__` by name. */
  metadata: Record<string, string>;
} {
  if (!(bytes instanceof Uint8Array))
    fail('fromSafetensors', `the argument is ${describe(bytes)}`, 'pass a Uint8Array');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { entries, metadata, start } = readHeader(bytes, view);
  const tensors = entries.map(([name, e]): [string, Tensor] => {
    const values = decode(name, e, view, start + e.begin);
    return [name, tensor(values, { shape: e.shape })];
  });
  return { tensors: Object.fromEntries(tensors), metadata };
}

function readHeader(
  bytes: Uint8Array,
  view: DataView,
): { entries: [string, Entry][]; metadata: Record<string, string>; start: number } {
  if (bytes.length < 8) bad(`the file has ${bytes.length} bytes, less than the 8 of the header's length`);
  const claimed = view.getBigUint64(0, true);
  if (claimed > MAX_HEADER) bad(`the header claims ${claimed} bytes, more than the ${MAX_HEADER} allowed`);
  const length = Number(claimed);
  if (8 + length > bytes.length) bad(`the header claims ${length} bytes in a file of ${bytes.length}`);
  const header = parse(bytes.subarray(8, 8 + length));
  const metadata = checkMetadata(header.__metadata__);
  const entries = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, e]): [string, Entry] => [name, checkEntry(name, e)]);
  let at = 0;
  for (const [name, e] of [...entries].sort((a, b) => a[1].begin - b[1].begin || a[1].end - b[1].end)) {
    if (e.begin !== at)
      bad(`'${name}' begins at byte ${e.begin} where ${at} is expected: tensors overlap or leave a hole`);
    at = e.end;
  }
  if (8 + length + at !== bytes.length)
    bad(`the tensors take ${at} bytes, the file has ${bytes.length - 8 - length} after the header`);
  return { entries, metadata, start: 8 + length };
}

function parse(json: Uint8Array): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (cause) {
    bad(`the header is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    bad(`the header is ${describe(header)}, not an object`);
  return header as Record<string, unknown>;
}

function checkMetadata(metadata: unknown): Record<string, string> {
  if (metadata === undefined) return {};
  if (
    typeof metadata !== 'object' ||
    metadata === null ||
    Array.isArray(metadata) ||
    !Object.values(metadata).every((v) => typeof v === 'string')
  ) {
    bad('__metadata__ is not an object of strings');
  }
  return metadata as Record<string, string>;
}

function checkEntry(name: string, value: unknown): Entry {
  if (typeof value !== 'object' || value === null) bad(`'${name}' is described by ${describe(value)}`);
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  if (typeof dtype !== 'string' || !Object.hasOwn(decoders, dtype))
    bad(`'${name}' has the dtype ${describe(dtype)}; known are ${Object.keys(decoders).join(', ')}`);
  const isSize = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) >= 0;
  if (!Array.isArray(shape) || !shape.every(isSize)) bad(`'${name}' has the shape ${describe(shape)}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    bad(`'${name}' has the data_offsets ${describe(offsets)}`);
  const [begin, end] = offsets;
  const size = sizeOf(shape) * decoders[dtype].bytes;
  if (end - begin !== size)
    bad(`'${name}' is ${dtype} ${describe(shape)}, which takes ${size} bytes, but its offsets span ${end - begin}`);
  return { dtype, shape, begin, end };
}

function decode(name: string, { dtype, shape }: Entry, view: DataView, start: number): Float32Array {
  const decoder = decoders[dtype];
  const { bytes, read } = decoder;
  const out = new Float32Array(sizeOf(shape));
  for (let i = 0; i < out.length; i++) {
    const v = read(view, start + i * bytes);
    out[i] = v;
    if (!fits(decoder, v)) bad(`'${name}' is ${dtype} and contains ${v}, which float32 cannot represent`);
  }
  return out;
}

function bad(problem: string): never {
  fail(OP, problem, 'the file is damaged or not safetensors; get a fresh copy');
}
