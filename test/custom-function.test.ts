import { describe, expect, expectTypeOf, it, vi } from 'vitest';
import {
  autograd,
  checkpoint,
  detectAnomaly,
  gradcheck,
  nn,
  noGrad,
  ones,
  optim,
  randn,
  type Tensor,
  tensor,
} from '../src/index.js';
import { errorOf, expectClose } from './helpers.js';

const { customFunction } = autograd;
const leaf = (values: number[] | number[][]) => tensor(values, { requiresGrad: true });
const any = (value: unknown) => value as never;

const square = customFunction({
  name: 'square',
  forward(ctx, x: Tensor) {
    ctx.saveForBackward(x);
    return x.mul(x);
  },
  backward: (ctx, g) => g.mul(ctx.saved[0]).mul(2),
});

/** exp through its saved result. */
const exponential = customFunction({
  name: 'exponential',
  forward(ctx, x: Tensor) {
    const y = x.exp();
    ctx.saveForBackward(y);
    return y;
  },
  backward: (ctx, g) => g.mul(ctx.saved[0]),
});

/** Product and quotient, with a factor that is no tensor between the tensors. */
const both = customFunction({
  name: 'both',
  forward(ctx, a: Tensor, factor: number, b: Tensor) {
    ctx.saveForBackward(a, b);
    return [a.mul(b).mul(factor), a.div(b)];
  },
  backward(ctx, g, h) {
    const [a, b] = ctx.saved;
    const scaled = g.mul(ctx.args[1]);
    return [scaled.mul(b).add(h.div(b)), scaled.mul(a).sub(h.mul(a).div(b.mul(b)))];
  },
});

