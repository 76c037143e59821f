import { describe, expect, it, vi } from 'vitest';
import { autograd, checkpoint, nn, noGrad, ones, optim, type Tensor, tensor, zeros } from '../src/index.js';
import { dispatch, generalRow } from '../src/ops/dispatch.js';
import { errorOf } from './helpers.js';

// What autograd refuses: the shapes that a program can read from the error, and that nothing is left behind.

const any = (value: unknown) => value as never;
const leaf = (values: number[]) => tensor(values, { requiresGrad: true });
const { customFunction } = autograd;

/** Changes a parameter in place. */
function step(w: Tensor): void {
  w.grad = ones([...w.shape]);
  new optim.SGD([w], { lr: 0.1 }).step();
}

/** Backward through a checkpoint whose second run is another function. */
function differing(first: (t: Tensor) => Tensor, second: (t: Tensor) => Tensor): void {
  let n = 0;
  checkpoint((t) => (n++ === 0 ? first : second)(t), leaf([1, 2]))
    .sum()
    .backward();
}

const saving = (save: (ctx: autograd.ForwardContext, t: Tensor) => void) =>
  customFunction({
    name: 'saving',
    forward(ctx, t: Tensor) {
      save(ctx, t);
      return t.mul(2);
    },
    backward: (_, g) => g.mul(2),
  });

/** An operation whose gradient has the shape of its result. */
const wrong = generalRow<null>('wrong', {
  forward: ([x]) => x.sum(),
  saves: 'nothing',
  grad: (g) => [g],
});

// biome-ignore format: one line a case
const cases: [string, () => unknown, string, string, readonly (readonly number[])[]][] = [
  ['another step in the second run', () => differing((t) => t.exp(), (t) => t.tanh()), 'checkpoint', 'made step 1 tanh of [2], the first one exp of [2]', [[2]]],
  ['another number of inputs', () => differing((t) => nn.functional.linear(t, zeros([3, 2])).exp(), (t) => nn.functional.linear(t, zeros([3, 2]), zeros([3])).exp()), 'checkpoint', 'made step 1 linear of [2] and [3, 2] and [3], the first one linear of [2] and [3, 2]', [[2], [3, 2], [3]]],
  ['another result of the same inputs', () => differing((t) => t.reshape([1, 2]).exp(), (t) => t.reshape([2, 1]).exp()), 'checkpoint', 'made step 1 reshape of [2], the first one reshape of [2]', [[2]]],
  ['more steps', () => differing((t) => t.exp(), (t) => t.exp().mul(ones([3, 2]))), 'checkpoint', 'went on with mul of [2] and [3, 2], where the first one had ended', [[2], [3, 2]]],
  ['fewer steps', () => differing((t) => t.exp().mul(ones([3, 2])), (t) => t.exp()), 'checkpoint', 'ended before mul of [2] and [3, 2], which the first one made', [[2], [3, 2]]],
  ['an input of a checkpoint that was changed', () => { const w = leaf([1, 2]); const y = checkpoint((_, t) => t.exp(), 3, w).sum(); step(w); y.backward(); }, 'checkpoint', 'input 1 of fn, shape [2], was changed in place after the first run', [[2]]],
  ['a captured parameter that was changed', () => { const w = leaf([1, 2]); const y = checkpoint((t) => t.add(w).exp(), leaf([3])).sum(); step(w); y.backward(); }, 'checkpoint', 'input 1 of add, shape [2], was changed', [[2]]],
  ['a saved input that was changed', () => { const w = leaf([1, 2]); const y = w.mul(w).sum(); step(w); y.backward(); }, 'backward', 'input 0 of mul, shape [2], was changed in place after the forward pass', [[2]]],
  ['a second saved input that was changed', () => { const w = leaf([1, 2]); const y = ones([3, 2]).mul(w).sum(); step(w); y.backward(); }, 'backward', 'input 1 of mul, shape [2], was changed in place', [[2]]],
  ['a saved result that was changed', () => { const y = leaf([1, 2]).exp(); noGrad(() => y.detach().copyFrom(zeros([2]))); y.sum().backward(); }, 'backward', 'the result of exp, shape [2], was changed in place', [[2]]],
  ['a gradient of another shape, a defect of an operation', () => dispatch(wrong, [leaf([1, 2])], null).backward(), 'backward', 'wrong computed a gradient of shape [] for input 0 of shape [2]; this is a defect of tapegrad', [[], [2]]],
  ['a saved tensor that a custom function has not as an input', () => { const w = leaf([1, 2, 3]); saving((ctx) => ctx.saveForBackward(w))(leaf([1])); }, 'saving', 'the saved tensor of shape [3] requires a gradient and is not an input', [[3]]],
  ['a saved tensor of a custom function that was changed', () => { const w = leaf([1, 2]); const y = saving((ctx, t) => ctx.saveForBackward(zeros([1]), t))(w).sum(); step(w); y.backward(); }, 'backward', 'saved tensor 1 of saving, shape [2], was changed in place', [[2]]],
  ['second derivatives of a custom function that would be lost', () => saving((ctx, t) => ctx.saveForBackward(t, t.exp()))(leaf([1, 2])).sum().backward(undefined, { createGraph: true }), 'backward', 'second derivatives of saving would miss saved tensor 1, shape [2]', [[2]]],
  ['a gradient of a custom function of another shape', () => customFunction({ name: 'f', forward: (_, t: Tensor) => t.sum(), backward: (_, g) => g })(leaf([1, 2])).backward(), 'f', 'gradient 0, of argument 0, has shape [], the input shape [2]', [[], [2]]],
  ['a second run through what is released', () => { const y = leaf([1, 2]).exp().sum(); y.backward(); y.backward(); }, 'backward', 'the values saved by exp were released by an earlier backward; pass { retainGraph: true }', []],
  ['a second run through a released custom function', () => { const y = saving((ctx, t) => ctx.saveForBackward(t))(leaf([1])); y.backward(); y.backward(); }, 'backward', 'the values saved by saving were released by an earlier backward; pass { retainGraph: true }', []],
  ['a name that is no string', () => customFunction(any({ name: 3, forward() {}, backward() {} })), 'customFunction', 'name is 3; pass a string', []],
  ['null for options', () => customFunction(any(null)), 'customFunction', 'the argument is null; pass { forward(ctx, x)', []],
  ['a string for options', () => customFunction(any('f')), 'customFunction', "the argument is 'f'", []],
  ['a forward that is no function', () => customFunction(any({ forward: 1, backward() {} })), 'customFunction', 'forward is 1', []],
  ['gradients for all arguments, one of them of what is no tensor', () => customFunction({ name: 'g', forward: (_, t: Tensor, _k: number) => t.mul(1), backward: (_, g) => [g, g] })(leaf([1]), 2).backward(), 'g', 'backward returned 2 gradients', []],
];

