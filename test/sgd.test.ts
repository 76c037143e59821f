import { afterEach, describe, expect, it } from 'vitest';
import { memory, nn, optim, type Tensor, tensor, useDevice } from '../src/index.js';
import { errorOf } from './helpers.js';

// All numbers are sums of a few powers of two, so that float32 holds every result exactly.

const leaf = (...values: number[]) => tensor(values, { requiresGrad: true });

/** Makes `gradient` the gradient of `p`. */
function pull(p: Tensor, ...gradient: number[]): void {
  p.grad = null;
  p.mul(tensor(gradient, { device: p.device }))
    .sum()
    .backward();
}

/** The rule of torch.optim.SGD for one number, told by its gradients. */
function rule(start: number, gradients: readonly number[], options: optim.SGDOptions): number[] {
  const { lr, momentum = 0, dampening = 0, weightDecay = 0, nesterov = false } = options;
  let p = start;
  let v: number | null = null;
  return gradients.map((gradient) => {
    const d = gradient + weightDecay * p;
    if (momentum !== 0) v = v === null ? d : momentum * v + (1 - dampening) * d;
    p -= lr * (v === null ? d : nesterov ? d + momentum * v : v);
    return p;
  });
}

describe('a step of SGD', () => {
  it.each<[string, Omit<optim.SGDOptions, 'lr'>]>([
    ['plain', {}],
    ['with momentum', { momentum: 0.5 }],
    ['with momentum and dampening', { momentum: 0.5, dampening: 0.25 }],
    ['with full dampening', { momentum: 0.5, dampening: 1 }],
    ['with dampening below 0', { momentum: 0.5, dampening: -1 }],
    ['with dampening and no momentum', { dampening: 0.5 }],
    ['with weight decay', { weightDecay: 0.5 }],
    ['with momentum and weight decay', { momentum: 0.5, weightDecay: 0.25 }],
    ['looking ahead', { momentum: 0.5, nesterov: true }],
    ['looking ahead with weight decay', { momentum: 0.25, weightDecay: 0.5, nesterov: true }],
  ])('%s is the written rule', (_, rest) => {
    const options = { lr: 0.25, ...rest };
    const gradients = [
      [1, -2],
      [4, 0],
      [-1, 8],
    ];
    for (const device of ['cpu', 'reference'] as const) {
      const p = tensor([3, -1], { requiresGrad: true, device });
      const optimizer = new optim.SGD([p], options);
      const seen = gradients.map((g) => {
        pull(p, ...g);
        optimizer.step();
        return p.toArraySync() as number[];
      });
      for (const i of [0, 1])
        expect(seen.map((v) => v[i])).toEqual(
          rule(
            [3, -1][i],
            gradients.map((g) => g[i]),
            options,
          ),
        );
    }
  });
  it('moves a tied parameter once', () => {
    const p = leaf(1);
    for (const options of [{ lr: 0.25 }, { lr: 0.25, momentum: 0.5 }]) {
      nn.init.ones(p);
      const optimizer = new optim.SGD([p, p], options);
      for (const expected of rule(1, [2, 2], options)) {
        pull(p, 2);
        optimizer.step();
        expect(p.toArraySync()).toEqual([expected]);
      }
    }
    const shared = new nn.Linear(1, 1, { bias: false });
    nn.init.ones(shared.weight);
    const model = new nn.Sequential(shared, shared);
    const optimizer = new optim.SGD([...model.parameters(), shared.weight], { lr: 0.25 });
    // (w²)' = 2.
    model
      .forward(tensor([[1]]))
      .sum()
      .backward();
    optimizer.step();
    expect(shared.weight.toArraySync()).toEqual([[0.5]]);
  });
  it('without any gradient does nothing', () => {
    const p = leaf(1);
    new optim.SGD([p], { lr: 0.5, momentum: 0.5 }).step();
    expect(p.toArraySync()).toEqual([1]);
  });
  it('takes any iterable of parameters', () => {
    const p = leaf(1);
    const optimizer = new optim.SGD(new Set([p]), { lr: 0.5 });
    pull(p, 1);
    optimizer.step();
    expect(p.toArraySync()).toEqual([0.5]);
  });
  it('passes by a parameter without a gradient, and starts its velocity when it has one', () => {
    const [a, b] = [leaf(1), leaf(1)];
    const optimizer = new optim.SGD([a, b], { lr: 0.25, momentum: 0.5, dampening: 0.5, weightDecay: 0.5 });
    for (let i = 0; i < 2; i++) {
      pull(a, 1);
      optimizer.step();
    }
    expect(b.toArraySync()).toEqual([1]);
    a.grad = null;
    pull(b, 1);
    const before = a.toArraySync();
    optimizer.step();
    expect(a.toArraySync()).toEqual(before);
    expect(b.toArraySync()).toEqual(rule(1, [1], { lr: 0.25, momentum: 0.5, weightDecay: 0.5 }));
  });
  it('changes the numbers in place, and keeps leaf, gradient and graph', () => {
    const p = leaf(1, 2);
    const optimizer = new optim.SGD([p], { lr: 1 });
    pull(p, 1, 1);
    const gradient = p.grad;
    optimizer.step();
    optimizer.step();
    expect(p.toArraySync()).toEqual([-1, 0]);
    expect([p.isLeaf, p.requiresGrad]).toEqual([true, true]);
    expect(p.grad).toBe(gradient);
    expect(gradient!.toArraySync()).toEqual([1, 1]);
  });
  it('makes no velocities without momentum', () => {
    const p = leaf(...new Array<number>(1000).fill(1));
    const blocks = (options: optim.SGDOptions) => {
      const optimizer = new optim.SGD([p], options);
      p.mul(1).sum().backward();
      const before = memory('cpu').blocks;
      optimizer.step();
      return memory('cpu').blocks - before;
    };
    expect(blocks({ lr: 0.5 })).toBe(0);
    expect(blocks({ lr: 0.5, momentum: 0.5 })).toBe(1);
  });
});