describe('customFunction', () => {
  it('has the types of its forward', () => {
    expectTypeOf(square).toEqualTypeOf<(x: Tensor) => Tensor>();
    expectTypeOf(both).toEqualTypeOf<(a: Tensor, factor: number, b: Tensor) => [Tensor, Tensor]>();
    const list = customFunction({
      forward: (_, x: Tensor): Tensor[] => [x],
      backward: (_, ...gradients) => gradients,
    });
    expectTypeOf(list).returns.toEqualTypeOf<Tensor[]>();
  });
  it('gives the forward, and the gradient of the backward', () => {
    const x = leaf([1, -2, 3]);
    const y = square(x);
    expect([...y.dataSync()]).toEqual([1, 4, 9]);
    expect(String(y)).toContain('op=square');
    y.sum().backward();
    expect([...x.grad!.dataSync()]).toEqual([2, -4, 6]);
  });
  it('calls the backward that was given, not a derivative of the forward', () => {
    const wrong = customFunction({ forward: (_, x: Tensor) => x.mul(x), backward: (_, g) => g.mul(7) });
    const x = leaf([1, 2]);
    wrong(x).sum().backward();
    expect([...x.grad!.dataSync()]).toEqual([7, 7]);
  });
  it('passes gradcheck, to the second derivative', () => {
    const [x, y] = [leaf([0.5, -1.5, 2]), leaf([1.5, 0.7, -2])];
    for (const f of [square, exponential]) expect(gradcheck(f, [x], { secondOrder: true })).toBe(true);
    const sum = (a: Tensor, b: Tensor) => {
      const [p, q] = both(a, 3, b);
      return p.add(q.mul(q));
    };
    expect(gradcheck(sum, [x, y], { secondOrder: true })).toBe(true);
    // A single result of several.
    for (const i of [0, 1]) expect(gradcheck((a, b) => both(a, 3, b)[i], [x, y], { secondOrder: true })).toBe(true);
  });
  it('fails gradcheck where the backward is wrong', async () => {
    const wrong = customFunction({
      forward(ctx, x: Tensor) {
        ctx.saveForBackward(x);
        return x.mul(x);
      },
      backward: (ctx, g) => g.mul(ctx.saved[0]).mul(2.01),
    });
    expect((await errorOf(() => gradcheck(wrong, [leaf([1, 2])]))).message).toContain('the gradient of input 0');
    // First derivatives right, second ones lost: the saved value is a constant by the function's own word.
    const constant = customFunction({
      forward(ctx, x: Tensor) {
        const double = x.mul(2);
        ctx.markNonDifferentiable(double);
        ctx.saveForBackward(double);
        return x.mul(x);
      },
      backward: (ctx, g) => g.mul(ctx.saved[0]),
    });
    expect(gradcheck(constant, [leaf([1, 2])])).toBe(true);
    const error = await errorOf(() => gradcheck(constant, [leaf([1, 2])], { secondOrder: true }));
    expect(error.message).toContain('the second derivative of input 0');
  });
  it('refuses second derivatives through what forward computed on its way', async () => {
    const tanh = customFunction({
      name: 'tanh2',
      forward(ctx, x: Tensor) {
        const e = x.mul(2).exp();
        ctx.saveForBackward(e);
        return e.sub(1).div(e.add(1));
      },
      backward(ctx, g) {
        const [e] = ctx.saved;
        return g.mul(e.mul(4).div(e.add(1).pow(2)));
      },
    });
    expect(gradcheck(tanh, [leaf([0.3, -1])])).toBe(true);
    const y = tanh(leaf([0.3, -1])).sum();
    const error = await errorOf(() => y.backward(undefined, { createGraph: true }));
    expect(error.message).toContain('second derivatives of tanh2 would miss saved tensor 0, shape [2]');
    expect(error.remedy).toContain('save the inputs and compute it again in backward');
    // Another tensor on an input's numbers is no input either.
    const alias = customFunction({
      forward(ctx, x: Tensor) {
        ctx.saveForBackward(x.detach());
        return x.mul(x);
      },
      backward: (ctx, g) => g.mul(ctx.saved[0]).mul(2),
    });
    expect((await errorOf(() => gradcheck(alias, [leaf([1])], { secondOrder: true }))).message).toContain('would miss');
  });
  it('differentiates beside results that are constants', () => {
    const masked = customFunction({
      forward(ctx, x: Tensor) {
        const mask = x.gt(0);
        ctx.markNonDifferentiable(mask);
        ctx.saveForBackward(mask);
        return [x.mul(mask), mask];
      },
      backward: (ctx, g, h) => g.mul(ctx.saved[0]).add(h),
    });
    const x = leaf([1, -2]);
    const [y, mask] = masked(x);
    expect([y.requiresGrad, mask.requiresGrad]).toEqual([true, false]);
    y.mul(mask).sum().backward(undefined, { createGraph: true });
    expect([...x.grad!.dataSync()]).toEqual([1, 0]);
  });
  it('brings zeros for results that nobody used, in every pass anew', () => {
    const [a, b] = [leaf([2]), leaf([4])];
    const [p, q] = both(a, 3, b);
    p.backward(undefined, { retainGraph: true });
    expect([a.grad!.itemSync(), b.grad!.itemSync()]).toEqual([12, 6]);
    a.grad = b.grad = null;
    q.backward(undefined, { retainGraph: true });
    expect([a.grad!.itemSync(), b.grad!.itemSync()]).toEqual([0.25, -0.125]);
    a.grad = b.grad = null;
    p.add(q).add(p).backward();
    expect([a.grad!.itemSync(), b.grad!.itemSync()]).toEqual([24.25, 11.875]);
  });
  it('says whose gradient is asked for', () => {
    const seen: (readonly boolean[])[] = [];
    const f = customFunction({
      forward(ctx, a: Tensor, _: string, b: Tensor) {
        seen.push(ctx.needsInputGrad);
        return a.add(b);
      },
      backward(ctx, g) {
        seen.push(ctx.needsInputGrad);
        return [g, null, undefined]; // as PyTorch's: one for each argument
      },
    });
    const a = leaf([1]);
    f(a, 'x', tensor([1])).backward();
    expect(seen).toEqual([
      [true, false, false],
      [true, false, false],
    ]);
    expect(a.grad!.itemSync()).toBe(1);
    expect(noGrad(() => f(a, 'x', a)).requiresGrad).toBe(false);
    expect(f(tensor([1]), 'x', tensor([1])).requiresGrad).toBe(false);
    expect(seen.slice(2).flat()).toEqual(Array(6).fill(false));
  });
  it('may give an input back, and one tensor twice', () => {
    const id = customFunction({ forward: (_, x: Tensor) => [x, x], backward: (_, g, h) => g.add(h.mul(10)) });
    const x = leaf([1, 2]);
    const [y, z] = id(x);
    expect(y).not.toBe(x);
    expect([y.isLeaf, x.isLeaf]).toEqual([false, true]);
    y.add(z).sum().backward();
    expect([...x.grad!.dataSync()]).toEqual([11, 11]);
  });
  it('trains beside layers, and keeps what its backward keeps', () => {
    const kept: Tensor[] = [];
    const f = customFunction({
      forward: (_, x: Tensor) => x.mul(2),
      backward(_, g) {
        const double = g.mul(2);
        kept.push(g, double, double.add(1));
        return double;
      },
    });
    const layer = new nn.Linear(4, 3);
    const run = (through: (x: Tensor) => Tensor) => {
      layer.zeroGrad();
      const x = ones([5, 4]);
      through(
        layer.forward(
          through(
            layer
              .forward(x)
              .sum(1, true)
              .mul(ones([5, 4])),
          ),
        ),
      )
        .sum()
        .backward();
      return [...layer.weight.grad!.dataSync()];
    };
    expectClose(
      run(f),
      run((x) => x.mul(2)),
    );
    layer.zeroGrad();
    for (let i = 0; i < 50; i++) ones([64, 64]).add(1);
    for (const [i, t] of kept.entries()) expect(t.dataSync().every(Number.isFinite), `${i}`).toBe(true);
    expect([...kept[2].dataSync()]).toEqual(Array.from(kept[1].dataSync(), (v) => v + 1));
  });
  it('does not let a gradient share the numbers of a parameter, saved or captured', () => {
    const x = leaf([1, 2]);
    const forward = (ctx: autograd.ForwardContext, t: Tensor) => {
      ctx.saveForBackward(t);
      return t.mul(t).mul(0.5).sum();
    };
    for (const give of [(saved: Tensor) => saved, () => x]) {
      const f = customFunction({ forward, backward: (ctx) => give(ctx.saved[0]) });
      x.grad = null;
      f(x).backward();
      const grad = x.grad! as Tensor;
      const before = [...x.dataSync()];
      expect(grad.requiresGrad).toBe(false);
      new optim.SGD([x], { lr: 0.1 }).step();
      expect([...grad.dataSync()]).toEqual(before);
    }
  });
  it('names itself where anomalies are looked for', async () => {
    const f = customFunction({
      name: 'broken',
      forward: (_, x: Tensor) => [x.mul(2), x],
      backward: (_, g) => g.mul(Number.NaN),
    });
    const error = await errorOf(() =>
      detectAnomaly(() =>
        f(leaf([1, 2]))[0]
          .sum()
          .backward(),
      ),
    );
    expect(error.message).toContain('the backward of broken produced NaN for input 0');
    expect(String((error.cause as Error).stack)).toContain('custom-function.test.ts');
  });
});

