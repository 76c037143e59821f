import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nn, TapegradError } from '../src/index.js';
import { load } from '../src/io/index.js';
import { fromPth } from '../src/io/pth.js';
import { errorOf } from './helpers.js';
import { archive, numbers, pickle, pickleOf, tensorCodes, view } from './pickles.js';

// Files of PyTorch, written by golden/pth.py.

const path = (name: string) => `test/golden/pth/${name}.pth`;
const expected = JSON.parse(readFileSync('test/golden/pth/expected.json', 'utf8')) as Record<
  string,
  Record<string, { shape: number[]; values: number[] }>
>;

describe('load of a PyTorch checkpoint', () => {
  it.each(Object.keys(expected))('reads %s as PyTorch wrote it', async (name) => {
    const state = await load(path(name));
    expect(Object.keys(state)).toEqual(Object.keys(expected[name]));
    for (const [key, { shape, values }] of Object.entries(expected[name])) {
      expect(state[key].shape).toEqual(shape);
      expect([...state[key].dataSync()]).toEqual(values.map(Math.fround));
    }
  });
  it('fills a model', async () => {
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.ReLU(), new nn.Linear(4, 2));
    model.loadStateDict(await load(path('state')));
    expect([...model.parameters()[0].dataSync()]).toEqual(expected.state['0.weight'].values.map(Math.fround));
  });
  it('executes nothing and refuses other globals by name', async () => {
    const error = await errorOf(() => load(path('evil')));
    expect(error.message).toContain('posix.system');
    expect(error.message).toContain('nothing in the file has been executed');
    expect(existsSync('/tmp/tapegrad-was-here')).toBe(false);
    expect((await errorOf(() => load(path('whole-module')))).message).toContain('torch.nn.modules.linear.Linear');
    expect((await errorOf(() => load(path('complex')))).message).toContain('torch.ComplexFloatStorage');
  });
  it.each([
    ['too-large-integer', "'n' is I64 and contains 16777217"],
    ['too-large-double', "'x' is F64 and contains 1e+300"],
    ['single', 'not contain tensors by name'],
    ['old', 'before PyTorch 1.6'],
  ])('says what is wrong with %s', async (name, text) => {
    const error = await errorOf(() => load(path(name)));
    expect(error.op).toBe('load');
    expect(error.message).toContain(text);
  });
});

