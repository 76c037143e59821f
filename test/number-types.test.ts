import { describe, expect, it } from 'vitest';
import { fromSafetensors } from '../src/io/index.js';
import { errorOf } from './helpers.js';

// How the number types of files become float32.

type Write = (view: DataView, at: number) => void;

/** A safetensors file with one tensor 'x' of these numbers. */
function file(dtype: string, bytes: number, writes: readonly Write[]): Uint8Array {
  const header = JSON.stringify({ x: { dtype, shape: [writes.length], data_offsets: [0, bytes * writes.length] } });
  const json = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + json.length + bytes * writes.length);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(json.length), true);
  out.set(json, 8);
  writes.forEach((write, i) => {
    write(view, 8 + json.length + i * bytes);
  });
  return out;
}

const read = (dtype: string, bytes: number, writes: readonly Write[]): number[] => [
  ...fromSafetensors(file(dtype, bytes, writes)).tensors.x.dataSync(),
];
const u16 = (bits: number): Write => (v, at) => v.setUint16(at, bits, true); // biome-ignore format: one line

describe('float16', () => {
  it.each([
    [0x0000, 0],
    [0x8000, -0],
    [0x3c00, 1],
    [0xbc00, -1],
    [0x3555, 0.333251953125],
    [0x7bff, 65504],
    [0xfbff, -65504],
    [0x0400, 2 ** -14],
    [0x0001, 2 ** -24],
    [0x83ff, -1023 * 2 ** -24],
    [0x4248, 3.140625],
    [0x7c00, Infinity],
    [0xfc00, -Infinity],
    [0x7e00, Number.NaN],
    [0xfc01, Number.NaN],
  ])('%i is %f', (bits, value) => {
    expect(read('F16', 2, [u16(bits), u16(0x4000)])).toEqual([value, 2]);
  });
});

describe('bfloat16', () => {
  it.each([
    [0x0000, 0],
    [0x8000, -0],
    [0x3f80, 1],
    [0xc040, -3],
    [0x7f7f, 255 * 2 ** 120],
    [0x0080, 2 ** -126],
    [0x7f80, Infinity],
    [0x7fc0, Number.NaN],
  ])('%i is %f', (bits, value) => {
    // The numbers before and after it leave no trace.
    expect(read('BF16', 2, [u16(0xffff), u16(bits), u16(0x4000)])).toEqual([Number.NaN, value, 2]);
  });
});

describe('other types', () => {
  it.each<[string, number, Write[], number[]]>([
    [
      'F32',
      4,
      [(v, at) => v.setFloat32(at, -1.5, true), (v, at) => v.setFloat32(at, Infinity, true)],
      [-1.5, Infinity],
    ],
    ['F64', 8, [(v, at) => v.setFloat64(at, 0.1, true), (v, at) => v.setFloat64(at, -3e38, true)], [0.1, -3e38]],
    [
      'F64',
      8,
      [(v, at) => v.setFloat64(at, Infinity, true), (v, at) => v.setFloat64(at, Number.NaN, true)],
      [Infinity, Number.NaN],
    ],
    [
      'F64',
      8,
      [(v, at) => v.setFloat64(at, -Infinity, true), (v, at) => v.setFloat64(at, 1e-60, true)],
      [-Infinity, 0],
    ],
    ['I8', 1, [(v, at) => v.setInt8(at, -128), (v, at) => v.setInt8(at, 127)], [-128, 127]],
    ['U8', 1, [(v, at) => v.setUint8(at, 255), (v, at) => v.setUint8(at, 1)], [255, 1]],
    ['I16', 2, [(v, at) => v.setInt16(at, -32768, true), (v, at) => v.setInt16(at, 258, true)], [-32768, 258]],
    ['U16', 2, [(v, at) => v.setUint16(at, 65535, true), (v, at) => v.setUint16(at, 258, true)], [65535, 258]],
    ['I32', 4, [(v, at) => v.setInt32(at, -(2 ** 31), true), (v, at) => v.setInt32(at, 258, true)], [-(2 ** 31), 258]],
    ['U32', 4, [(v, at) => v.setUint32(at, 2 ** 31, true), (v, at) => v.setUint32(at, 258, true)], [2 ** 31, 258]],
    [
      'I64',
      8,
      [(v, at) => v.setBigInt64(at, -(2n ** 40n), true), (v, at) => v.setBigInt64(at, 258n, true)],
      [-(2 ** 40), 258],
    ],
    [
      'U64',
      8,
      [(v, at) => v.setBigUint64(at, 2n ** 63n, true), (v, at) => v.setBigUint64(at, 258n, true)],
      [2 ** 63, 258],
    ],
    ['BOOL', 1, [(v, at) => v.setUint8(at, 0), (v, at) => v.setUint8(at, 1)], [0, 1]],
  ])('%s is converted (%#)', (dtype, bytes, writes, values) => {
    expect(read(dtype, bytes, writes)).toEqual(values.map(Math.fround));
  });
  it.each<[string, number, Write, string]>([
    ['I32', 4, (v, at) => v.setInt32(at, -(2 ** 24) - 1, true), '-16777217'],
    ['U32', 4, (v, at) => v.setUint32(at, 2 ** 32 - 1, true), '4294967295'],
    ['I64', 8, (v, at) => v.setBigInt64(at, 2n ** 53n - 1n, true), '9007199254740991'],
    ['U64', 8, (v, at) => v.setBigUint64(at, 2n ** 24n + 1n, true), '16777217'],
    ['F64', 8, (v, at) => v.setFloat64(at, 1e39, true), '1e+39'],
    ['F64', 8, (v, at) => v.setFloat64(at, -1e300, true), '-1e+300'],
  ])('%s that float32 cannot represent is refused (%#)', async (dtype, bytes, write, text) => {
    const error = await errorOf(() => read(dtype, bytes, [write]));
    expect(error.message).toContain(`'x' is ${dtype} and contains ${text}, which float32 cannot represent`);
  });
});