describe('a saved tensor', () => {
  it('that was changed in place is refused', async () => {
    const x = leaf([1, 2]);
    const y = square(x).sum();
    x.grad = ones([2]);
    new optim.SGD([x], { lr: 1 }).step();
    const error = await errorOf(() => y.backward());
    expect(error.message).toContain('saved tensor 0 of square, shape [2], was changed in place after the forward pass');
    expect(error.shapes).toEqual([[2]]);
  });
  it('is released by backward, unless the graph is retained', async () => {
    const x = leaf([3]);
    const y = square(x);
    y.backward(undefined, { retainGraph: true });
    y.backward();
    expect(x.grad!.itemSync()).toBe(12);
    expect((await errorOf(() => y.backward())).message).toContain('the values saved by square were released');
    // As for operations that save nothing.
    const double = customFunction({ forward: (_, t: Tensor) => t.mul(2), backward: (_, g) => g.mul(2) })(x);
    double.backward();
    double.backward();
    expect(x.grad!.itemSync()).toBe(16);
  });
  it('is there again after a backward that failed', () => {
    let fails = true;
    const f = customFunction({
      forward(ctx, x: Tensor) {
        ctx.saveForBackward(x);
        return [x.mul(2), x.mul(3)];
      },
      backward(_, g, h) {
        if (fails) throw new Error('not yet');
        return g.mul(2).add(h.mul(3));
      },
    });
    const x = leaf([1]);
    const [y, z] = f(x);
    expect(() => y.add(z).backward()).toThrow('not yet');
    expect(x.grad).toBeNull();
    fails = false;
    y.backward();
    expect(x.grad!.itemSync()).toBe(2);
  });
});

