import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { nn, ones, tensor, zeros } from '../src/index.js';
import { fromSafetensors, load, readCsv, readIdx, save, toSafetensors } from '../src/io/index.js';
import { errorOf, startLateDevice } from './helpers.js';

const any = (value: unknown) => value as never;

function file(header: unknown, data: Uint8Array = new Uint8Array(0), claimed?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, claimed ?? BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}
const f32 = (shape: unknown, begin: unknown, end: unknown) => ({ dtype: 'F32', shape, data_offsets: [begin, end] });
const numbers = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const headerOf = (bytes: Uint8Array): string =>
  new TextDecoder().decode(bytes.subarray(8, 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true))));

describe('toSafetensors', () => {
  it('writes the header that the format describes', async () => {
    const bytes = await toSafetensors({ a: tensor([1, 2, 3]), b: zeros([2, 1]) });
    const header = headerOf(bytes);
    expect(JSON.parse(header)).toEqual({
      a: { dtype: 'F32', shape: [3], data_offsets: [0, 12] },
      b: { dtype: 'F32', shape: [2, 1], data_offsets: [12, 20] },
    });
    expect(bytes.length).toBe(8 + header.length + 20);
    expect(header.trimEnd() + ' '.repeat(header.length - header.trimEnd().length)).toBe(header);
    expect(header.length - header.trimEnd().length).toBeLessThan(8);
    expect([...bytes.subarray(-8)]).toEqual(Array(8).fill(0));
  });
  it('pads the header to a multiple of 8 bytes, and no further', async () => {
    for (let i = 1; i <= 9; i++) {
      const header = headerOf(await toSafetensors({ ['n'.repeat(i)]: tensor(1) }));
      expect(header.length % 8).toBe(0);
      expect(header.length - header.trimEnd().length).toBeLessThan(8);
    }
  });
  it('writes metadata first, where there is some', async () => {
    const header = headerOf(await toSafetensors({ a: tensor(1) }, { author: 'me' }));
    expect(Object.keys(JSON.parse(header))).toEqual(['__metadata__', 'a']);
    expect(headerOf(await toSafetensors({ a: tensor(1) }, {}))).not.toContain('metadata');
    expect(fromSafetensors(await toSafetensors({})).tensors).toEqual({});
  });
  it('reads tensors without elements and without dimensions back', async () => {
    const { tensors } = fromSafetensors(await toSafetensors({ none: zeros([0, 3]), one: tensor(7), two: ones([2]) }));
    expect(tensors.none.shape).toEqual([0, 3]);
    expect([tensors.one.itemSync(), tensors.two.toArraySync()]).toEqual([7, [1, 1]]);
  });
  it('takes tensors of devices that answer later, as they are when it is called', async () => {
    startLateDevice();
    const state = { a: tensor([1, 2], { device: 'gpu' }), b: tensor([3]) };
    const bytes = toSafetensors(state);
    state.b.copyFrom(tensor([9]));
    const { tensors } = fromSafetensors(await bytes);
    expect([tensors.a.toArraySync(), tensors.b.toArraySync()]).toEqual([[1, 2], [3]]);
  });
  // biome-ignore format: one line a case
  it.each<[string, () => unknown, string]>([
    ['null', () => toSafetensors(any(null)), '[toSafetensors] the state is null; pass an object of tensors by name'],
    ['a number', () => toSafetensors(any(3)), 'the state is 3; pass an object of tensors by name'],
    ['a list', () => toSafetensors(any([tensor(1)])), 'pass an object of tensors by name, such as model.stateDict()'],
    ['a Map', () => toSafetensors(any(new Map([['a', tensor(1)]]))), 'use Object.fromEntries(map)'],
    ['a promise', () => toSafetensors(any(Promise.resolve({}))), 'await it first'],
    ['a promise, in save', () => save(any(Promise.resolve({})), 'x'), '[save] the state is a Promise; await it first'],
    ['a number by name', () => toSafetensors(any({ a: tensor(1), b: 2 })), "'b' is 2; pass an object of tensors by name"],
    ['metadata that is no text', () => toSafetensors({}, any({ a: 'x', b: 2 })), 'metadata.b is 2; pass strings by name'],
    ['a reserved name', () => toSafetensors({ __metadata__: tensor(1) }), "a tensor is named '__metadata__'; the format reserves this name"],
  ])('refuses %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});

describe('fromSafetensors', () => {
  it('takes tensors in any order of their bytes', () => {
    const bytes = file({ b: f32([1], 8, 12), a: f32([2], 0, 8) }, numbers(1, 2, 3));
    const { tensors, metadata } = fromSafetensors(bytes);
    expect(Object.keys(tensors)).toEqual(['b', 'a']);
    expect([tensors.a.toArraySync(), tensors.b.toArraySync()]).toEqual([[1, 2], [3]]);
    expect(metadata).toEqual({});
  });
  it('takes tensors without elements before, between and after others', () => {
    const header = {
      x: f32([2], 0, 8),
      a: f32([0], 0, 0),
      z: f32([3, 0], 12, 12),
      b: f32([0], 8, 8),
      y: f32([1], 8, 12),
    };
    const { tensors } = fromSafetensors(file(header, numbers(1, 2, 3)));
    expect([tensors.x.toArraySync(), tensors.y.toArraySync(), tensors.z.shape]).toEqual([[1, 2], [3], [3, 0]]);
  });
  it('takes a part of a larger buffer', () => {
    const whole = new Uint8Array(200).fill(255);
    const bytes = file({ x: f32([2], 0, 8) }, numbers(4, 5));
    whole.set(bytes, 13);
    expect(fromSafetensors(whole.subarray(13, 13 + bytes.length)).tensors.x.toArraySync()).toEqual([4, 5]);
  });
  it('takes the names of Object for names', () => {
    const { tensors } = fromSafetensors(file({ constructor: f32([1], 0, 4) }, numbers(1)));
    expect(tensors.constructor).toHaveProperty('shape', [1]);
  });
  // biome-ignore format: one line a case
  it.each<[string, unknown, string]>([
    ['text', 'x', "[fromSafetensors] the argument is 'x'; pass a Uint8Array"],
    ['7 bytes', new Uint8Array(7), 'the file has 7 bytes, less than the 8'],
    ['no header', new Uint8Array(8), 'the header is not JSON'],
    ['a header of one byte too many', file('{}', undefined, 3n), 'the header claims 3 bytes in a file of 10'],
    ['a header beyond the file', file('{}', undefined, 100_000_000n), 'the header claims 100000000 bytes in a file of 10'],
    ['a header beyond the limit', file('{}', undefined, 100_000_001n), 'the header claims 100000001 bytes, more than the 100000000 allowed'],
    ['null for the header', file('null'), 'the header is null, not an object'],
    ['a number for the header', file('3'), 'the header is 3, not an object'],
    ['a list for the header', file('[]'), 'not an object'],
    ['a list for metadata', file({ __metadata__: ['a'] }), '__metadata__ is not an object of strings'],
    ['null for metadata', file({ __metadata__: null }), '__metadata__ is not an object of strings'],
    ['text for metadata', file({ __metadata__: 'abc' }), '__metadata__ is not an object of strings'],
    ['a number within metadata', file({ __metadata__: { a: 'x', b: 1 } }), '__metadata__ is not an object of strings'],
    ['text for a tensor', file({ a: 'x' }), "'a' is described by 'x'"],
    ['no type', file({ a: { shape: [1], data_offsets: [0, 4] } }), "'a' has the dtype undefined; known are F32, F64"],
    ['a number for the type', file({ a: { ...f32([1], 0, 4), dtype: 1 } }), "'a' has the dtype 1"],
    ['no shape', file({ a: { dtype: 'F32', data_offsets: [0, 4] } }), "'a' has the shape undefined"],
    ['text in a shape', file({ a: f32([1, '2'], 0, 4) }), "'a' has the shape [1, '2']"],
    ['a huge dimension', file({ a: f32([1, 2 ** 53], 0, 4) }), "'a' has the shape [1, 9007199254740992]"],
    ['no offsets', file({ a: { dtype: 'F32', shape: [1] } }), "'a' has the data_offsets undefined"],
    ['one offset', file({ a: { ...f32([1], 0, 4), data_offsets: [0] } }), "'a' has the data_offsets [0]"],
    ['three offsets', file({ a: { ...f32([1], 0, 4), data_offsets: [0, 4, 8] } }), "'a' has the data_offsets [0, 4, 8]"],
    ['a fractional offset', file({ a: f32([1], 0.5, 4.5) }), "'a' has the data_offsets [0.5, 4.5]"],
    ['a negative offset', file({ a: f32([1], -4, 0) }), "'a' has the data_offsets [-4, 0]"],
    ['fewer bytes than its shape takes', file({ a: f32([2], 0, 4) }, numbers(1)), "'a' is F32 [2], which takes 8 bytes, but its offsets span 4"],
    ['more bytes than its shape takes', file({ a: f32([1], 0, 8) }, numbers(1, 2)), 'which takes 4 bytes, but its offsets span 8'],
    ['a hole before the first', file({ a: f32([1], 4, 8) }, numbers(1, 2)), "'a' begins at byte 4 where 0 is expected: tensors overlap or leave a hole"],
    ['two tensors at one place', file({ a: f32([1], 0, 4), b: f32([1], 0, 4) }, numbers(1)), "'b' begins at byte 0 where 4 is expected"],
    ['bytes after the last', file({ a: f32([1], 0, 4) }, new Uint8Array(5)), 'the tensors take 4 bytes, the file has 5 after the header'],
  ])('refuses %s', async (_, bytes, text) => {
    expect((await errorOf(() => fromSafetensors(any(bytes)))).message).toContain(text);
  });
});

describe('files', () => {
  const folder = () => mkdtempSync(join(tmpdir(), 'tapegrad-'));
  it('keep metadata', async () => {
    const path = join(folder(), 'm.safetensors');
    await save({ a: tensor([1]) }, path, { author: 'me' });
    expect((await load(path)).a.toArraySync()).toEqual([1]);
    expect(Object.keys(await load(path))).toEqual(['a']);
  });
  it('that cannot be written leave nothing behind, and say why', async () => {
    const dir = folder();
    const path = join(dir, 'taken');
    mkdirSync(path);
    const error = await errorOf(() => save({ a: tensor([1]) }, path));
    expect(error.message).toContain(`[save] cannot write ${path}: `);
    expect((error.cause as { code: string }).code).toMatch(/^E/);
    expect(readdirSync(dir)).toEqual(['taken']);
  });
  it('that cannot be read say why', async () => {
    const error = await errorOf(() => load('/nowhere/m.safetensors'));
    expect([error.op, (error.cause as { code: string }).code]).toEqual(['load', 'ENOENT']);
    expect((await errorOf(() => readCsv('/nowhere/x.csv'))).message).toContain('[readCsv] cannot read /nowhere/x.csv');
    expect((await errorOf(() => readIdx('/nowhere/x'))).message).toContain('[readIdx] cannot read /nowhere/x');
  });
  it('have a name', async () => {
    expect((await errorOf(() => save({}, any(3)))).message).toContain('[save] the path is 3; pass a file name');
    expect((await errorOf(() => save({}, ''))).message).toContain("the path is ''");
  });
  it('are told apart by their contents', async () => {
    const path = join(folder(), 'x.pth');
    for (const protocol of [2, 3, 4, 5]) {
      writeFileSync(path, Uint8Array.from([0x80, protocol, 0x2e, 0, 0, 0, 0, 0]));
      expect((await errorOf(() => load(path))).message).toContain('is a checkpoint from before PyTorch 1.6');
    }
    for (const start of [
      [0x80, 1],
      [0x80, 6],
      [0x81, 2],
      [0x50, 0x4b, 3, 5],
      [0x50, 0x4b, 4, 4],
      [0x50, 0x4c, 3, 4],
      [0x51, 0x4b, 3, 4],
    ]) {
      writeFileSync(path, Uint8Array.from([...start, 0, 0, 0, 0, 0, 0].slice(0, 8)));
      expect((await errorOf(() => load(path))).op, `${start}`).toBe('safetensors');
    }
    writeFileSync(path, Uint8Array.from([0x50, 0x4b, 3, 4, 0, 0]));
    expect((await errorOf(() => load(path))).message).toContain('the zip archive is damaged');
  });
  it('do not exist where there is no file system', async () => {
    const none = vi.spyOn(process, 'getBuiltinModule').mockReturnValue(null as never);
    try {
      for (const [op, run] of [
        ['load', () => load('x')],
        ['save', () => save(new nn.Linear(1, 1), 'x')],
      ] as const) {
        expect((await errorOf(run)).message).toContain(
          `[${op}] this environment has no file system; use toSafetensors and fromSafetensors with bytes`,
        );
      }
    } finally {
      none.mockRestore();
    }
  });
});
