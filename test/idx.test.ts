import { describe, expect, it } from 'vitest';
import { parseIdx } from '../src/io/index.js';
import { errorOf } from './helpers.js';

const idx = (type: number, dims: number[], body: number[]) =>
  Uint8Array.from([0, 0, type, dims.length, ...dims.flatMap((d) => [d >> 24, d >> 16, d >> 8, d]), ...body]);
/** Big-endian bytes. */
const bytesOf = (n: number, write: (view: DataView) => void): number[] => {
  const view = new DataView(new ArrayBuffer(n));
  write(view);
  return [...new Uint8Array(view.buffer)];
};

describe('parseIdx', () => {
  it.each<[string, number, number[], number[]]>([
    ['unsigned bytes', 8, [200, 1], [200, 1]],
    ['signed bytes', 9, [200, 1], [-56, 1]],
    ['16-bit integers', 11, [...bytesOf(2, (v) => v.setInt16(0, -300)), 1, 2], [-300, 258]],
    ['32-bit integers', 12, [...bytesOf(4, (v) => v.setInt32(0, -70_000)), 0, 0, 1, 2], [-70_000, 258]],
    ['float32', 13, [...bytesOf(4, (v) => v.setFloat32(0, -1.5)), ...bytesOf(4, (v) => v.setFloat32(0, 3))], [-1.5, 3]],
    ['float64', 14, [...bytesOf(8, (v) => v.setFloat64(0, 0.5)), ...bytesOf(8, (v) => v.setFloat64(0, -4))], [0.5, -4]],
  ])('reads %s', (_, type, body, values) => {
    expect(parseIdx(idx(type, [2], body)).toArraySync()).toEqual(values);
  });
  it('reads numbers without dimensions, of many dimensions, and none', () => {
    expect(parseIdx(idx(8, [], [7])).itemSync()).toBe(7);
    expect(parseIdx(idx(8, [1, 2, 1, 3], [1, 2, 3, 4, 5, 6])).toArraySync()).toEqual([[[[1, 2, 3]], [[4, 5, 6]]]]);
    expect(parseIdx(idx(8, [258, 1], Array(258).fill(1))).shape).toEqual([258, 1]);
    expect(parseIdx(idx(8, [0, 3], [])).shape).toEqual([0, 3]);
  });
  it('reads a part of a larger buffer', () => {
    const bytes = idx(8, [2], [5, 6]);
    const whole = new Uint8Array(50).fill(255);
    whole.set(bytes, 9);
    expect(parseIdx(whole.subarray(9, 9 + bytes.length)).toArraySync()).toEqual([5, 6]);
  });
  it.each<[string, unknown, string]>([
    ['a list', [0, 0, 8, 0, 7], 'the bytes are [0, 0, 8, 0, 7]; pass a Uint8Array with the whole file'],
    ['nothing', new Uint8Array(0), 'the file has 0 bytes'],
    ['three bytes', new Uint8Array(3), 'the file has 3 bytes'],
    ['a wrong beginning', Uint8Array.from([0, 1, 8, 0, 7]), 'does not begin with two zero bytes'],
    ['an unknown type', idx(10, [1], [1]), 'the type code is 10'],
    ['a header that ends early', idx(8, [1, 1], []).subarray(0, 11), 'the file ends within its 2 dimensions'],
    ['a value too few', idx(11, [2], [1, 2, 3]), '[2] takes 4 bytes, the file has 3'],
    ['a value too many', idx(8, [2], [1, 2, 3]), '[2] takes 2 bytes, the file has 3'],
  ])('refuses %s', async (_, bytes, text) => {
    const error = await errorOf(() => parseIdx(bytes as Uint8Array));
    expect(error.op).toBe('parseIdx');
    expect(error.message).toContain(text);
  });
});
