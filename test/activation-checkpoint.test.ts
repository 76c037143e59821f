import { beforeEach, describe, expect, expectTypeOf, it, vi } from 'vitest';
import {
  autograd,
  checkpoint,
  detectAnomaly,
  gradcheck,
  manualSeed,
  nn,
  noGrad,
  ones,
  optim,
  rand,
  randn,
  type Tensor,
  tensor,
} from '../src/index.js';
import { errorOf, expectClose } from './helpers.js';

const leaf = (values: number[]) => tensor(values, { requiresGrad: true });
/** What checkpoint is compared with. */
const plainly: typeof checkpoint = (fn, ...inputs) => fn(...inputs);
const any = (value: unknown) => value as never;

/** One layer, as people write it. */
class Block extends nn.Module {
  fc = new nn.Linear(6, 6);
  forward(x: Tensor): Tensor {
    return this.fc.forward(x).tanh().mul(x);
  }
}

/** The gradients of x and of the parameters after one backward. */
function gradients(run: (x: Tensor) => Tensor, x: Tensor, parameters: readonly Tensor[]): number[][] {
  for (const t of [x, ...parameters]) t.grad = null;
  run(x).sum().backward();
  return [x, ...parameters].map((t) => [...t.grad!.dataSync()]);
}

beforeEach(() => manualSeed(1));

describe('checkpoint', () => {
  it('has the types of its function', () => {
    const x = leaf([1]);
    expectTypeOf(checkpoint((t) => t.mul(2), x)).toEqualTypeOf<Tensor>();
    expectTypeOf(checkpoint((t, k) => [t.mul(k), t], x, 2)).toEqualTypeOf<[Tensor, Tensor]>();
    expect(autograd.checkpoint).toBe(checkpoint);
  });
  it('runs once forward and once more in backward, with the same bits', () => {
    const block = new Block();
    const x = randn([4, 6], { requiresGrad: true });
    const plain = gradients((t) => block.forward(t), x, block.parameters());
    const fn = vi.fn((t: Tensor) => block.forward(t));
    const y = checkpoint(fn, x);
    expect([...y.dataSync()]).toEqual([...block.forward(x).dataSync()]);
    expect(fn).toHaveBeenCalledTimes(1);
    expect(gradients((t) => checkpoint(fn, t), x, block.parameters())).toEqual(plain);
    expect(fn).toHaveBeenCalledTimes(3);
  });
  it('brings gradients to parameters where no input requires one', () => {
    const block = new Block();
    const x = randn([4, 6]);
    checkpoint((t) => block.forward(t), x)
      .sum()
      .backward();
    const got = block.fc.weight.grad!.dataSync();
    block.zeroGrad();
    block.forward(x).sum().backward();
    expect(got).toEqual(block.fc.weight.grad!.dataSync());
    expect(got.some((v) => v !== 0)).toBe(true);
  });
  it('brings gradients through captured results to what they were made from', () => {
    const [w, x] = [leaf([2, 3]), leaf([5, 7])];
    const h = w.mul(w);
    const y = checkpoint((t) => t.mul(h).mul(t), x);
    y.add(h).sum().backward();
    expect([...w.grad!.dataSync()]).toEqual([4 * 26, 6 * 50]);
    expect([...x.grad!.dataSync()]).toEqual([40, 126]);
  });
  it('gives tuples, whose unused parts cost nothing', () => {
    const x = leaf([1, 2]);
    const fn = (t: Tensor) => [t.mul(t), t.exp(), t] as const;
    const [a, b, c] = checkpoint(fn, x);
    expect(c).toBe(x);
    a.sum().backward(undefined, { retainGraph: true });
    expect([...x.grad!.dataSync()]).toEqual([2, 4]);
    b.mul(a).sum().backward();
    expectClose(x.grad!.dataSync(), [2 + 3 * Math.E, 4 + 8 * Math.E ** 2]);
  });
  it('is right in gradcheck, to the second derivative', () => {
    const x = leaf([0.5, -1.2, 0.8]);
    const fn = (t: Tensor) => t.tanh().mul(t.exp()).sum().mul(t);
    expect(gradcheck((t) => checkpoint(fn, t).tanh(), [x], { secondOrder: true })).toBe(true);
    expect(gradcheck((t) => checkpoint((u) => checkpoint(fn, u).sigmoid().mul(u), t), [x], { secondOrder: true })).toBe(
      true,
    );
  });
  it('may be gone through twice, and gives the values again that a failed backward used', async () => {
    const x = leaf([1, 2]);
    const fn = vi.fn((t: Tensor) => t.mul(t).exp());
    const y = checkpoint(fn, x).sum();
    y.backward(undefined, { retainGraph: true });
    const once = [...x.grad!.dataSync()];
    y.backward();
    expectClose(x.grad!.dataSync(), once.map((v) => 2 * v)); // biome-ignore format: one line
    expect(fn).toHaveBeenCalledTimes(3);
    expect((await errorOf(() => y.backward())).message).toContain('were released by an earlier backward');

    let fails = true;
    const guard = autograd.customFunction({
      forward: (_, t: Tensor) => t,
      backward(_, g) {
        if (fails) throw new Error('not yet');
        return g;
      },
    });
    x.grad = null;
    const z = checkpoint((t) => guard(t).mul(t).exp(), x).sum();
    expect(() => z.backward()).toThrow('not yet');
    expect(x.grad).toBeNull();
    fails = false;
    z.backward();
    expectClose(x.grad!.dataSync(), once);
  });
  it('just runs inside noGrad', () => {
    const x = leaf([1]);
    const fn = vi.fn((t: Tensor) => t.mul(2));
    expect(noGrad(() => checkpoint(fn, x)).requiresGrad).toBe(false);
    // The second run records where backward is called inside, and noGrad inside holds in both runs.
    const z = checkpoint((t) => t.exp().mul(t), x);
    noGrad(() => z.backward());
    expectClose(x.grad!.dataSync(), [2 * Math.E]);
    x.grad = null;
    const y = checkpoint((t) => noGrad(() => t.mul(t)).mul(t), x);
    y.backward();
    expect(x.grad!.itemSync()).toBe(1);
  });
  it('is found by whoever looks for the leaves, and by detectAnomaly', async () => {
    const x = leaf([-1]);
    const error = await errorOf(() => detectAnomaly(() => checkpoint((t) => t.mul(2).sqrt().mul(t), x).backward()));
    expect(error.message).toContain('the forward of sqrt');
  });
  it('fits models', () => {
    const model = new nn.Sequential(new nn.Linear(3, 8), new nn.Tanh(), new nn.Linear(8, 1));
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    const x = randn([32, 3]);
    const y = x.sum(1, true);
    const losses = Array.from({ length: 100 }, () => {
      const loss = nn.functional.mseLoss(
        checkpoint((t) => model.forward(t), x),
        y,
      );
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      return loss.itemSync();
    });
    expect(losses.at(-1)!).toBeLessThan(losses[0] / 10);
  });
});