describe('a custom function refuses', () => {
  const x = () => ones([2, 3], { requiresGrad: true });
  const gives = (gradients: unknown, name = 'f') => {
    const f = customFunction({
      name,
      forward: (_, a: Tensor, _k: number, b: Tensor) => a.add(b),
      backward: () => any(gradients),
    });
    return () =>
      f(x(), 1, leaf([1, 2, 3]))
        .sum()
        .backward();
  };
  // biome-ignore format: one line a case
  it.each<[string, () => unknown, string]>([
    ['a gradient of another shape', gives([ones([2, 3]), ones([2, 3])], 'addRow'), '[addRow] gradient 1, of argument 2, has shape [2, 3], the input shape [3]; return a gradient of the shape of its input: sum() it over'],
    ['too few gradients', gives(ones([2, 3])), '[f] backward returned 1 gradient; return one gradient for each tensor input (2)'],
    ['a gradient for what is no tensor', gives([ones([2, 3]), ones([1]), ones([3])]), '[f] backward returned 3 gradients'],
    ['nothing', gives(undefined), '[f] backward returned nothing'],
    ['a number', gives([1, null]), '[f] gradient 0, of argument 0, is 1; return tensors and null'],
    ['another device', gives([ones([2, 3], { device: 'reference' }), null]), "gradient 0, of argument 0, is on 'reference', the input on 'cpu'"],
    ['an async backward', () => gives(Promise.reject(new Error('unheard')))(), '[f] backward is asynchronous'],
    ['an async forward', () => customFunction({ forward: any(async () => Promise.reject(new Error('unheard'))), backward: () => null })(...([] as never)), '[customFunction] forward is asynchronous'],
    ['a forward that gives a number', () => customFunction({ forward: any(() => 1), backward: () => null })(...([] as never)), 'forward returned 1; return a tensor or an array'],
    ['a forward that gives no results', () => customFunction({ forward: (): Tensor[] => [], backward: () => null })(), 'forward returned []'],
    ['a forward with a hole', () => customFunction({ forward: any(() => [ones([1]), null]), backward: () => null })(...([] as never)), 'result 1 of forward is null'],
    ['no options', () => customFunction(any(undefined)), '[customFunction] the argument is undefined'],
    ['no backward', () => customFunction(any({ forward: () => ones([1]) })), '[customFunction] backward is undefined'],
    ['an unknown option', () => customFunction(any({ forward() {}, backward() {}, setupContext() {} })), "unknown option 'setupContext'"],
    ['an empty name', () => customFunction({ name: '', forward: (_, t: Tensor) => t, backward: (_, g) => g }), "name is ''"],
    ['to save a number', () => customFunction({ forward: (ctx, t: Tensor) => { ctx.saveForBackward(any(1)); return t; }, backward: (_, g) => g })(x()), 'an argument of ctx.saveForBackward is 1'],
    ['to mark a number', () => customFunction({ forward: (ctx, t: Tensor) => { ctx.markNonDifferentiable(any(1)); return t; }, backward: (_, g) => g })(x()), 'an argument of ctx.markNonDifferentiable is 1'],
  ])('%s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
  it('to save a captured parameter, which no gradient would reach', async () => {
    const w = leaf([2]);
    const f = customFunction({
      name: 'scale',
      forward: (ctx, t: Tensor) => {
        ctx.saveForBackward(w);
        return t.mul(w);
      },
      backward: (ctx, g) => g.mul(ctx.saved[0]),
    });
    const error = await errorOf(() => f(leaf([1])));
    expect(error.message).toContain('[scale] the saved tensor of shape [1] requires a gradient and is not an input');
    expect(error.remedy).toContain('pass it to the function as an argument');
  });
  it('a context that is used or extended later', async () => {
    let save = (): void => {};
    const f = customFunction({
      forward(ctx, t: Tensor) {
        save = () => ctx.saveForBackward(t);
        expect(() => Object.assign(ctx, { t })).toThrow(TypeError);
        return t;
      },
      backward: (_, g) => g,
    });
    f(leaf([1]));
    expect((await errorOf(save)).message).toContain('ctx.saveForBackward is called after forward');
  });
});

describe('a custom function in a checkpoint', () => {
  it('forgets what it saved, and has the same gradients', () => {
    const x = randn([3], { requiresGrad: true });
    const y = randn([3], { requiresGrad: true });
    const forward = vi.fn((a: Tensor, b: Tensor) => {
      const [p, q] = both(exponential(a).add(1), 2, square(b).add(1));
      return p.mul(q);
    });
    const f = (a: Tensor, b: Tensor) => checkpoint(forward, a, b);
    expect(gradcheck(f, [x, y], { secondOrder: true })).toBe(true);
    f(x, y).sum().backward();
    const [dx, dy] = [x.grad!, y.grad!];
    x.grad = y.grad = null;
    forward(x, y).sum().backward();
    expectClose(dx.dataSync(), x.grad!.dataSync());
    expectClose(dy.dataSync(), y.grad!.dataSync());
  });
});
