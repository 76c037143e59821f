import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { gradcheck, nn, noGrad, ones, optim, type Tensor, tensor } from '../src/index.js';
import { errorOf, sampleTensor } from './helpers.js';

const leaf = (values: number[]) => tensor(values, { requiresGrad: true });

describe('backward', () => {
  it('adds up the gradients of shared subexpressions', () => {
    const x = leaf([2, 3]);
    const y = x.mul(x).add(x);
    y.mul(y).sum().backward();
    // d/dx (x² + x)² = 2 (x² + x)(2x + 1)
    expect(x.grad!.toArraySync()).toEqual([60, 168]);
  });
  it('accumulates over calls, and sums broadcast gradients back', () => {
    const x = leaf([1, 2]);
    const s = tensor(3, { requiresGrad: true });
    for (let i = 0; i < 2; i++) x.mul(s).sum().backward();
    expect(x.grad!.toArraySync()).toEqual([6, 6]);
    expect(s.grad!.itemSync()).toBe(6);
    expect(s.grad!.shape).toEqual([]);
  });
  it('goes through a graph twice with retainGraph only', async () => {
    const x = leaf([3]);
    const y = x.mul(x).sum();
    y.backward(undefined, { retainGraph: true });
    y.backward();
    expect(x.grad!.toArraySync()).toEqual([12]);
    const error = await errorOf(() => y.backward());
    expect(error.message).toContain('retainGraph: true');
    expect(x.grad!.toArraySync()).toEqual([12]);
  });
  it('takes gradients of gradients with createGraph', () => {
    const x = leaf([2]);
    x.pow(3).sum().backward(undefined, { createGraph: true });
    const first = x.grad!;
    x.grad = null;
    first.sum().backward(undefined, { createGraph: true });
    expect(first.toArraySync()).toEqual([12]);
    expect(x.grad!.toArraySync()).toEqual([12]); // 6x
    const second: Tensor = x.grad!;
    x.grad = null;
    second.sum().backward();
    expect(x.grad!.toArraySync()).toEqual([6]);
  });
  it('wants a gradient of the right shape for more than one element', async () => {
    const x = leaf([1, 2]);
    expect((await errorOf(() => x.mul(2).backward())).message).toBe(
      '[backward] a tensor of shape [2] is not a scalar; pass the gradient of the loss with respect to it, or reduce it first with sum() or mean()',
    );
    expect((await errorOf(() => x.mul(2).backward(ones([3])))).shapes).toEqual([[3], [2]]);
    x.mul(2).backward(tensor([1, 10]));
    expect(x.grad!.toArraySync()).toEqual([2, 20]);
  });
  it('refuses tensors without a history', async () => {
    expect((await errorOf(() => tensor([1]).sum().backward())).message).toContain('requiresGrad: true');
    expect((await errorOf(() => leaf([1]).detach().sum().backward())).op).toBe('backward');
  });
  it('notices an in-place change of a saved value, and leaves the leaves alone', async () => {
    const model = new nn.Linear(2, 1);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    const x = leaf([1, 2]);
    const first = model.forward(x.reshape([1, 2])).sum();
    first.backward(undefined, { retainGraph: true });
    optimizer.step();
    const before = model.weight.grad;
    const error = await errorOf(() => first.backward());
    expect(error.message).toContain('was changed in place');
    expect(model.weight.grad).toBe(before);
  });
  it('does not compute what nobody asked for', () => {
    const x = tensor([[1, 2]]);
    const w = tensor([[3], [4]], { requiresGrad: true });
    x.matmul(w).sum().backward();
    expect(x.grad).toBeNull();
    expect(w.grad!.toArraySync()).toEqual([[1], [2]]);
  });
  it('survives a graph deeper than the call stack', () => {
    const x = leaf([1]);
    let y: Tensor = x;
    for (let i = 0; i < 20_000; i++) y = y.add(1);
    y.sum().backward();
    expect(x.grad!.itemSync()).toBe(1);
  });
});

