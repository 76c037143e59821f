import { describe, expect, it } from 'vitest';
import { manualSeed, memory, nn, noGrad, ones, profile, randn, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf, expectClose } from './helpers.js';

describe('a new Linear', () => {
  it.each([
    [1, 20_000],
    [4, 10_000],
    [100, 300],
    [2500, 40],
  ])('with %i features in and %i out has weights and biases uniform within ±1/√in', (inFeatures, outFeatures) => {
    manualSeed(23);
    const bound = 1 / Math.sqrt(inFeatures);
    const layer = new nn.Linear(inFeatures, outFeatures);
    expect([layer.inFeatures, layer.outFeatures]).toEqual([inFeatures, outFeatures]);
    expect(layer.weight.shape).toEqual([outFeatures, inFeatures]);
    expect(layer.bias!.shape).toEqual([outFeatures]);
    for (const values of [layer.weight.dataSync(), layer.bias!.dataSync()]) {
      const [low, high] = [Math.min(...values.slice(0, 30_000)), Math.max(...values.slice(0, 30_000))];
      // The least of n numbers comes this near to the bound but once in e^10 times.
      const gap = (20 * bound) / Math.min(values.length, 30_000);
      expect(high).toBeLessThanOrEqual(bound);
      expect(low).toBeGreaterThanOrEqual(-bound);
      expect(high).toBeGreaterThan(bound - gap);
      expect(low).toBeLessThan(gap - bound);
      const n = values.length;
      const mean = values.reduce((sum, v) => sum + v, 0) / n;
      const variance = values.reduce((sum, v) => sum + v * v, 0) / n;
      // Five standard errors.
      expect(Math.abs(mean)).toBeLessThan((5 * bound) / Math.sqrt(3 * n));
      expect(Math.abs(variance / (bound * bound * (1 / 3)) - 1)).toBeLessThan(5 * Math.sqrt(0.8 / n));
    }
  });
  it('has a bias of its own numbers, or none', () => {
    manualSeed(1);
    const layer = new nn.Linear(1, 50);
    expect(layer.bias!.toArraySync()).not.toEqual(layer.weight.reshape([50]).toArraySync());
    expect(new nn.Linear(1, 50, { bias: true }).bias).not.toBeNull();
    expect(new nn.Linear(1, 50, {}).bias).not.toBeNull();
    const without = new nn.Linear(1, 50, { bias: false });
    expect(without.bias).toBeNull();
    expect(without.parameters()).toEqual([without.weight]);
    expect(without.forward(zeros([2, 1])).toArraySync()).toEqual(zeros([2, 50]).toArraySync());
  });
  it('has leaves that require a gradient', () => {
    const { weight, bias } = new nn.Linear(2, 3);
    for (const p of [weight, bias!]) expect([p.requiresGrad, p.isLeaf, p.grad]).toEqual([true, true, null]);
  });
  it.each<[string, () => unknown, string]>([
    ['no features out', () => new nn.Linear(1, 0), '[Linear] outFeatures is 0'],
    ['half a feature in', () => new nn.Linear(1.5, 1), '[Linear] inFeatures is 1.5'],
    ['half a feature out', () => new nn.Linear(1, 1.5), '[Linear] outFeatures is 1.5'],
    ['options that are none', () => new nn.Linear(1, 1, 3 as never), '[Linear]'],
  ])('is refused with %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});

describe('layers', () => {
  const x = tensor([
    [-2, 0.5],
    [0, 3],
  ]);
  const layer = new nn.Linear(2, 2);
  nn.init.ones(layer.weight);
  nn.init.constant(layer.bias!, -1);
  it.each<[string, nn.TensorModule, (t: Tensor) => Tensor]>([
    [
      'Linear',
      layer,
      () =>
        tensor([
          [-2.5, -2.5],
          [2, 2],
        ]),
    ],
    [
      'ReLU',
      new nn.ReLU(),
      () =>
        tensor([
          [0, 0.5],
          [0, 3],
        ]),
    ],
    ['Sigmoid', new nn.Sigmoid(), (t) => t.neg().exp().add(1).pow(-1)],
    ['Tanh', new nn.Tanh(), (t) => t.exp().sub(t.neg().exp()).div(t.exp().add(t.neg().exp()))],
  ])('%s computes its definition, alone and in a row', (_, module, definition) => {
    const expected = definition(x).dataSync();
    expectClose(module.forward(x).dataSync(), expected);
    expectClose(new nn.Sequential(module).forward(x).dataSync(), expected);
    expectClose(new nn.Sequential(new nn.Sequential(), module).forward(x).dataSync(), expected);
  });
});

describe('Sequential', () => {
  const x = randn([5, 4]);
  const rows = {
    'Linear and ReLU': () => [new nn.Linear(4, 3), new nn.ReLU()],
    'two activations': () => [new nn.Linear(4, 3), new nn.ReLU(), new nn.ReLU(), new nn.Sigmoid()],
    'Linear at the end': () => [new nn.Tanh(), new nn.Linear(4, 3), new nn.ReLU(), new nn.Linear(3, 2)],
    'two Linears': () => [new nn.Linear(4, 3), new nn.Linear(3, 4), new nn.Tanh()],
    'ReLU first': () => [new nn.ReLU(), new nn.Linear(4, 3, { bias: false }), new nn.ReLU()],
    nesting: () => [new nn.Sequential(new nn.Linear(4, 3), new nn.ReLU()), new nn.Sequential(new nn.Linear(3, 2))],
  } satisfies Record<string, () => nn.TensorModule[]>;
  it.each(Object.entries(rows))('%s gives the values and gradients of its modules one by one', (_, make) => {
    const modules = make();
    const model = new nn.Sequential(...modules);
    const input = tensor(x.dataSync(), { shape: x.shape, requiresGrad: true });
    const results = [() => model.forward(input), () => modules.reduce((h: Tensor, m) => m.forward(h), input)].map(
      (run) => {
        model.zeroGrad();
        input.grad = null;
        const out = run();
        out.mul(out).sum().backward();
        return [out, input.grad!, ...model.parameters().map((p) => p.grad!)].map((t) => t.dataSync());
      },
    );
    for (const [i, values] of results[0].entries()) expectClose(values, results[1][i], 1e-5, 1e-6);
    expect(noGrad(() => model.forward(input)).dataSync()).toEqual(results[0][0]);
  });
  it('of nothing gives its input', () => {
    expect(new nn.Sequential().forward(x)).toBe(x);
  });
  it('computes Linear and ReLU in one pass, and a product without ReLU otherwise', () => {
    const model = (...modules: nn.TensorModule[]) => {
      const m = new nn.Sequential(...modules);
      return profile(() => m.forward(x)).rows.map((r) => [r.op, r.calls]);
    };
    expect(model(new nn.Linear(4, 3), new nn.ReLU())).toEqual([['matmul', 1]]);
    expect(new Map(model(new nn.Linear(4, 3), new nn.Tanh()) as [string, number][])).toEqual(
      new Map([
        ['matmul', 1],
        ['tanh', 1],
      ]),
    );
  });
  it('runs what a subclass or a patch made of its modules', () => {
    class Doubled extends nn.Linear {
      override forward(t: Tensor): Tensor {
        return super.forward(t).mul(2);
      }
    }
    class Leaky extends nn.ReLU {
      override forward(t: Tensor): Tensor {
        return t.relu().add(t.mul(0.5));
      }
    }
    const set = <M extends nn.Linear>(m: M): M => {
      nn.init.ones(m.weight);
      nn.init.constant(m.bias!, -6);
      return m;
    };
    const patched = new nn.ReLU();
    patched.forward = (t) => t.neg();
    const input = ones([1, 4]);
    const run = (...modules: nn.TensorModule[]) => new nn.Sequential(...modules).forward(input).toArraySync();
    expect(run(set(new nn.Linear(4, 1)), new nn.ReLU())).toEqual([[0]]);
    expect(run(set(new Doubled(4, 1)), new nn.ReLU())).toEqual([[0]]);
    expect(run(set(new Doubled(4, 1)), patched)).toEqual([[4]]);
    expect(run(set(new nn.Linear(4, 1)), new Leaky())).toEqual([[-1]]);
    expect(run(set(new nn.Linear(4, 1)), patched)).toEqual([[2]]);
  });
  it('leaves what others can see, with a graph and without one', () => {
    const seen: Tensor[] = [];
    class Probe extends nn.Module {
      forward(t: Tensor): Tensor {
        seen.push(t);
        return t.mul(1);
      }
    }
    const model = new nn.Sequential(new nn.Tanh(), new Probe(), new nn.Sigmoid(), new nn.Tanh(), new Probe());
    const input = randn([3, 3]);
    const copy = input.clone().dataSync();
    const out = noGrad(() => model.forward(input));
    expectClose(input.dataSync(), copy, 0, 0);
    expectClose(seen[0].dataSync(), input.tanh().dataSync());
    expectClose(seen[1].dataSync(), out.dataSync(), 0, 0);
    const leaf = tensor(copy, { shape: [3, 3], requiresGrad: true });
    const result = model.forward(leaf);
    result.sum().backward();
    expectClose(leaf.dataSync(), copy, 0, 0);
    expectClose(seen[2].dataSync(), leaf.tanh().dataSync());
    expectClose(seen[3].dataSync(), result.dataSync(), 0, 0);
  });
  it('gives back at once what only its known layers saw', () => {
    const model = new nn.Sequential(new nn.Tanh(), new nn.ReLU(), new nn.Tanh(), new nn.Sigmoid());
    const input = randn([64, 64]);
    const kept: Tensor[] = [];
    const before = memory('cpu').blocks;
    for (let i = 0; i < 5; i++) kept.push(noGrad(() => model.forward(input)));
    // Of the four results of each pass one is left.
    expect(memory('cpu').blocks - before).toBe(5);
    for (const t of kept) expect(t.dataSync()).toEqual(kept[0].dataSync());
  });
  it('gives back with the graph what the graph kept', () => {
    const model = new nn.Sequential(new nn.Linear(64, 64), new nn.Tanh(), new nn.Linear(64, 64), new nn.Sigmoid());
    const input = randn([64, 64]);
    const step = () => {
      const out = model.forward(input);
      out.sum().backward();
      model.zeroGrad();
      return out;
    };
    const kept = [step()];
    const before = memory('cpu').blocks;
    for (let i = 0; i < 5; i++) kept.push(step());
    // The output, its sum and the gradient that backward starts from stay until a collection of garbage.
    expect(memory('cpu').blocks - before).toBeLessThanOrEqual(15);
    for (const t of kept) expect(t.dataSync()).toEqual(kept[0].dataSync());
  });
  it.each<[string, unknown, string]>([
    ['a tensor', zeros([1]), 'argument 1 is'],
    ['null', null, 'argument 1 is null'],
    ['an array of modules', [new nn.ReLU()], 'argument 1 is'],
  ])('refuses %s', async (_, wrong, text) => {
    const error = await errorOf(() => new nn.Sequential(new nn.ReLU(), wrong as never));
    expect(error.op).toBe('Sequential');
    expect(error.message).toContain(text);
  });
});