describe('random numbers in a checkpoint', () => {
  const dropout = (x: Tensor) => x.mul(rand(x.shape).gt(0.5)).mul(2);
  it('are the same in the second run, which leaves the stream as it was', () => {
    const x = ones([64], { requiresGrad: true });
    const y = checkpoint((t) => dropout(t).mul(dropout(t).add(1)), x);
    const next = rand([3]).toArraySync();
    y.sum().backward();
    const after = rand([3]).toArraySync();
    const got = x.grad!.toArraySync();

    manualSeed(1);
    x.grad = null;
    const plain = dropout(x).mul(dropout(x).add(1));
    expect(y.toArraySync()).toEqual(plain.toArraySync());
    expect(rand([3]).toArraySync()).toEqual(next);
    plain.sum().backward();
    expect(rand([3]).toArraySync()).toEqual(after);
    expect(got).toEqual(x.grad!.toArraySync());
    expect(new Set(got as number[]).size).toBeGreaterThan(1);
  });
  it('are the same in checkpoints inside and after others', () => {
    const x = ones([64], { requiresGrad: true });
    const run = (wrap: typeof checkpoint) => {
      manualSeed(3);
      x.grad = null;
      const one = (t: Tensor) => dropout(t).exp();
      const all = (t: Tensor) => dropout(wrap(one, wrap(one, dropout(t)).tanh())).mul(t);
      wrap(all, wrap(all, x).tanh()).sum().backward();
      return x.grad!.toArraySync();
    };
    expect(run(checkpoint)).toEqual(run(plainly));
  });
});

describe('nested checkpoints', () => {
  it('run what they hold again only when it is needed, and give the same gradients', () => {
    const blocks = Array.from({ length: 4 }, () => new Block());
    const calls = [0, 0, 0, 0];
    const block = (i: number) => (t: Tensor) => {
      calls[i]++;
      return blocks[i].forward(t);
    };
    const x = randn([4, 6], { requiresGrad: true });
    const parameters = blocks.flatMap((b) => b.parameters());
    const plain = gradients((t) => blocks.reduce((h, b) => b.forward(h), t), x, parameters);
    const pair = (i: number) => (t: Tensor) => checkpoint(block(i + 1), checkpoint(block(i), t));
    const nested = (t: Tensor) => checkpoint((u: Tensor) => checkpoint(pair(2), checkpoint(pair(0), u)), t);
    expect(gradients(nested, x, parameters)).toEqual(plain);
    // Once forward, once for each checkpoint around it.
    expect(calls).toEqual([4, 4, 4, 4]);
  });
  it('may be captured, mixed with plain steps, and gone through twice', () => {
    const x = leaf([0.3, 0.6]);
    const run = (wrap: typeof checkpoint) => {
      x.grad = null;
      const y = wrap((t) => {
        const h = t.exp();
        const [a, b] = wrap((u, k) => [u.mul(h).mul(k), h.tanh()], t.mul(2), 3);
        return a.mul(wrap(() => b.mul(h).exp())).mul(h);
      }, x).sum();
      y.backward(undefined, { retainGraph: true });
      y.backward();
      return x.grad!.dataSync();
    };
    expectClose(run(checkpoint), run(plainly));
  });
});

