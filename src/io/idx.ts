import { tensor } from '../create.js';
import { describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { sizeOf } from '../shape.js';
import { readFile } from './disk.js';

// IDX, the format of the MNIST files (http://yann.lecun.com/exdb/mnist): two zero bytes, a type code, the number of
// dimensions, the dimensions as big-endian 32-bit numbers, then the values, big-endian.

interface Kind {
  readonly bytes: number;
  readonly read: (view: DataView, at: number) => number;
}

const kinds: { readonly [code: number]: Kind | undefined } = {
  8: { bytes: 1, read: (v, at) => v.getUint8(at) },
  9: { bytes: 1, read: (v, at) => v.getInt8(at) },
  11: { bytes: 2, read: (v, at) => v.getInt16(at) },
  12: { bytes: 4, read: (v, at) => v.getInt32(at) },
  13: { bytes: 4, read: (v, at) => v.getFloat32(at) },
  14: { bytes: 8, read: (v, at) => v.getFloat64(at) },
};

/**
 * Parses an IDX file, the format of the [MNIST](http://yann.lecun.com/exdb/mnist) images and labels.
 *
 * @param bytes the uncompressed contents of the file
 * @returns a tensor with the shape in the file
 * @throws TapegradError for anything but a well-formed IDX file, and for dimensions that do not match the size of the file
 * @example
 * ```ts
 * import { parseIdx } from 'tapegrad/io';
 *
 * const labels = parseIdx(new Uint8Array([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]));
 * console.log(labels.toArraySync()); // [7, 2, 1]
 * ```
 */
export function parseIdx(bytes: Uint8Array): Tensor {
  // By its tag, because test runners have several classes of this name.
  if (Object.prototype.toString.call(bytes) !== '[object Uint8Array]')
    fail('parseIdx', `the bytes are ${describe(bytes)}`, 'pass a Uint8Array with the whole file, or use readIdx(path)');
  const damaged = (problem: string): never => fail('parseIdx', problem, 'the file is damaged, compressed, or not IDX');
  if (bytes.length < 4) damaged(`the file has ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0) !== 0) damaged('the file does not begin with two zero bytes');
  const kind = kinds[view.getUint8(2)] ?? damaged(`the type code is ${view.getUint8(2)}`);
  const ndim = view.getUint8(3);
  const start = 4 + 4 * ndim;
  if (bytes.length < start) damaged(`the file ends within its ${ndim} dimensions`);
  const shape = Array.from({ length: ndim }, (_, i) => view.getUint32(4 + 4 * i));
  const size = sizeOf(shape);
  if (bytes.length !== start + size * kind.bytes)
    damaged(`[${shape.join(', ')}] takes ${size * kind.bytes} bytes, the file has ${bytes.length - start}`);
  const values = new Float32Array(size);
  for (let i = 0; i < size; i++) values[i] = kind.read(view, start + i * kind.bytes);
  return tensor(values, { shape });
}

/**
 * Reads an uncompressed IDX file; see {@link parseIdx}.
 *
 * @param path the file name
 * @returns a tensor with the shape in the file
 * @throws TapegradError as parseIdx, and if the file cannot be read
 * @example
 * ```ts
 * import { writeFileSync } from 'node:fs';
 * import { readIdx } from 'tapegrad/io';
 *
 * writeFileSync('labels.idx', new Uint8Array([0, 0, 8, 1, 0, 0, 0, 2, 7, 2]));
 * console.log((await readIdx('labels.idx')).shape); // [2]
 * ```
 */
export async function readIdx(path: string): Promise<Tensor> {
  return parseIdx(await readFile('readIdx', path));
}
