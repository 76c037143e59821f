import { tensor } from '../create.js';
import { describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import { sizeOf } from '../shape.js';
import { decoders, fits } from './dtypes.js';

// PyTorch's checkpoints since 1.6: a zip archive without compression, with a pickle (data.pkl) that describes the objects and
// one file for each storage (data/0, data/1 …). A pickle is a program. Here the few globals that rebuild tensors are replaced
// by harmless functions, and every other one is refused by name; nothing in the file is executed.

const OP = 'load';

/** The type names of safetensors for torch's storage classes. */
const STORAGES: Readonly<Record<string, string>> = {
  FloatStorage: 'F32',
  DoubleStorage: 'F64',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  ShortStorage: 'I16',
  IntStorage: 'I32',
  LongStorage: 'I64',
  BoolStorage: 'BOOL',
};

/** The limit on the total size of the tensors, as a multiple of the file size: views can repeat stored values. */
const MAX_EXPANSION = 64;

class StorageType {
  constructor(readonly dtype: string) {}
}

class StoredNumbers {
  constructor(
    readonly dtype: string,
    readonly key: string,
    readonly size: number,
  ) {}
}

class StoredTensor {
  constructor(
    readonly storage: StoredNumbers,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}

/** Whether the first bytes are those of a zip archive. */
export function isZip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4;
}

/** Whether the first bytes are those of a pickle of protocol 2 to 5, as in checkpoints before PyTorch 1.6. */
export function isPickle(bytes: Uint8Array): boolean {
  return bytes[0] === 0x80 && bytes[1] >= 2 && bytes[1] <= 5;
}

/**
 * Reads a checkpoint of torch.save: a dict of tensors, possibly with nested dicts and lists ('model.fc1.weight'). Other number
 * types are converted to float32; values that are not tensors are skipped.
 * @throws TapegradError for globals that do not rebuild tensors, for integers and doubles that float32 cannot represent, and
 *   for files that are not well-formed
 */
export async function fromPth(bytes: Uint8Array): Promise<StateDict> {
  const files = await unzip(bytes);
  const pickle = [...files.keys()].find((name) => name.endsWith('/data.pkl'));
  if (pickle === undefined) bad('the archive does not contain data.pkl');
  const root = pickle.slice(0, -'data.pkl'.length);
  const order = files.get(`${root}byteorder`);
  if (order !== undefined && new TextDecoder().decode(order) !== 'little')
    bad('it was written on a big-endian machine', 'load it there and save it as safetensors');
  const found = collect(await unpickle(files.get(pickle)!));
  if (found.size === 0)
    bad('it does not contain tensors by name', 'save a dict, such as model.state_dict(), with torch.save');
  const allowed = MAX_EXPANSION * bytes.length;
  let total = 0;
  for (const [name, t] of found) {
    total += 4 * sizeOf(t.shape);
    if (total > allowed) bad(`its tensors up to '${name}' take ${total} bytes, the file has ${bytes.length}`);
  }
  return Object.fromEntries(
    [...found].map(([name, t]) => [name, read(name, t, files.get(`${root}data/${t.storage.key}`))]),
  );
}

// The libraries are loaded on first use, because only checkpoints need them.

async function unzip(bytes: Uint8Array): Promise<Map<string, Uint8Array>> {
  const { unzipSync } = await import('fflate');
  let total = 0;
  try {
    checkDirectory(bytes);
    const files = unzipSync(bytes, {
      filter: ({ name, compression, originalSize }) => {
        if (compression !== 0) throw new Error(`'${name}' is compressed, which torch.save never does`);
        total += originalSize;
        if (total > bytes.length) throw new Error(`its entries claim ${total} bytes, the file has ${bytes.length}`);
        return true;
      },
    });
    return new Map(Object.entries(files));
  } catch (cause) {
    bad(`the zip archive is damaged: ${(cause as Error).message}`);
  }
}

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;

/** The zip64 end of directory and its locator, which PyTorch always writes. */
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;

/**
 * Requires a directory inside the file, with the fields that fflate reads: on a damaged directory fflate follows counts and
 * offsets beyond the end of the file, possibly without end.
 */
function checkDirectory(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== END_OF_DIRECTORY) end--;
  if (end < 0) throw new Error('it does not have a directory');
  let count = view.getUint16(end + 8, true);
  let at = view.getUint32(end + 16, true);
  if (end >= 20 && view.getUint32(end - 20, true) === LOCATOR_64) {
    const second = view.getUint32(end - 12, true);
    if (second + 56 > end || view.getUint32(second, true) !== END_64)
      throw new Error('its zip64 end of directory is invalid');
    count = view.getUint32(second + 32, true);
    at = view.getUint32(second + 48, true);
  }
  for (let i = 0; i < count; i++) {
    if (at + 46 > end || view.getUint32(at, true) !== DIRECTORY_ENTRY)
      throw new Error(`entry ${i} of its directory is invalid`);
    const [packed, size, start] = [20, 24, 42].map((field) => view.getUint32(at + field, true));
    if (packed > bytes.length || start > bytes.length || size === 0xffffffff)
      throw new Error(`entry ${i} of its directory points outside the file`);
    at += 46 + view.getUint16(at + 28, true) + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
}

class Refused extends Error {}

/** The globals that a file of tensors needs; created for each file, so that no file can affect another. */
function globals(): (module: string, name: string) => unknown {
  const known: Record<string, unknown> = {
    'collections.OrderedDict': Object.freeze(() => new Map()),
    'torch._utils._rebuild_tensor_v2': Object.freeze(rebuild),
    'torch._utils._rebuild_parameter': Object.freeze((t: unknown) => t),
  };
  return (module, name) => {
    const path = `${module}.${name}`;
    if (Object.hasOwn(known, path)) return known[path];
    if (module === 'torch' && Object.hasOwn(STORAGES, name)) return Object.freeze(new StorageType(STORAGES[name]));
    throw new Refused(path);
  };
}

function rebuild(storage: unknown, offset: unknown, shape: unknown, strides: unknown): StoredTensor {
  const isSize = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) >= 0;
  const dims = (v: unknown): v is number[] => Array.isArray(v) && v.every(isSize);
  if (!(storage instanceof StoredNumbers) || !isSize(offset) || !dims(shape) || !dims(strides))
    throw new Error('a tensor is not described by a storage, an offset, a shape and strides');
  if (shape.length !== strides.length)
    throw new Error(`a tensor has ${shape.length} dimensions and ${strides.length} strides`);
  return Object.freeze(new StoredTensor(storage, offset, [...shape], [...strides]));
}

