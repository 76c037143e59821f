import { describe, expect, it } from 'vitest';
import { arange, ones, tensor, zeros } from '../src/index.js';
import { format } from '../src/print.js';

/** With gaps of any kind as one blank. */
const flat = (text: string) => text.replace(/\s+/g, ' ');

describe('printing', () => {
  it('shows up to 1000 elements whole, and shortens beyond', () => {
    expect(String(arange(1000))).not.toContain('...');
    expect(String(arange(1001))).toBe('tensor([   0.,    1.,    2., ...,  998.,  999., 1000.])');
    expect(String(zeros([1001]))).toBe('tensor([0., 0., 0., ..., 0., 0., 0.])');
    expect(String(arange(1002).reshape([167, 6]))).toBe(
      [
        'tensor([[   0.,    1.,    2.,    3.,    4.,    5.],',
        '        [   6.,    7.,    8.,    9.,   10.,   11.],',
        '        [  12.,   13.,   14.,   15.,   16.,   17.],',
        '        ...,',
        '        [ 984.,  985.,  986.,  987.,  988.,  989.],',
        '        [ 990.,  991.,  992.,  993.,  994.,  995.],',
        '        [ 996.,  997.,  998.,  999., 1000., 1001.]])',
      ].join('\n'),
    );
    expect(String(arange(1001).reshape([143, 7])).split('\n')[0]).toBe(
      'tensor([[   0.,    1.,    2., ...,    4.,    5.,    6.],',
    );
  });
  it('sets blocks apart by an empty line for each dimension', () => {
    expect(String(arange(8).reshape([2, 2, 2]))).toBe(
      ['tensor([[[0., 1.],', '         [2., 3.]],', '', '        [[4., 5.],', '         [6., 7.]]])'].join('\n'),
    );
    expect(String(arange(2).reshape([1, 2, 1]))).toBe('tensor([[[0.],\n         [1.]]])');
    expect(String(tensor(3))).toBe('tensor(3.)');
    expect(String(tensor([[3]]))).toBe('tensor([[3.]])');
  });
  it('chooses one form for all numbers', () => {
    expect(String(tensor([1, 0.5, -2]))).toBe('tensor([ 1.0000,  0.5000, -2.0000])');
    expect(String(tensor([0, NaN, Infinity, -Infinity]))).toBe('tensor([  0.,  nan,  inf, -inf])');
    expect(String(tensor([NaN, NaN]))).toBe('tensor([nan, nan])');
    expect(String(tensor([0, 0]))).toBe('tensor([0., 0.])');
    expect(String(tensor([1, 1000.5]))).toBe('tensor([1.0000e+00, 1.0005e+03])');
    expect(String(tensor([0.5, 500]))).toBe('tensor([  0.5000, 500.0000])');
    expect(String(tensor([0.00005]))).toBe('tensor([5.0000e-05])');
    expect(String(tensor([1e8]))).toBe('tensor([1.0000e+08])');
    expect(String(tensor([99999992]))).toBe('tensor([99999992.])');
    expect(String(tensor([-0, 1]))).toBe('tensor([-0.,  1.])');
  });
  it('takes any shape in no time', () => {
    const started = performance.now();
    expect(flat(String(zeros([1_000_000, 1])))).toBe('tensor([[0.], [0.], [0.], ..., [0.], [0.], [0.]])');
    expect(flat(String(zeros([1, 1_000_000])))).toBe('tensor([[0., 0., 0., ..., 0., 0., 0.]])');
    expect(flat(String(zeros([300_000, 7]))).length).toBeLessThan(300);
    const most = new Array<number>(64).fill(1);
    expect(String(ones(most))).toBe(`tensor(${'['.repeat(64)}1.${']'.repeat(64)})`);
    expect(String(ones(new Array<number>(20_000).fill(1)))).toContain('[1.]');
    const whole = String(arange(2 ** 9).reshape(new Array<number>(9).fill(2)));
    expect(whole.match(/\d\./g)).toHaveLength(2 ** 9);
    // PyTorch would print the million.
    const many = String(zeros(new Array<number>(20).fill(2)));
    const shown = many.match(/0\./g)!.length;
    expect(Math.log2(shown)).toBe(15);
    expect(many.match(/\.\.\./g)).toHaveLength(5);
    expect(many.startsWith(`tensor(${'['.repeat(20)}0., 0.],`)).toBe(true);
    expect(flat(many).endsWith('0.]]]]]]]]]]]]]]], ...], ...], ...], ...], ...])')).toBe(true);
    // As PyTorch does, up to six dimensions are shortened in their middle only.
    expect(String(zeros(new Array<number>(6).fill(7))).match(/0\./g)).toHaveLength(6 ** 6);
    // Ones among the dimensions left out cost nothing.
    const mixed = String(zeros([2, 1, ...new Array<number>(17).fill(2)]));
    expect(mixed.match(/\.\.\./g)).toHaveLength(3);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
  it('puts every number in its place', () => {
    const n = 12 * 13 * 14;
    const values = Float32Array.from({ length: n }, (_, i) => i);
    const shown = format(values, [12, 13, 14]).match(/\d+\./g)!.map(Number);
    const ends = (length: number) => [0, 1, 2, length - 3, length - 2, length - 1];
    expect(shown).toEqual(ends(12).flatMap((i) => ends(13).flatMap((j) => ends(14).map((k) => (i * 13 + j) * 14 + k))));
  });
});