describe('a checkpoint refuses', () => {
  const x = leaf([1, 2]);
  // biome-ignore format: one line a case
  it.each<[string, () => unknown, string]>([
    ['no function', () => checkpoint(any(x), x), '[checkpoint] fn is a Tensor; pass a function first'],
    ['an async function', () => checkpoint(any(async () => Promise.reject(new Error('unheard'))), x), '[checkpoint] fn is asynchronous'],
    ['an async function inside noGrad', () => noGrad(() => checkpoint(any(async () => x), x)), 'await its inputs first'],
    ['a number', () => checkpoint(any(() => 1), x), 'fn returned 1; return a tensor or an array of tensors'],
    ['nothing', () => checkpoint(any(() => {}), x), 'fn returned undefined'],
    ['an object', () => checkpoint(any(() => ({ x })), x), 'fn returned a Object'],
    ['an empty array', () => checkpoint((): Tensor[] => []), 'fn returned an empty array'],
    ['an array with a number', () => checkpoint(any(() => [x, 1]), x), 'element 1 of the result of fn is 1'],
    ['another step in the second run', () => alternating((t, n) => (n === 1 ? t.exp() : t.tanh())), 'the second run of fn made step 1 tanh of [2], the first one exp of [2]'],
    ['another shape in the second run', () => alternating((t, n) => t.add(ones([n, 2])).exp()), 'made step 1 add of [2] and [2, 2], the first one add of [2] and [1, 2]'],
    ['more steps', () => alternating((t, n) => (n === 1 ? t.exp() : t.exp().exp())), 'went on with exp of [2], where the first one had ended'],
    ['fewer steps', () => alternating((t, n) => (n === 1 ? t.exp().tanh() : t.exp())), 'ended before tanh of [2], which the first one made'],
    ['backward inside', () => checkpoint((t) => { t.exp().sum().backward(); return t; }, x), 'fn calls backward; call backward outside'],
  ])('%s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
  function alternating(fn: (t: Tensor, run: number) => Tensor): void {
    let n = 0;
    checkpoint((t) => fn(t, ++n), x)
      .sum()
      .backward();
  }
  it('what was changed in place between the runs: an input, a parameter', async () => {
    const w = leaf([1, 2]);
    const step = () => {
      w.grad = ones([2]);
      new optim.SGD([w], { lr: 0.1 }).step();
    };
    const input = checkpoint((t) => t.exp(), w).sum();
    // add saves nothing, but the second run would come to other numbers.
    const parameter = checkpoint((t) => t.add(w).exp(), leaf([1, 2])).sum();
    step();
    expect((await errorOf(() => input.backward())).message).toContain(
      '[checkpoint] input 0 of fn, shape [2], was changed in place after the first run',
    );
    expect((await errorOf(() => parameter.backward())).message).toContain('input 1 of add, shape [2], was changed');
  });
  it('nothing for good: gradients of a pass that failed do not count in the next one', () => {
    const split = autograd.customFunction({
      forward: (_, t: Tensor) => [t, t],
      backward: (_, g, h) => g.add(h.mul(10)),
    });
    let fails = false;
    const y = leaf([1]);
    const [a, b] = checkpoint((t) => {
      if (fails) throw new Error('not yet');
      return split(t);
    }, y);
    fails = true;
    expect(() => a.add(b).backward()).toThrow('not yet');
    fails = false;
    a.backward();
    expect(y.grad!.itemSync()).toBe(1);
  });
  it('and an error of fn leaves nothing behind', () => {
    const fails = (_: Tensor): Tensor => {
      throw new Error('no');
    };
    expect(() => checkpoint(fails, x)).toThrow('no');
    const y = leaf([2]);
    const fn = vi.fn((t: Tensor) => t.mul(t));
    fn(y).backward();
    expect(y.grad!.itemSync()).toBe(4);
    expect(fn).toHaveBeenCalledTimes(1);
  });
});