describe('a checkpoint that lies', () => {
  const tensorOf = (size: number, offset: number, shape: number[], strides: number[]) =>
    pickle('}', 'U', 1, 'x', ...tensorCodes(size, offset, shape, strides), 's');
  const file = (pkl: Uint8Array, data = new Uint8Array(16)) => archive({ 'a/data.pkl': pkl, 'a/data/0': data });

  /** A directory whose entry promises an extension that is not there. */
  const large = () => {
    const bytes = file(pickle('}'));
    const view = new DataView(bytes.buffer);
    const directory = view.getUint32(bytes.length - 22 + 16, true);
    view.setUint32(directory + 20, 0xffffffff, true);
    view.setUint32(directory + 24, 0xffffffff, true);
    return bytes;
  };

  it('is the file that this test thinks it is', async () => {
    const data = numbers(1, 2, 3, 4);
    expect((await fromPth(file(tensorOf(4, 1, [2], [2]), data))).x.toArraySync()).toEqual([2, 4]);
  });
  it.each([
    ['strides beyond its storage', file(tensorOf(4, 1, [2], [3])), "'x' reaches to number 4 of a storage of 4"],
    ['a storage of another size', file(tensorOf(5, 0, [2], [1])), 'data/0 has 16 bytes, 5 numbers of F32 take 20'],
    ['a huge repeated view', file(tensorOf(4, 0, [1e9], [0])), 'take 4000000000 bytes'],
    ['negative strides', file(tensorOf(4, 3, [2], [-1])), 'not described by a storage'],
    ['a missing storage', archive({ 'a/data.pkl': tensorOf(4, 0, [2], [1]) }), 'data/0, which is missing'],
    ['no pickle', archive({ 'a/data/0': new Uint8Array(4) }), 'not contain data.pkl'],
    ['compression', archive({ 'a/data.pkl': new Uint8Array(100_000) }, 9), 'compressed'],
    ['a big-endian writer', archive({ 'a/data.pkl': pickle('}'), 'a/byteorder': Buffer.from('big') }), 'big-endian'],
    ['a list in itself', file(pickle(']', 'q', 0, 'h', 0, 'a')), 'contains itself'],
    [
      'shared lists with a million paths',
      file(
        pickle(
          ']',
          ...Array.from({ length: 40 }, (_, i) => [
            ']',
            'q',
            i,
            '0',
            ...(i ? ['h', i, 'h', i - 1, 'a', 'h', i - 1, 'a', '0'] : []),
          ]).flat(),
          'h',
          39,
          'a',
        ),
      ),
      'more than 100000 objects',
    ],
    [
      'bottomless lists',
      file(pickle(...Array.from({ length: 5000 }, () => ']'), ...Array.from({ length: 4999 }, () => 'a'))),
      'nested deeper',
    ],
    ['a length that leads back', file(pickle('B', 0xfb, 255, 255, 255)), 'a length is -5'],
    ['an entry in the format for large files', large(), 'points outside the file'],
    ['a call of what is no function', file(pickle('}', ')', 'R')), 'cannot be read'],
    ['an extension', file(pickle(0x82, 1)), 'cannot be read'],
    [
      'attributes for a function',
      file(pickle('ctorch._utils\n_rebuild_parameter\n', '}', 'U', 1, 'x', 'K', 1, 's', 'b')),
      'cannot be read',
    ],
  ])('with %s is refused', async (_, bytes, text) => {
    expect((await errorOf(() => fromPth(bytes))).message).toContain(text);
  });
  it('is refused whatever byte of it is changed, or read as something else, without harm', async () => {
    const good = readFileSync(path('strided'));
    // The directory is at the end.
    const place = fc.oneof(fc.nat(good.length - 1), fc.integer({ min: good.length - 400, max: good.length - 1 }));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1, maxLength: 8 }), async (changes) => {
        const bytes = Uint8Array.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        try {
          await fromPth(bytes);
        } catch (error) {
          if (!(error instanceof TapegradError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });
  it('is told from a safetensors file by its contents', async () => {
    const wrong = join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'model.safetensors');
    writeFileSync(wrong, readFileSync(path('state')));
    expect(Object.keys(await load(wrong))).toEqual(Object.keys(expected.state));
  });
});

describe('the archive of a checkpoint', () => {
  const one = pickleOf({ x: 'X' });
  const good = () => archive({ 'a/data.pkl': one, 'a/data/0': numbers(1, 2, 3, 4) });
  const end = (bytes: Uint8Array) => bytes.length - 22;
  const directory = (bytes: Uint8Array) => view(bytes).getUint32(end(bytes) + 16, true);

  it('may have a comment, another folder, and other files', async () => {
    const bytes = new Uint8Array([...good(), ...Buffer.from('a comment')]);
    view(bytes).setUint16(good().length - 2, 9, true);
    expect((await fromPth(bytes)).x.toArraySync()).toEqual([1, 2]);
    const files = { 'note.txt': numbers(5), 'some/folder/data.pkl': one, 'some/folder/data/0': numbers(5, 6, 7, 8) };
    expect((await fromPth(archive(files))).x.toArraySync()).toEqual([5, 6]);
  });
  it('may be a part of a larger buffer', async () => {
    const whole = new Uint8Array(good().length + 20).fill(255);
    whole.set(good(), 7);
    expect((await fromPth(whole.subarray(7, 7 + good().length))).x.toArraySync()).toEqual([1, 2]);
  });
  it('may say that it is little-endian', async () => {
    const files = { 'a/data.pkl': one, 'a/data/0': numbers(1, 2, 3, 4), 'a/byteorder': Buffer.from('little') };
    expect((await fromPth(archive(files))).x.toArraySync()).toEqual([1, 2]);
  });
  it.each<[string, (bytes: Uint8Array) => Uint8Array | undefined, string]>([
    ['is cut off', (b) => b.subarray(0, b.length - 1), 'the zip archive is damaged: it does not have a directory'],
    ['is only a beginning', (b) => b.subarray(0, 10), 'it does not have a directory'],
    [
      'claims one entry more',
      (b) => void view(b).setUint16(end(b) + 8, 3, true),
      'entry 2 of its directory is invalid',
    ],
    [
      'has its directory elsewhere',
      (b) => void view(b).setUint32(end(b) + 16, 1, true),
      'entry 0 of its directory is invalid',
    ],
    [
      'has its directory beyond the end',
      (b) => void view(b).setUint32(end(b) + 16, 2 ** 31, true),
      'entry 0 of its directory is invalid',
    ],
    [
      'has an entry of more bytes than the file',
      (b) => void view(b).setUint32(directory(b) + 20, b.length + 1, true),
      'entry 0 of its directory points outside the file',
    ],
    [
      'has an entry that starts beyond the file',
      (b) => void view(b).setUint32(directory(b) + 42, b.length + 1, true),
      'entry 0 of its directory points outside the file',
    ],
    [
      'has an entry of an unknown size',
      (b) => void view(b).setUint32(directory(b) + 24, 0xffffffff, true),
      'entry 0 of its directory points outside the file',
    ],
    [
      'has an entry with a name beyond the directory',
      (b) => void view(b).setUint16(directory(b) + 28, 60_000, true),
      'entry 1 of its directory is invalid',
    ],
    [
      'has an entry with a field beyond the directory',
      (b) => void view(b).setUint16(directory(b) + 30, 60_000, true),
      'entry 1 of its directory is invalid',
    ],
    [
      'has an entry with a comment beyond the directory',
      (b) => void view(b).setUint16(directory(b) + 32, 60_000, true),
      'entry 1 of its directory is invalid',
    ],
    [
      'has an entry that claims more than the file',
      (b) => void view(b).setUint32(directory(b) + 24, b.length + 1, true),
      'bytes, the file has',
    ],
  ])('that %s is refused', async (_, change, text) => {
    const bytes = Uint8Array.from(good());
    expect((await errorOf(() => fromPth(change(bytes) ?? bytes))).message).toContain(text);
  });
  it.each<[string, (v: DataView, end: number, second: number) => void]>([
    ['points behind itself', (v, at) => v.setUint32(at - 12, at - 55, true)],
    ['points to something else', (v, at, second) => v.setUint32(at - 12, second + 1, true)],
    ['is no such record', (v, _, second) => v.setUint32(second, 7, true)],
  ])('with a directory for large files that %s is refused', async (_, change) => {
    const bytes = Uint8Array.from(readFileSync(path('strided')));
    const at = end(bytes);
    change(view(bytes), at, view(bytes).getUint32(at - 12, true));
    expect((await errorOf(() => fromPth(bytes))).message).toContain('its zip64 end of directory is invalid');
  });
  it('with a directory for large files has its count and its place there', async () => {
    for (const [field, text] of [
      [32, /entry \d+ of its directory is invalid/],
      [48, /entry 0 of its directory is invalid/],
    ] as const) {
      const bytes = Uint8Array.from(readFileSync(path('strided')));
      const second = view(bytes).getUint32(end(bytes) - 12, true);
      view(bytes).setUint32(second + field, view(bytes).getUint32(second + field, true) + 1, true);
      expect((await errorOf(() => fromPth(bytes))).message).toMatch(text);
    }
  });
});
