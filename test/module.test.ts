import { nn, noGrad, ones, randn, summary, type Tensor } from 'tapegrad';
import { describe, expect, it } from 'vitest';
import { errorOf } from './helpers.js';

// What people see of a module: hooks, the printed tree, the summary, errors.

const message = async (fn: () => unknown) => (await errorOf(fn)).message;

/** A module whose fields are given. */
class Holder extends nn.Module {
  constructor(fields: object) {
    super();
    Object.assign(this, fields);
  }
  forward(x: Tensor): Tensor {
    return x;
  }
}

describe('forward hooks', () => {
  const model = () => new nn.Sequential(new nn.Linear(2, 3), new nn.Tanh(), new nn.Linear(3, 2), new nn.ReLU());
  it('see values that live as long as they are kept', () => {
    const m = model();
    const seen: Tensor[] = [];
    for (const inner of m.modules)
      inner.registerForwardHook((_, [input], output) => void seen.push(input as Tensor, output as Tensor));
    noGrad(() => m.forward(ones([1, 2])));
    m.forward(ones([1, 2]))
      .sum()
      .backward();
    expect(seen).toHaveLength(16);
    for (const t of seen) expect(t.dataSync().every(Number.isFinite)).toBe(true);
    expect(seen[2].toArraySync()).toEqual(seen[1].toArraySync());
  });
  it('may replace the output, and go with their handle', () => {
    const m = model();
    const before = m.forward(ones([1, 2])).toArraySync();
    const handles = [
      m.modules[3].registerForwardHook((_, __, y) => (y as Tensor).mul(0)),
      m.modules[3].registerForwardHook((_, __, y) => (y as Tensor).add(1)),
    ];
    expect(m.forward(ones([1, 2])).toArraySync()).toEqual([[1, 1]]);
    handles[1].remove();
    handles[1].remove();
    expect(m.forward(ones([1, 2])).toArraySync()).toEqual([[0, 0]]);
    handles[0].remove();
    expect(Object.hasOwn(m.modules[3], 'forward')).toBe(false);
    expect(m.forward(ones([1, 2])).toArraySync()).toEqual(before);
  });
  it('restore a forward of the module own', () => {
    const m = new Holder({ forward: () => 'own' });
    m.registerForwardHook(() => 'hooked').remove();
    expect((m as unknown as { forward: () => unknown }).forward()).toBe('own');
  });
  it('must be functions', async () => {
    expect(await message(() => model().registerForwardHook(3 as never))).toContain('the hook is 3');
  });
  it('are not needed to look at what a patched class gives', () => {
    const seen: Tensor[] = [];
    const own = nn.Tanh.prototype.forward;
    nn.Tanh.prototype.forward = function (x) {
      const y = own.call(this, x);
      seen.push(x, y);
      return y;
    };
    try {
      noGrad(() => model().forward(ones([1, 2])));
      model()
        .forward(ones([1, 2]))
        .sum()
        .backward();
    } finally {
      nn.Tanh.prototype.forward = own;
    }
    for (const t of seen) expect(t.dataSync()).toHaveLength(3);
  });
});

describe('printing a module', () => {
  it('gives the tree as PyTorch', () => {
    class Net extends nn.Module {
      fc1 = new nn.Linear(10, 5);
      heads = { a: new nn.Sequential(new nn.ReLU(), new nn.Linear(5, 1, { bias: false })) };
      forward(x: Tensor) {
        return x;
      }
    }
    expect(String(new Net())).toBe(`Net(
  (fc1): Linear(inFeatures=10, outFeatures=5, bias=true)
  (heads.a): Sequential(
    (0): ReLU()
    (1): Linear(inFeatures=5, outFeatures=1, bias=false)
  )
)`);
  });
  it('summary counts and shows shapes, and leaves the model as it was', () => {
    const m = new nn.Sequential(new nn.Linear(4, 3), new nn.ReLU(), new nn.Linear(3, 2));
    m.modules[2].eval();
    m.parameters()[0].requiresGrad = false;
    const s = summary(m, [5, 4]);
    expect(s.rows).toEqual([
      { path: '', type: 'Sequential', outputShape: [5, 2], parameters: 0 },
      { path: '0', type: 'Linear', outputShape: [5, 3], parameters: 15 },
      { path: '1', type: 'ReLU', outputShape: [5, 3], parameters: 0 },
      { path: '2', type: 'Linear', outputShape: [5, 2], parameters: 8 },
    ]);
    expect([s.parameters, s.trainable]).toEqual([23, 11]);
    expect(m.namedModules().map(([, inner]) => inner.training)).toEqual([true, true, true, false]);
    expect(m.modules.some((inner) => Object.hasOwn(inner, 'forward'))).toBe(false);
    expect(String(s)).toMatch(/0: Linear {2,}\[5, 3\] +15\n/);
    expect(String(s)).toContain('parameters: 23, trainable: 11, float32: 92 bytes');
    expect(summary(m, randn([1, 4])).rows[0].outputShape).toEqual([1, 2]);
  });
  it('summary refuses what is not a model or an input', async () => {
    expect(await message(() => summary({} as never, [1]))).toContain('[summary] the model is');
    expect(await message(() => summary(new nn.ReLU(), 3 as never))).toContain('[summary] the input is 3');
  });
});

describe('a layer', () => {
  it('names what is not a tensor', async () => {
    for (const layer of [new nn.ReLU(), new nn.Sigmoid(), new nn.Tanh(), new nn.Linear(1, 1)])
      expect(await message(() => layer.forward([1] as never))).toContain('operand 0 is [1]; pass a tensor');
  });
});

describe('a module on its way elsewhere', () => {
  it('throws instead of losing its numbers', async () => {
    expect(await message(() => JSON.stringify(new nn.Linear(1, 1)))).toContain('toSafetensors');
    expect(() => structuredClone(new nn.Linear(1, 1))).toThrow(/could not be cloned/);
  });
});
