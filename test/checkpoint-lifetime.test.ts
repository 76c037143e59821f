import { beforeEach, describe, expect, it } from 'vitest';
import { autograd, checkpoint, manualSeed, memory, nn, rand, type Tensor, tensor } from '../src/index.js';

// What checkpoints keep, counted in blocks of the heap. The results between the layers of a Sequential are freed at once
// when the graph no longer needs them; nothing here waits for the garbage collector.

const blocks = () => memory('cpu').blocks;
function growth(fn: () => unknown): number {
  const before = blocks();
  fn();
  return blocks() - before;
}

const retained = { retainGraph: true } as const;
const x = rand([3, 4]);
let model: nn.Sequential;
const run = (t: Tensor) => model.forward(t);

beforeEach(() => {
  manualSeed(1);
  model = new nn.Sequential(...Array.from({ length: 4 }, () => [new nn.Linear(4, 4), new nn.Tanh()]).flat());
  // Makes the gradients of the parameters.
  run(x).sum().backward();
});

describe('a checkpoint of eight layers', () => {
  it('keeps its result only, and after each pass nothing but the result of the run again', () => {
    let y = x;
    expect(growth(() => (y = run(x)))).toBe(8);
    expect(growth(() => (y = checkpoint(run, x)))).toBe(1);
    const loss = y.sum();
    expect(growth(() => loss.backward(undefined, retained))).toBe(1);
    expect(growth(() => loss.backward(undefined, retained))).toBe(1);
    expect(growth(() => loss.backward())).toBe(1);
  });
  it('gives back what it computed again for a result that the pass does not reach', () => {
    const [a, b] = checkpoint((t) => [run(t), run(t)], x);
    const [p, q, r] = [a.sum(), b.sum(), a.add(b).sum()];
    expect(growth(() => p.backward(undefined, retained))).toBe(2);
    expect(growth(() => q.backward(undefined, retained))).toBe(2);
    expect(growth(() => r.backward())).toBe(2);
  });
  it('gives it back as well when the pass fails', () => {
    let fails = true;
    const probe = autograd.customFunction({
      forward: (_, t: Tensor) => t,
      backward(_, g) {
        if (fails) throw new Error('not yet');
        return g;
      },
    });
    const between = (t: Tensor) => run(probe(run(t)));
    const failing = (loss: Tensor) => growth(() => expect(() => loss.backward()).toThrow('not yet'));
    const plain = failing(between(x).sum());
    const loss = checkpoint(between, x).sum();
    // The results of the two models.
    expect(failing(loss)).toBe(plain + 2);
    expect(failing(loss)).toBe(plain + 2);
    fails = false;
    expect(growth(() => loss.backward())).toBeLessThanOrEqual(4);
  });
  it('has the values of one checkpoint at a time', () => {
    const seen: number[] = [];
    const noted = (t: Tensor) => {
      seen.push(blocks());
      return run(t);
    };
    const loss = checkpoint(noted, checkpoint(noted, checkpoint(noted, x))).sum();
    expect(seen.map((n) => n - seen[0])).toEqual([0, 1, 2]);
    seen.length = 0;
    loss.backward();
    // The result of a run again for each that is done, and the gradients of the eight parameters.
    expect(seen.map((n) => n - seen[0])).toEqual([0, 9, 10]);
  });
  it('keeps as little where it holds others', () => {
    const nested = (t: Tensor) => checkpoint(run, checkpoint(run, t));
    let y = x;
    expect(growth(() => (y = checkpoint(nested, x)))).toBe(2);
    const loss = y.sum();
    // Two results of the outer run, one of each inner run.
    expect(growth(() => loss.backward(undefined, retained))).toBe(4);
    expect(growth(() => loss.backward())).toBe(4);
  });
  it('does not free what the caller holds', () => {
    const held: Tensor[] = [];
    const keep = (t: Tensor) => {
      const h = run(t);
      held.push(h);
      return run(h);
    };
    const leaf = rand([3, 4], { requiresGrad: true });
    const y = checkpoint(keep, leaf);
    y.sum().backward(undefined, retained);
    y.sum().backward();
    for (let i = 0; i < 20; i++) tensor([...Array(12).keys()]).add(1);
    const expected = run(leaf).toArraySync();
    expect(held.map((h) => h.toArraySync())).toEqual([expected, expected, expected]);
    expect(leaf.grad!.size).toBe(12);
  });
  it('keeps as little with a custom function inside, and the numbers that it saved as long as they are needed', () => {
    const scale = autograd.customFunction({
      name: 'scale',
      forward(ctx, t: Tensor) {
        const factor = t.exp();
        ctx.markNonDifferentiable(factor);
        ctx.saveForBackward(factor, t);
        return t.mul(factor);
      },
      backward: (ctx, g) => g.mul(ctx.saved[0]).mul(ctx.saved[1].add(1)),
    });
    const through = (t: Tensor) => scale(run(t));
    const plain = rand([3, 4], { requiresGrad: true });
    through(plain).sum().backward();
    const expected = plain.grad!.toArraySync();
    plain.grad = null;
    const loss = checkpoint(through, plain).sum();
    for (const factor of [1, 2, 3]) {
      loss.backward(undefined, { retainGraph: factor < 3 });
      expect(
        plain
          .grad!.div(factor)
          .sub(tensor(expected as number[][]))
          .abs()
          .max()
          .itemSync(),
      ).toBeLessThan(1e-6);
    }
    expect(() => loss.backward()).toThrow('were released by an earlier backward');
  });
});
