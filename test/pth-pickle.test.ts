import { describe, expect, it } from 'vitest';
import { fromPth } from '../src/io/pth.js';
import { errorOf } from './helpers.js';
import { archive, numbers, pickle, pickleOf, tensorCodes } from './pickles.js';

describe('the pickle of a checkpoint', () => {
  const state = (contents: unknown, data = numbers(1, 2, 3, 4)) =>
    fromPth(archive({ 'a/data.pkl': pickleOf(contents), 'a/data/0': data }));

  it('gives names to tensors in dicts and lists, and leaves other values out', async () => {
    const found = await state({ model: { w: 'X', lr: 3, list: [{ b: 'X' }, 5, 'X'] }, epoch: 7, last: 'X' });
    expect(Object.keys(found)).toEqual(['model.w', 'model.list.0.b', 'model.list.2', 'last']);
  });
  it('may name one list twice', async () => {
    const codes = [
      ']',
      'q',
      9,
      ...tensorCodes(4, 0, [2], [1]),
      'a',
      '0',
      '}',
      'U',
      1,
      'p',
      'h',
      9,
      's',
      'U',
      1,
      'q',
      'h',
      9,
      's',
    ];
    const found = await fromPth(archive({ 'a/data.pkl': pickle(...codes), 'a/data/0': numbers(1, 2, 3, 4) }));
    expect(Object.keys(found)).toEqual(['p.0', 'q.0']);
  });
  it('may nest as deeply as programs do, and no deeper', async () => {
    const nest = (depth: number): unknown => (depth === 0 ? 'X' : [nest(depth - 1)]);
    expect(Object.keys(await state({ x: nest(99) }))).toHaveLength(1);
    expect((await errorOf(() => state({ x: nest(101) }))).message).toContain('its dicts are nested deeper than 100');
  });
  it.each<[string, number[], number[], number, number[], number[]]>([
    ['a matrix', [2, 2], [2, 1], 0, [2, 2], [1, 2, 3, 4]],
    ['a transpose', [2, 2], [1, 2], 0, [2, 2], [1, 3, 2, 4]],
    ['a part', [1, 2], [2, 1], 2, [1, 2], [3, 4]],
    ['a repetition', [3, 2], [0, 1], 1, [3, 2], [2, 3, 2, 3, 2, 3]],
    ['one number', [], [], 3, [], [4]],
    ['three dimensions', [2, 1, 2], [1, 7, 2], 0, [2, 1, 2], [1, 3, 2, 4]],
    ['no elements, wherever they would be', [0, 2], [2, 1], 100, [0, 2], []],
  ])('describes %s', async (_, shape, strides, offset, expectedShape, values) => {
    const pkl = pickle('}', 'U', 1, 'x', ...tensorCodes(4, offset, shape, strides), 's');
    const { x } = await fromPth(archive({ 'a/data.pkl': pkl, 'a/data/0': numbers(1, 2, 3, 4) }));
    expect([x.shape, [...x.dataSync()]]).toEqual([expectedShape, values]);
  });
  it('may have integers of up to 1024 bytes, whose conversion takes no time', async () => {
    const pkl = (length: number) => {
      const integer = [0x8b, length & 255, length >> 8, 0, 0, ...new Array<number>(length).fill(1)];
      return pickle('}', 'U', 1, 'n', ...integer, 's', 'U', 1, 'x', ...tensorCodes(4, 0, [2], [1]), 's');
    };
    const bytes = (length: number) => archive({ 'a/data.pkl': pkl(length), 'a/data/0': numbers(1, 2, 3, 4) });
    expect(Object.keys(await fromPth(bytes(1024)))).toEqual(['x']);
    expect((await errorOf(() => fromPth(bytes(1025)))).message).toContain(
      'an integer has 1025 bytes, and the limit is 1024',
    );
  });
  it('may have long texts', async () => {
    const name = 'n'.repeat(5000);
    const pkl = pickle('}', 'X', 5000 & 255, 5000 >> 8, 0, 0, name, ...tensorCodes(4, 0, [2], [1]), 's');
    const found = await fromPth(archive({ 'a/data.pkl': pkl, 'a/data/0': numbers(1, 2, 3, 4) }));
    expect(Object.keys(found)).toEqual([name]);
  });
  it('may repeat numbers up to 64 times the size of the file', async () => {
    const pkl = (n: number) => pickle('}', 'U', 1, 'x', ...tensorCodes(4, 0, [n], [0]), 's');
    const bytes = (n: number) => archive({ 'a/data.pkl': pkl(n), 'a/data/0': numbers(1, 2, 3, 4) });
    const most = (64 * bytes(4000).length) / 4;
    expect((await fromPth(bytes(most))).x.size).toBe(most);
    expect((await errorOf(() => fromPth(bytes(most + 1)))).message).toContain(
      `its tensors up to 'x' take ${4 * most + 4} bytes, the file has`,
    );
  });
  it.each<[string, (string | number)[], string]>([
    [
      'more strides than dimensions',
      ['}', 'U', 1, 'x', ...tensorCodes(4, 0, [2], [1, 1]), 's'],
      'a tensor has 1 dimensions and 2 strides',
    ],
    [
      'a tensor of no storage',
      ['}', 'U', 1, 'x', 'ctorch._utils\n_rebuild_tensor_v2\n', 'K', 1, 'K', 0, '(', 'K', 1, 't', 0x85, 't', 'R', 's'],
      'the pickle cannot be read',
    ],
    [
      'a reference to something else',
      ['}', 'U', 1, 'x', '(', 'U', 6, 'module', 't', 'Q', 's'],
      'does not refer to a storage',
    ],
    ['a reference that is no tuple', ['}', 'U', 1, 'x', 'K', 5, 'Q', 's'], '5 does not refer to a storage'],
    [
      'a storage of no known type',
      ['}', 'U', 1, 'x', '(', 'U', 7, 'storage', 'K', 1, 'U', 1, '0', 'U', 3, 'cpu', 'K', 4, 't', 'Q', 's'],
      'does not refer to a storage',
    ],
    [
      'a storage whose key is a number',
      [
        '}',
        'U',
        1,
        'x',
        '(',
        'U',
        7,
        'storage',
        'ctorch\nFloatStorage\n',
        'K',
        0,
        'U',
        3,
        'cpu',
        'K',
        4,
        't',
        'Q',
        's',
      ],
      'does not refer to a storage',
    ],
    [
      'a storage whose size is text',
      [
        '}',
        'U',
        1,
        'x',
        '(',
        'U',
        7,
        'storage',
        'ctorch\nFloatStorage\n',
        'U',
        1,
        '0',
        'U',
        3,
        'cpu',
        'U',
        1,
        '4',
        't',
        'Q',
        's',
      ],
      'does not refer to a storage',
    ],
    ['a name of Object', ['ctorch\ntoString\n'], 'the file calls torch.toString, which does not rebuild a tensor'],
    ['a storage of another module', ['cnumpy\nFloatStorage\n'], 'the file calls numpy.FloatStorage'],
    ['text beyond 4 GiB', [0x8d, 1, 0, 0, 0, 1, 0, 0, 0], 'a length is above 4 GiB'],
    [
      'no tensors',
      ['}', 'U', 1, 'x', 'K', 1, 's'],
      'it does not contain tensors by name; save a dict, such as model.state_dict(), with torch.save',
    ],
  ])('with %s is refused', async (_, codes, text) => {
    const error = await errorOf(() =>
      fromPth(archive({ 'a/data.pkl': pickle(...codes), 'a/data/0': numbers(1, 2, 3, 4) })),
    );
    expect([error.op, error.message]).toEqual(['load', expect.stringContaining(text)]);
  });
});
