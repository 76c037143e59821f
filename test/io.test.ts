import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nn, rand, tensor } from '../src/index.js';
import { fromSafetensors, load, parseCsv, parseIdx, readCsv, readIdx, save, toSafetensors } from '../src/io/index.js';
import { errorOf } from './helpers.js';

const folder = () => mkdtempSync(join(tmpdir(), 'tapegrad-'));

function file(header: unknown, data = new Uint8Array(0), claimed?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, claimed ?? BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

describe('safetensors', () => {
  it('gives back every bit, NaN and -0 included, and the metadata', async () => {
    const state = {
      a: tensor([
        [1.5, -0],
        [Number.NaN, Infinity],
      ]),
      'b.weight': tensor(3),
      ü: rand([2, 3, 4]),
    };
    const bytes = await toSafetensors(state, { note: 'ö' });
    const { tensors, metadata } = fromSafetensors(bytes);
    expect(metadata).toEqual({ note: 'ö' });
    expect(Object.keys(tensors)).toEqual(Object.keys(state));
    for (const [name, t] of Object.entries(state)) {
      expect(tensors[name].shape).toEqual(t.shape);
      expect(new Uint32Array(tensors[name].dataSync().buffer)).toEqual(new Uint32Array(t.dataSync().buffer));
    }
    expect(new DataView(bytes.buffer).getBigUint64(0, true) % 8n).toBe(0n);
  });
  it('reads the other types, and refuses to lose integers', async () => {
    const data = new Uint8Array(2 + 2 + 8 + 8 + 1 + 4);
    const view = new DataView(data.buffer);
    view.setUint16(0, 0x3e00, true); // 1.5 as float16
    view.setUint16(2, 0xc040, true); // -3 as bfloat16
    view.setFloat64(4, 0.1, true);
    view.setBigInt64(12, -12n, true);
    data[20] = 1;
    view.setInt32(21, 7, true);
    const entry = (dtype: string, begin: number, end: number) => ({ dtype, shape: [1], data_offsets: [begin, end] });
    const header = {
      h: entry('F16', 0, 2),
      b: entry('BF16', 2, 4),
      d: entry('F64', 4, 12),
      i: entry('I64', 12, 20),
      t: entry('BOOL', 20, 21),
      n: entry('I32', 21, 25),
    };
    const { tensors } = fromSafetensors(file(header, data));
    expect(Object.fromEntries(Object.entries(tensors).map(([k, t]) => [k, t.itemSync()]))).toEqual({
      h: 1.5,
      b: -3,
      d: Math.fround(0.1),
      i: -12,
      t: 1,
      n: 7,
    });
    view.setBigInt64(12, 2n ** 24n + 1n, true);
    expect((await errorOf(() => fromSafetensors(file(header, data)))).message).toContain(
      "'i' is I64 and contains 16777217",
    );
  });
  const f32 = (shape: number[], begin: number, end: number) => ({ dtype: 'F32', shape, data_offsets: [begin, end] });
  it.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(0), 'the file has 0 bytes'],
    ['a truncated header', file('{"a":', undefined, 1000n), 'claims 1000 bytes in a file of 13'],
    ['an oversized header', file('{}', undefined, 2n ** 60n), 'more than the 100000000 allowed'],
    ['no JSON', file('{"a":'), 'the header is not JSON'],
    ['no object', file('[1]'), 'not an object'],
    ['invalid UTF-8', file('{}').fill(0xff, 8), 'the header is not JSON'],
    [
      'an unknown type',
      file({ a: { dtype: 'F8', shape: [1], data_offsets: [0, 1] } }, new Uint8Array(1)),
      "dtype 'F8'",
    ],
    [
      'a type from the prototype',
      file({ a: { dtype: 'toString', shape: [1], data_offsets: [0, 1] } }, new Uint8Array(1)),
      "dtype 'toString'",
    ],
    ['a negative shape', file({ a: f32([-1], 0, 4) }, new Uint8Array(4)), 'the shape [-1]'],
    ['a fractional shape', file({ a: f32([1.5], 0, 4) }, new Uint8Array(4)), 'the shape [1.5]'],
    [
      'a lying shape',
      file({ a: f32([1e6, 1e6], 0, 4) }, new Uint8Array(4)),
      'takes 4000000000000 bytes, but its offsets span 4',
    ],
    [
      'a shape beyond numbers',
      file({ a: f32([2 ** 50, 2 ** 50, 2 ** 50], 0, 4) }, new Uint8Array(4)),
      'its offsets span 4',
    ],
    [
      'offsets past the end',
      file({ a: f32([2], 0, 8) }, new Uint8Array(4)),
      'the tensors take 8 bytes, the file has 4',
    ],
    [
      'bytes that nobody owns',
      file({ a: f32([1], 0, 4) }, new Uint8Array(8)),
      'the tensors take 4 bytes, the file has 8',
    ],
    [
      'an overlap',
      file({ a: f32([2], 0, 8), b: f32([1], 4, 8) }, new Uint8Array(8)),
      "'b' begins at byte 4 where 8 is expected",
    ],
    ['a hole', file({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, new Uint8Array(12)), 'leave a hole'],
    ['backward offsets', file({ a: f32([1], 4, 0) }, new Uint8Array(4)), 'span -4'],
    ['metadata that is no text', file({ __metadata__: { a: 1 } }), '__metadata__'],
    ['a tensor that is no object', file({ a: null }), "'a' is described by null"],
  ])('refuses %s', async (_, bytes, text) => {
    const error = await errorOf(() => fromSafetensors(bytes));
    expect(error.op).toBe('safetensors');
    expect(error.message).toContain(text);
  });
  it('answers every mutation of a file with tensors or a TapegradError', async () => {
    const whole = await toSafetensors(
      {
        a: tensor([
          [1, 2],
          [3, 4],
        ]),
        b: tensor([5]),
      },
      { k: 'v' },
    );
    const { TapegradError } = await import('../src/index.js');
    const mutation = fc.record({ at: fc.nat(whole.length - 1), byte: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(mutation, { maxLength: 6 }), fc.nat(whole.length), (mutations, length) => {
        const bytes = whole.slice(0, length % 3 === 0 ? length : whole.length);
        for (const { at, byte } of mutations) if (at < bytes.length) bytes[at] = byte;
        try {
          for (const t of Object.values(fromSafetensors(bytes).tensors))
            expect(t.size).toBeLessThanOrEqual(whole.length);
        } catch (error) {
          expect(error).toBeInstanceOf(TapegradError);
        }
      }),
      { numRuns: 5000, seed: 3 },
    );
  });
  it('refuses states and metadata that are none', async () => {
    expect((await errorOf(() => toSafetensors({ a: 1 } as never))).message).toContain("'a' is 1");
    expect((await errorOf(() => toSafetensors({}, { a: 1 } as never))).message).toContain('metadata.a is 1');
    expect((await errorOf(() => toSafetensors({ __metadata__: tensor(1) }))).message).toContain('reserves this name');
    expect((await errorOf(() => fromSafetensors('x' as never))).message).toContain("the argument is 'x'");
  });
});