describe('the learning rate', () => {
  it.each([0, 0.5])('may be changed between steps with momentum %d', (momentum) => {
    const p = leaf(1);
    const optimizer = new optim.SGD([p], { lr: 0.5, momentum });
    pull(p, 2);
    optimizer.step();
    expect(p.toArraySync()).toEqual([0]);
    optimizer.options.lr = 0.125;
    optimizer.options.momentum = 0;
    optimizer.step();
    expect(p.toArraySync()).toEqual([-0.25]);
  });
  it('can all be assigned, and are checked', async () => {
    const optimizer = new optim.SGD([leaf(1), leaf(2)], { lr: 0.1, momentum: 0.9 });
    const group = optimizer.options;
    optimizer.options = { lr: 0.3 };
    expect(optimizer.options).toBe(group);
    expect(group).toMatchObject({ lr: 0.3, momentum: 0 });
    expect(group.params).toHaveLength(2);
    const error = await errorOf(() => {
      optimizer.options = { lr: -1 };
    });
    expect(error.message).toContain('SGD.options');
    expect(group.lr).toBe(0.3);
    optimizer.addParamGroup({ params: leaf(3) });
    expect((await errorOf(() => Object.assign(optimizer, { options: { lr: 1 } }))).message).toContain('2 groups');
  });
  it('of 0 moves nothing', () => {
    const p = leaf(1);
    pull(p, 2);
    new optim.SGD([p], { lr: 0, momentum: 0.5 }).step();
    expect(p.toArraySync()).toEqual([1]);
  });
});

describe('zeroGrad', () => {
  it('forgets the gradients of its parameters, and only those', () => {
    const [a, b, other] = [leaf(1), leaf(2), leaf(3)];
    for (const p of [a, b, other]) pull(p, 1);
    new optim.SGD([a, b], { lr: 1 }).zeroGrad();
    expect([a.grad, b.grad, other.grad === null]).toEqual([null, null, false]);
  });
});

describe('a state', () => {
  const options = { lr: 0.25, momentum: 0.5 };
  it('carries velocities and options over, by value', () => {
    const [a, b] = [leaf(1), leaf(1)];
    const one = new optim.SGD([a], options);
    pull(a, 4);
    one.step();
    const state = one.stateDict();
    nn.init.constant(b, a.itemSync());
    const two = new optim.SGD([b], { lr: 8 });
    two.loadStateDict(state);
    for (const [p, optimizer] of [
      [a, one],
      [b, two],
      [a, one],
      [b, two],
    ] as const) {
      pull(p, 4);
      optimizer.step();
    }
    expect(a.toArraySync()).toEqual([rule(1, [4, 4, 4], options)[2]]);
    expect(b.toArraySync()).toEqual(a.toArraySync());
    // Neither the steps of one nor those of two have changed the state.
    nn.init.ones(b);
    const three = new optim.SGD([b], { lr: 8 });
    three.loadStateDict(state);
    pull(b, 0);
    three.step();
    expect(b.toArraySync()).toEqual([1 - 0.25 * 0.5 * 4]);
  });
  it('from before the first step makes the first step the first', () => {
    const [a, b] = [leaf(1), leaf(1)];
    const dampened = { ...options, dampening: 0.5 };
    const two = new optim.SGD([b], dampened);
    pull(b, 4);
    two.step();
    two.loadStateDict(new optim.SGD([a], dampened).stateDict());
    nn.init.ones(b);
    two.step();
    expect(b.toArraySync()).toEqual(rule(1, [4], dampened));
  });
  it('of other parameters changes nothing', async () => {
    const p = leaf(1);
    const optimizer = new optim.SGD([p], options);
    const q = leaf(1, 2);
    const other = new optim.SGD([q], { lr: 1, momentum: 0.5 });
    pull(q, 1, 1);
    other.step();
    for (const state of [other.stateDict(), new optim.SGD([leaf(1), leaf(2)], options).stateDict(), {}]) {
      const error = await errorOf(() => optimizer.loadStateDict(state as never));
      expect(error.op).toContain('SGD');
    }
    pull(p, 4);
    optimizer.step();
    expect(p.toArraySync()).toEqual([0]);
  });
});

