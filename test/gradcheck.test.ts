import { describe, expect, it } from 'vitest';
import { autograd, gradcheck, type Tensor, tensor } from '../src/index.js';
import { errorOf, startLateDevice } from './helpers.js';

const leaf = (values: number[]) => tensor(values, { requiresGrad: true });
const any = (value: unknown) => value as never;

/** factor · x, whose backward says that the derivative is `claimed`. */
const claiming = (factor: number, claimed: number) =>
  autograd.customFunction({ forward: (_, x: Tensor) => x.mul(factor), backward: (_, g) => g.mul(claimed) });

describe('gradcheck', () => {
  it('leaves its inputs alone', () => {
    const [x, y] = [leaf([1, 2]), tensor([3, 4])];
    expect(gradcheck((a, b) => a.mul(b), [x, y])).toBe(true);
    expect([x.grad, x.toArraySync(), y.toArraySync()]).toEqual([null, [1, 2], [3, 4]]);
  });
  it('does not vary what requires no gradient', () => {
    const step = (x: Tensor, y: Tensor) => {
      expect(y.itemSync()).toBe(0.5);
      return x.mul(y);
    };
    expect(gradcheck(step, [leaf([2]), tensor([0.5])], { secondOrder: true })).toBe(true);
  });
  it('is in double precision', () => {
    // Near 1 the step of the differences is lost in float32.
    expect(gradcheck((x) => x.sub(1e6).mul(x), [leaf([1e6])])).toBe(true);
  });
  it('takes a result without a gradient for a constant', async () => {
    expect(gradcheck(() => tensor([1, 2]), [leaf([3])], { secondOrder: true })).toBe(true);
    const error = await errorOf(() => gradcheck((x) => x.detach().mul(2), [leaf([3])]));
    expect(error.message).toContain('the gradient of input 0 [1], element 0, is 0, by differences 1.0');
    expect(error.shapes).toEqual([[1]]);
  });
  it('notices an input that gets no gradient beside one that does', async () => {
    const error = await errorOf(() => gradcheck((a, b) => a.add(b.detach()), [leaf([1]), leaf([1, 2])]));
    expect(error.message).toContain('the gradient of input 1 [2], element 0, is 0');
    expect(gradcheck((a, _b) => a.mul(a), [leaf([1]), leaf([1, 2])], { secondOrder: true })).toBe(true);
  });
  it('notices gradients that reach the wrong elements', async () => {
    const swapped = autograd.customFunction({
      forward: (_, x: Tensor) => x.mul(2),
      backward: (_, g) => tensor([g.select(0, 1).itemSync() * 2, g.select(0, 0).itemSync() * 2]),
    });
    expect((await errorOf(() => gradcheck(swapped, [leaf([1, 2])]))).message).toContain('element 0');
  });
  it('names the element and the numbers', async () => {
    const wrong = autograd.customFunction({
      forward: (_, x: Tensor) => x.mul(1),
      backward: (_, g) => g.mul(tensor([1, 1, 2])),
    });
    const message = (await errorOf(() => gradcheck(wrong, [leaf([1, 2, 3])]))).message;
    expect(message).toContain('input 0 [3], element 2');
  });
  it('refuses a derivative that is too small as well as one that is too large', async () => {
    for (const claimed of [1.9, 2.1])
      expect((await errorOf(() => gradcheck(claiming(2, claimed), [leaf([1])]))).op).toBe('gradcheck');
    for (const claimed of [-1.9, -2.1])
      expect((await errorOf(() => gradcheck(claiming(-2, claimed), [leaf([1])]))).op).toBe('gradcheck');
  });
  it('allows for a difference relative to the derivative, whatever its sign', async () => {
    for (const factor of [1000, -1000]) {
      expect(gradcheck(claiming(factor, factor * 1.00005), [leaf([1])])).toBe(true);
      expect((await errorOf(() => gradcheck(claiming(factor, factor * 1.0002), [leaf([1])]))).op).toBe('gradcheck');
      expect(gradcheck(claiming(factor, factor * 1.05), [leaf([1])], { rtol: 0.1 })).toBe(true);
    }
  });
  it('allows for an absolute difference', async () => {
    const small = claiming(0, 0.004);
    expect((await errorOf(() => gradcheck(small, [leaf([1])]))).op).toBe('gradcheck');
    // The elements are weighted; the first with 1/2.
    expect(gradcheck(small, [leaf([1])], { atol: 0.0021, rtol: 0 })).toBe(true);
    expect((await errorOf(() => gradcheck(small, [leaf([1])], { atol: 0.0019 }))).op).toBe('gradcheck');
  });
  it('takes steps of eps on both sides', async () => {
    const seen: number[] = [];
    const note = (x: Tensor) => {
      seen.push(x.itemSync());
      return x.mul(1);
    };
    expect(gradcheck(note, [leaf([2])], { eps: 0.25 })).toBe(true);
    expect(seen).toEqual([2, 2.25, 1.75]);
    // |x| has no derivative at 0, and central differences see none.
    expect(gradcheck((x) => x.abs(), [leaf([0])])).toBe(true);
  });
  it('refuses a derivative that is NaN', async () => {
    expect((await errorOf(() => gradcheck(claiming(1, Number.NaN), [leaf([1])]))).message).toContain('is NaN');
  });
  // biome-ignore format: one line a case
  it.each<[string, () => unknown, string]>([
    ['no function', () => gradcheck(any(1), [leaf([1])]), '[gradcheck] fn is 1; pass a function of tensors'],
    ['one tensor for the list', () => gradcheck((x) => x, any(leaf([1]))), 'inputs is a Tensor; pass an array of tensors'],
    ['a number among the inputs', () => gradcheck((x) => x, [leaf([1]), any(2)]), 'inputs[1] is 2; pass tensors'],
    ['inputs that need no gradient', () => gradcheck((x) => x, [tensor([1])]), 'no input requires a gradient'],
    ['a result that is no tensor', () => gradcheck(any(() => 3), [leaf([1])]), 'the function returned 3; return one tensor'],
    ['an unknown option', () => gradcheck((x) => x, [leaf([1])], any({ order: 2 })), "unknown option 'order'"],
    ['a step of 0', () => gradcheck((x) => x, [leaf([1])], { eps: 0 }), 'eps is 0'],
    ['a negative absolute tolerance', () => gradcheck((x) => x, [leaf([1])], { atol: -1 }), 'atol is -1'],
    ['a negative relative tolerance', () => gradcheck((x) => x, [leaf([1])], { rtol: -1 }), 'rtol is -1'],
  ])('refuses %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
  it('refuses inputs that the host cannot read at once', async () => {
    startLateDevice();
    const x = tensor([1], { device: 'gpu', requiresGrad: true });
    expect((await errorOf(() => gradcheck((t) => t, [x]))).message).toBe(
      "[gradcheck] an input is on 'gpu'; move it with .to('cpu')",
    );
  });
});