/** A reference to a storage: ('storage', type, key, device, size). */
function persistent(id: unknown): StoredNumbers {
  if (Array.isArray(id)) {
    const [kind, type, key, , size] = id as unknown[];
    if (kind === 'storage' && type instanceof StorageType && typeof key === 'string' && Number.isSafeInteger(size))
      return Object.freeze(new StoredNumbers(type.dtype, key, size as number));
  }
  throw new Error(`${describe(id)} does not refer to a storage`);
}

/** The limit on the bytes of an integer: state dicts have none that need more than eight. */
const LONGEST_INTEGER = 1024;

async function unpickle(bytes: Uint8Array): Promise<unknown> {
  const { BufferReader, Parser } = await import('pickleparser');
  /**
   * Refuses negative lengths, which would move backwards and never end, and long integers, whose conversion takes a time that
   * grows with the square of their length. Only LONG4 reads a uint32 as the length of bytes that are no text.
   */
  class ForwardReader extends BufferReader {
    #afterLength = -1;

    override uint32(): number {
      const value = super.uint32();
      this.#afterLength = this.position;
      return value;
    }

    override string(size: number, encoding: 'ascii' | 'utf-8'): string {
      this.#afterLength = -1;
      return super.string(size, encoding);
    }

    override bytes(length: number): ReturnType<InstanceType<typeof BufferReader>['bytes']> {
      if (length > LONGEST_INTEGER && this.position === this.#afterLength)
        throw new Error(`an integer has ${length} bytes, and the limit is ${LONGEST_INTEGER}`);
      return super.bytes(length);
    }

    override skip(bytes: number): void {
      if (!(bytes >= 0)) throw new Error(`a length is ${bytes}`);
      super.skip(bytes);
    }

    override uint64(): number {
      const low = this.uint32();
      if (this.uint32() > 0) throw new Error('a length is above 4 GiB');
      this.#afterLength = -1;
      return low;
    }
  }
  try {
    const options = {
      nameResolver: { resolve: globals() },
      persistentResolver: { resolve: persistent },
      unpicklingTypeOfDictionary: 'Map',
    };
    return new Parser(options as ConstructorParameters<typeof Parser>[0]).read(new ForwardReader(bytes));
  } catch (cause) {
    if (cause instanceof Refused) {
      const remedy = 'load it in PyTorch and save its state_dict(); nothing in the file has been executed';
      fail(OP, `the file calls ${cause.message}, which does not rebuild a tensor`, remedy);
    }
    bad(`the pickle cannot be read: ${(cause as Error).message}`);
  }
}

/** The limit on paths: objects that share their parts can have exponentially many. */
const MAX_PATHS = 100_000;
const MAX_DEPTH = 100;

/** Collects the tensors of nested dicts and lists by path. */
function collect(root: unknown): Map<string, StoredTensor> {
  const found = new Map<string, StoredTensor>();
  const inside = new Set<unknown>();
  let paths = 0;
  const visit = (value: unknown, path: string): void => {
    if (++paths > MAX_PATHS) bad(`it contains more than ${MAX_PATHS} objects`);
    if (value instanceof StoredTensor) {
      if (path !== '') found.set(path, value);
      return;
    }
    if (!(value instanceof Map || Array.isArray(value))) return;
    if (inside.has(value)) bad(`'${path}' contains itself`);
    if (inside.size > MAX_DEPTH) bad(`its dicts are nested deeper than ${MAX_DEPTH}`);
    inside.add(value);
    for (const [key, v] of value instanceof Map ? value : value.entries()) {
      visit(v, path === '' ? String(key) : `${path}.${String(key)}`);
    }
    inside.delete(value);
  };
  visit(root, '');
  return found;
}

function read(name: string, { storage, offset, shape, strides }: StoredTensor, bytes: Uint8Array | undefined): Tensor {
  const { dtype, key, size } = storage;
  const decoder = decoders[dtype];
  const { bytes: width, read: number } = decoder;
  if (bytes === undefined) bad(`'${name}' is stored in data/${key}, which is missing`);
  if (size * width !== bytes.length)
    bad(`data/${key} has ${bytes.length} bytes, ${size} numbers of ${dtype} take ${size * width}`);
  if (sizeOf(shape) === 0) return tensor(new Float32Array(0), { shape });
  const last = shape.reduce((at, n, d) => at + (n - 1) * strides[d], offset);
  if (last >= size) bad(`'${name}' reaches to number ${last} of a storage of ${size}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new Float32Array(sizeOf(shape));
  const index = shape.map(() => 0);
  let at = offset;
  for (let i = 0; i < out.length; i++) {
    const v = number(view, at * width);
    if (!fits(decoder, v))
      fail(
        OP,
        `'${name}' is ${dtype} and contains ${v}, which float32 cannot represent`,
        'convert it in PyTorch first',
      );
    out[i] = v;
    for (let d = shape.length - 1; d >= 0; d--) {
      at += strides[d];
      if (++index[d] < shape[d]) break;
      at -= index[d] * strides[d];
      index[d] = 0;
    }
  }
  return tensor(out, { shape });
}

function bad(
  problem: string,
  remedy = 'the file is damaged or not a checkpoint of torch.save; get a fresh copy',
): never {
  fail(OP, problem, remedy);
}