describe('devices', () => {
  afterEach(() => useDevice('cpu'));

  it('may differ between parameters, in any order', () => {
    const devices = ['cpu', 'reference', 'reference', 'cpu', 'reference'] as const;
    const parameters = devices.map((device) => tensor([1, 3], { device, requiresGrad: true }));
    const optimizer = new optim.SGD(parameters, { lr: 0.25, momentum: 0.5 });
    for (let i = 0; i < 2; i++) {
      for (const [k, p] of parameters.entries()) pull(p, k, 4);
      optimizer.step();
    }
    expect(parameters.map((p) => p.device)).toEqual(devices);
    for (const [k, p] of parameters.entries())
      expect(p.toArraySync()).toEqual([
        rule(1, [k, k], { lr: 0.25, momentum: 0.5 })[1],
        rule(3, [4, 4], { lr: 0.25, momentum: 0.5 })[1],
      ]);
  });
  it('may change between steps: the velocity follows its parameter', async () => {
    const layer = new nn.Linear(1, 1, { bias: false });
    nn.init.ones(layer.weight);
    const options = { lr: 0.25, momentum: 0.5 };
    const optimizer = new optim.SGD(layer.parameters(), options);
    const seen: number[] = [];
    for (const device of ['cpu', 'reference', 'cpu'] as const) {
      layer.to(device);
      await useDevice(device === 'cpu' ? 'reference' : 'cpu');
      const p = layer.weight;
      p.mul(4).sum().backward();
      optimizer.step();
      optimizer.zeroGrad();
      seen.push(p.itemSync());
    }
    expect(seen).toEqual(rule(1, [4, 4, 4], options));
  });
  it('are those of the parameters that a state is loaded for', () => {
    const a = leaf(1);
    const b = tensor([1], { device: 'reference', requiresGrad: true });
    const options = { lr: 0.25, momentum: 0.5 };
    const one = new optim.SGD([a], options);
    pull(a, 4);
    one.step();
    const two = new optim.SGD([b], options);
    two.loadStateDict(one.stateDict());
    pull(b, 0);
    two.step();
    expect(b.toArraySync()).toEqual([0.5]);
  });
});

describe('refusals', () => {
  it.each<[string, object, string]>([
    ['a momentum below 0', { momentum: -0.5 }, 'momentum is -0.5'],
    ['a momentum without end', { momentum: Infinity }, 'momentum is Infinity'],
    ['a NaN dampening', { momentum: 0.5, dampening: Number.NaN }, 'dampening is NaN'],
    ['a weight decay below 0', { weightDecay: -1 }, 'weightDecay is -1'],
    ['a NaN weight decay', { weightDecay: Number.NaN }, 'weightDecay is NaN'],
    ['a nesterov that is no boolean', { momentum: 0.5, nesterov: 1 }, 'nesterov is 1'],
    ['nesterov with dampening', { momentum: 0.5, dampening: 0.5, nesterov: true }, 'no dampening'],
  ])('are for %s', async (_, options, text) => {
    expect((await errorOf(() => new optim.SGD([leaf(1)], { lr: 1, ...options }))).message).toContain(text);
  });
  it('are for what is no tensor, with its place', async () => {
    const error = await errorOf(() => new optim.SGD([leaf(1), 3 as never], { lr: 1 }));
    expect(error.op).toBe('SGD');
    expect(error.message).toContain('3');
  });
  it('take every option at the end of its range', () => {
    for (const options of [{ lr: 0 }, { lr: 1, momentum: 0 }, { lr: 1, weightDecay: 0 }, { lr: 1, dampening: -2 }])
      expect(() => new optim.SGD([leaf(1)], options)).not.toThrow();
  });
});