describe('autograd refuses', () => {
  it.each(cases)('%s', async (_, run, op, text, shapes) => {
    const error = await errorOf(run);
    expect(error.message).toContain(text);
    expect([error.op, error.shapes]).toEqual([op, shapes]);
    expect(leaf([1]).mul(2).requiresGrad).toBe(true);
  });
});

describe('without AsyncLocalStorage', () => {
  it('synchronous functions and generators work in noGrad, others end with an error that leaves nothing behind', async () => {
    vi.resetModules();
    const none = vi.spyOn(process, 'getBuiltinModule').mockReturnValue(null as never);
    try {
      const mode = await import('../src/autograd/mode.js');
      const enabled = () => mode.isGradEnabled();
      for (const value of [undefined, null, 3, 'text']) expect(mode.noGrad(() => value)).toBe(value);
      const object = { some: 'object' };
      expect(mode.noGrad(() => object)).toBe(object);
      expect(mode.noGrad(() => [enabled(), mode.noGrad(enabled), enabled()])).toEqual([false, false, false]);
      const fails = () => {
        throw new Error('out');
      };
      expect(() => mode.noGrad(fails)).toThrow('out');
      expect(enabled()).toBe(true);
      const steps = mode.noGrad(function* () {
        yield enabled();
        yield enabled();
      });
      expect([steps.next().value, enabled(), steps.next().value, steps.next().done]).toEqual([
        false,
        true,
        false,
        true,
      ]);
      expect(() => mode.noGrad(async () => 3)).toThrow(
        '[noGrad] the function is asynchronous, which needs AsyncLocalStorage',
      );
      expect(enabled()).toBe(true);
    } finally {
      none.mockRestore();
      vi.resetModules();
    }
  });
});

describe('noGrad within backward', () => {
  it('holds in a custom function while the pass records, and ends with its function', () => {
    const seen: boolean[] = [];
    const f = customFunction({
      forward(ctx, t: Tensor) {
        ctx.saveForBackward(t);
        seen.push(t.mul(2).requiresGrad);
        return t.mul(t);
      },
      backward(ctx, g) {
        const [t] = ctx.saved;
        const records = () => t.mul(2).requiresGrad;
        seen.push(records(), noGrad(records), records());
        return g.mul(t).mul(2);
      },
    });
    const x = leaf([3]);
    f(x).backward(undefined, { createGraph: true });
    noGrad(() => f(x));
    f(x).backward();
    // In forward nothing is recorded; in backward what createGraph asks for, except inside noGrad.
    expect(seen).toEqual([false, true, false, true, false, false, false, false, false]);
    expect(x.mul(2).requiresGrad).toBe(true);
  });
});
