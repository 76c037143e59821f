import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { zipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { nn, TapegradError } from '../src/index.js';
import { load } from '../src/io/index.js';
import { fromPth } from '../src/io/pth.js';
import { errorOf } from './helpers.js';

// Files of PyTorch, written by golden/pth.py.

const path = (name: string) => `test/golden/pth/${name}.pth`;
const expected = JSON.parse(readFileSync('test/golden/pth/expected.json', 'utf8')) as Record<
  string,
  Record<string, { shape: number[]; values: number[] }>
>;

/** The bytes of an archive with other contents. */
const archive = (files: Record<string, Uint8Array>, level: 0 | 9 = 0) => zipSync(files, { level });
/** A pickle of protocol 2 with these opcodes. */
const pickle = (...codes: (string | number)[]) =>
  Uint8Array.from([0x80, 2, ...codes.flatMap((c) => (typeof c === 'number' ? [c] : [...Buffer.from(c)])), 0x2e]);

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
  const tensorOf = (size: number, offset: number, shape: number[], strides: number[]) => {
    const ints = (v: number[]) => [
      '(',
      ...v.flatMap((n) => [0x4a, n & 255, (n >> 8) & 255, (n >> 16) & 255, n >> 24]),
      't',
    ];
    return pickle(
      ...['}', 'U', 1, 'x', 'ctorch._utils\n_rebuild_tensor_v2\n', '(', '('],
      ...['U', 7, 'storage', 'ctorch\nFloatStorage\n', 'U', 1, '0', 'U', 3, 'cpu', 0x4a, size, 0, 0, 0, 't', 'Q'],
      ...[0x4a, offset, 0, 0, 0, ...ints(shape), ...ints(strides), 0x89, '}', 't', 'R', 's'],
    );
  };
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
    const numbers = new Uint8Array(Float32Array.from([1, 2, 3, 4]).buffer);
    expect((await fromPth(file(tensorOf(4, 1, [2], [2]), numbers))).x.toArraySync()).toEqual([2, 4]);
    expect((await fromPth(file(tensorOf(4, 0, [0, 2], [2, 1]), numbers))).x.shape).toEqual([0, 2]);
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