describe('files', () => {
  it('saves and loads a model, leaving nothing beside it', async () => {
    const path = join(folder(), 'm.safetensors');
    const model = new nn.Linear(3, 2);
    await save(model, path);
    await save(model, path);
    const again = new nn.Linear(3, 2);
    again.loadStateDict(await load(path));
    expect(again.weight.toArraySync()).toEqual(model.weight.toArraySync());
    expect(readdirSync(join(path, '..'))).toEqual(['m.safetensors']);
  });
  it('leaves the old file when a save fails', async () => {
    const path = join(folder(), 'm.safetensors');
    await save({ a: tensor([1]) }, path);
    await errorOf(() => save({ a: 1 } as never, path));
    expect((await load(path)).a.toArraySync()).toEqual([1]);
  });
  it('says what is wrong with a path', async () => {
    expect((await errorOf(() => load('/nowhere/m.safetensors'))).message).toContain(
      'cannot read /nowhere/m.safetensors',
    );
    expect((await errorOf(() => save({ a: tensor(1) }, '/nowhere/m.safetensors'))).message).toContain(
      'cannot write /nowhere/m.safetensors',
    );
    expect((await errorOf(() => save({ a: tensor(1) }, ''))).message).toContain("the path is ''");
  });
});

describe('IDX', () => {
  const idx = (type: number, dims: number[], body: number[]) =>
    Uint8Array.from([0, 0, type, dims.length, ...dims.flatMap((d) => [0, 0, d >> 8, d & 255]), ...body]);
  it('reads bytes and big-endian numbers', async () => {
    expect(parseIdx(idx(8, [2, 2], [1, 2, 3, 255])).toArraySync()).toEqual([
      [1, 2],
      [3, 255],
    ]);
    expect(parseIdx(idx(11, [2], [0xff, 0xfe, 1, 0])).toArraySync()).toEqual([-2, 256]);
    expect(parseIdx(idx(13, [1], [0x3f, 0xc0, 0, 0])).toArraySync()).toEqual([1.5]);
    const path = join(folder(), 'x');
    writeFileSync(path, idx(9, [1], [0x80]));
    expect((await readIdx(path)).toArraySync()).toEqual([-128]);
  });
  it.each<[string, Uint8Array, string]>([
    ['gzip', Uint8Array.from([0x1f, 0x8b, 8, 0]), 'two zero bytes'],
    ['an unknown type', idx(7, [1], [1]), 'type code is 7'],
    ['a short header', Uint8Array.from([0, 0, 8, 3, 0]), 'ends within its 3 dimensions'],
    ['missing values', idx(8, [2, 2], [1]), '[2, 2] takes 4 bytes, the file has 1'],
  ])('refuses %s', async (_, bytes, text) => {
    expect((await errorOf(() => parseIdx(bytes))).message).toContain(text);
  });
});

describe('CSV', () => {
  it('reads numbers, names and missing values', async () => {
    const { columns, values } = await parseCsv('a,"b ""x"""\n1,2\n3,\n');
    expect(columns).toEqual(['a', 'b "x"']);
    expect(values.toArraySync()).toEqual([
      [1, 2],
      [3, Number.NaN],
    ]);
    expect((await parseCsv('1;2', { header: false, delimiter: ';' })).columns).toEqual(['0', '1']);
    expect((await readCsv('docs/examples/data/diabetes.csv')).values.shape).toEqual([442, 11]);
  });
  it('says where a text is no number, and refuses ragged and empty files', async () => {
    expect((await errorOf(() => parseCsv('a,b\n1,x'))).message).toContain("row 0, column 'b' is 'x'");
    expect((await errorOf(() => parseCsv('a,b\n1,2\n3'))).op).toBe('parseCsv');
    expect((await errorOf(() => parseCsv('a,b\n'))).message).toContain('there are no rows');
    expect((await errorOf(() => parseCsv('1', { heder: true } as never))).message).toContain("'heder'");
  });
});