describe('noGrad', () => {
  it('refuses an async function where there is no AsyncLocalStorage to follow it', async () => {
    vi.resetModules();
    const none = vi.spyOn(process, 'getBuiltinModule').mockReturnValue(null as never);
    try {
      const { noGrad } = await import('../src/autograd/mode.js');
      expect(noGrad(() => 3)).toBe(3);
      expect(() => noGrad(async () => 3)).toThrow(
        'which needs AsyncLocalStorage, and this environment has none; await first',
      );
      // A promise that fails as well does not become an unhandled rejection.
      expect(() => noGrad(() => Promise.reject(new Error('later')))).toThrow('needs AsyncLocalStorage');
    } finally {
      none.mockRestore();
      vi.resetModules();
    }
  });
  it('records nothing inside, also after an error', () => {
    const x = leaf([1]);
    expect(noGrad(() => x.mul(2)).requiresGrad).toBe(false);
    expect(() =>
      noGrad(() => {
        throw new Error('out');
      }),
    ).toThrow('out');
    expect(x.mul(2).requiresGrad).toBe(true);
  });
  it('follows asynchronous code and touches nothing beside it', async () => {
    const x = leaf([1]);
    const pause = () => new Promise((resolve) => setImmediate(resolve));
    const seen: boolean[] = [];
    const one = noGrad(async () => {
      await pause();
      seen.push(x.mul(2).requiresGrad);
      await pause();
      seen.push(x.mul(2).requiresGrad);
    });
    const two = noGrad(async () => {
      await pause();
      await pause();
      await pause();
      seen.push(x.mul(2).requiresGrad);
    });
    const beside = (async () => {
      for (let i = 0; i < 5; i++) {
        expect(x.mul(2).requiresGrad).toBe(true);
        await pause();
      }
    })();
    await Promise.all([one, two, beside]);
    expect(seen).toEqual([false, false, false]);
    expect(x.mul(2).requiresGrad).toBe(true);
  });
});

describe('random expression graphs', () => {
  // Smooth operations on one shape, composed at random, with shared subexpressions.
  const steps: ((pool: Tensor[], i: number, j: number) => Tensor)[] = [
    (p, i, j) => p[i].add(p[j]),
    (p, i, j) => p[i].mul(p[j]).mul(0.5),
    (p, i) => p[i].tanh(),
    (p, i) => p[i].sigmoid(),
    (p, i, j) => p[i].sub(p[j].mul(0.3)),
    (p, i) => p[i].softmax(1),
    (p, i, j) => p[i].matmul(p[j].t()).mul(0.2),
    (p, i, j) => p[i].add(p[j].mean(0, true)),
    (p, i) => p[i].mul(0.3).exp(),
    (p, i, j) => p[i].div(p[j].mul(p[j]).add(1)),
  ];
  it('have the right gradients', () => {
    const choice = fc.tuple(fc.nat(steps.length - 1), fc.nat(100), fc.nat(100));
    fc.assert(
      fc.property(fc.array(choice, { minLength: 1, maxLength: 8 }), fc.nat(1000), (program, seed) => {
        const inputs = [
          sampleTensor([3, 3], [-1, 1], seed + 1, 'cpu', true),
          sampleTensor([3, 3], [-1, 1], seed + 2, 'cpu', true),
        ];
        gradcheck(
          (...start) => {
            const pool = [...start];
            for (const [step, i, j] of program) pool.push(steps[step](pool, i % pool.length, j % pool.length));
            return pool[pool.length - 1].add(pool[0]).add(pool[1]);
          },
          inputs,
          { secondOrder: true },
        );
      }),
      { numRuns: 60, seed: 1 },
    );
  });
});

describe('algebra', () => {
  const values = fc.array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 1, maxLength: 40 });
  it('holds for sums, products, transposes and softmax', () => {
    fc.assert(
      fc.property(values, (v) => {
        const x = tensor(v);
        expect(x.add(x).toArraySync()).toEqual(x.mul(2).toArraySync());
        expect(x.sub(x).abs().sum().itemSync()).toBe(0);
        expect(x.neg().neg().toArraySync()).toEqual(x.toArraySync());
        expect(x.max().itemSync()).toBe(-x.neg().min().itemSync());
        expect(Math.abs(x.softmax(0).sum().itemSync() - 1)).toBeLessThan(1e-5);
        const m = x.reshape([1, -1]);
        expect(m.t().t().toArraySync()).toEqual(m.toArraySync());
        expect(m.matmul(m.t()).itemSync()).toBeCloseTo(x.mul(x).sum().itemSync(), -1);
      }),
      { numRuns: 100, seed: 2 },
    );
  });
});

describe('a transpose that is looked at', () => {
  it('is not taken for a change in place', () => {
    const fc = new nn.Linear(2, 2);
    const v = fc.weight.t();
    const loss = tensor([[1, 1]])
      .matmul(v)
      .sum()
      .add(v.abs().sum());
    String(v);
    loss.backward();
    expect(fc.weight.grad).not.toBeNull();
  });
  it('does not hide a change in place', async () => {
    const w = tensor([[1, 2], [3, 4]], { requiresGrad: true }); // biome-ignore format: one line
    const a = tensor([[1, 1]], { requiresGrad: true });
    const wt = w.t();
    const y = a.matmul(wt).sum();
    nn.init.constant(w, 100);
    wt.add(1);
    expect((await errorOf(() => y.backward())).message).toContain('was changed in place');
  });
});
