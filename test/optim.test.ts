import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { nn, optim, type Tensor, tensor, useDevice, zeros } from '../src/index.js';
import { load, save } from '../src/io/index.js';
import { errorOf, expectClose } from './helpers.js';

afterEach(() => useDevice('cpu'));

const leaf = (...values: number[]) => tensor(values, { requiresGrad: true });
const bits = (x: Tensor) => [...new Uint32Array(x.dataSync().buffer)];
/** A step with the gradient x for each parameter x. */
function step(optimizer: optim.SGD): void {
  optimizer.zeroGrad();
  for (const { params } of optimizer.paramGroups) {
    for (const p of params) if (p.requiresGrad) p.mul(p).mul(0.5).sum().backward();
  }
  optimizer.step();
}

describe('the parameters of an optimizer', () => {
  const model = new nn.Sequential(new nn.Linear(2, 1));
  it.each<[string, () => unknown, string]>([
    ['a model', () => new optim.SGD(model as never, { lr: 1 }), 'are a Sequential; pass model.parameters()'],
    ['a tensor', () => new optim.SGD(leaf(1) as never, { lr: 1 }), 'are a Tensor; pass an array: [parameter]'],
    [
      'a group',
      () => new optim.SGD({ params: [leaf(1)] } as never, { lr: 1 }),
      'pass an array of groups: [{ params, … }]',
    ],
    ['nothing', () => new optim.SGD(undefined as never, { lr: 1 }), 'the parameters are undefined'],
    ['a number among them', () => new optim.SGD([leaf(1), 2 as never], { lr: 1 }), 'parameter 1 is 2'],
    ['no options', () => new optim.SGD([leaf(1)], undefined as never), '[SGD] lr is undefined'],
    ['null for options', () => new optim.SGD([leaf(1)], null as never), 'options are null'],
    ['a number for options', () => new optim.SGD([leaf(1)], 0.1 as never), 'options are 0.1'],
    ['a result', () => new optim.SGD([leaf(1).mul(2)], { lr: 1 }), 'is a result, not a leaf'],
    ['an empty group', () => new optim.SGD([{ params: [] }], { lr: 1 }), 'group 0 has no parameters'],
    [
      'a tensor among groups',
      () => new optim.SGD([{ params: [leaf(1)] }, leaf(1) as never], { lr: 1 }),
      'group 1 is a Tensor',
    ],
    [
      'a group among tensors',
      () => new optim.SGD([leaf(1), { params: [leaf(1)] } as never], { lr: 1 }),
      'parameter 1 is a Object',
    ],
    [
      'a group without a rate',
      () => new optim.SGD([{ params: [leaf(1)], lr: 1 }, { params: [leaf(1)] }]),
      'lr is undefined',
    ],
    ['a misspelt number', () => new optim.SGD([{ params: [leaf(1)], momentun: 1 } as never], { lr: 1 }), "'momentun'"],
  ])('cannot be %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
  it('cannot be in two groups', async () => {
    const p = leaf(1);
    const error = await errorOf(() => new optim.SGD([{ params: [p] }, { params: [leaf(2), p] }], { lr: 1 }));
    expect(error.message).toContain('parameter 1 of shape [1] is in another group already');
  });
  it('move once, if they are tied', () => {
    const p = leaf(2);
    step(new optim.SGD([p, p], { lr: 0.5 }));
    expect(p.toArraySync()).toEqual([1]);
  });
  it('may be frozen, live on several devices, and have no gradient', () => {
    const frozen = zeros([2]);
    const elsewhere = tensor([4], { requiresGrad: true, device: 'reference' });
    const p = leaf(2);
    const optimizer = new optim.SGD([p, frozen, elsewhere], { lr: 0.5, momentum: 0.9 });
    optimizer.step();
    expect([p.itemSync(), elsewhere.itemSync()]).toEqual([2, 4]);
    step(optimizer);
    expect([p.itemSync(), frozen.toArraySync(), elsewhere.itemSync()]).toEqual([1, [0, 0], 2]);
    frozen.requiresGrad = true;
    frozen.grad = tensor([1, 2]);
    optimizer.step();
    expect(frozen.toArraySync()).toEqual([-0.5, -1]);
  });
  it('keep their numbers where a gradient does not fit', async () => {
    const [p, q] = [leaf(1), leaf(2)];
    const optimizer = new optim.SGD([p, q], { lr: 1 });
    p.grad = tensor([1]);
    q.replaceGradient(tensor([1], { device: 'reference' })); // the setter would refuse it
    const error = await errorOf(() => optimizer.step());
    expect(error.message).toContain("a parameter of shape [1] on 'cpu' has a gradient of shape [1] on 'reference'");
    expect(p.itemSync()).toBe(1);
  });
});

describe('groups', () => {
  it('have numbers of their own, which may change between steps', async () => {
    const [a, b, c] = [leaf(1), leaf(1), leaf(1)];
    const optimizer = new optim.SGD(
      [
        { params: [a], lr: 0.5 },
        { params: b, weightDecay: 1 },
      ],
      { lr: 0.25 },
    );
    step(optimizer);
    expect([a.itemSync(), b.itemSync()]).toEqual([0.5, 0.5]);
    expect(optimizer.paramGroups.map(({ params: _, ...numbers }) => numbers)).toEqual([
      { lr: 0.5, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false },
      { lr: 0.25, momentum: 0, dampening: 0, weightDecay: 1, nesterov: false },
    ]);
    for (const group of optimizer.paramGroups) group.lr *= 2;
    optimizer.addParamGroup({ params: [c] });
    step(optimizer);
    expect([a.itemSync(), b.itemSync(), c.itemSync()]).toEqual([0, 0, 0.75]);
    optimizer.paramGroups[1].lr = -1;
    a.grad = tensor([1]);
    expect((await errorOf(() => optimizer.step())).message).toContain('[SGD] lr is -1');
    expect(a.itemSync()).toBe(0);
  });
});

describe('the state of SGD', () => {
  const path = () => join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'optimizer.safetensors');
  const setting = (lr: number) => {
    const frozen = zeros([3]);
    const parameters = [leaf(1, 2), frozen, leaf(3)];
    const groups = [
      { params: parameters.slice(0, 2), lr, momentum: 0.9 },
      { params: [parameters[2]], lr: lr / 3, momentum: 0.7, nesterov: true },
    ];
    return { parameters, optimizer: new optim.SGD(groups) };
  };
  it('continues by way of a file to the same bits, with every digit of its numbers', async () => {
    const one = setting(0.1);
    step(one.optimizer);
    const file = path();
    await save(one.optimizer.stateDict(), file);
    const two = setting(9);
    two.parameters.forEach((p, i) => void p.backend.write(p.storage, one.parameters[i].dataSync()));
    const [group] = two.optimizer.paramGroups;
    two.optimizer.loadStateDict(await load(file));
    expect(two.optimizer.paramGroups.map((g) => g.lr)).toEqual([0.1, 0.1 / 3]);
    expect(two.optimizer.paramGroups[0], 'schedules hold the groups').toBe(group);
    for (let i = 0; i < 3; i++) for (const { optimizer } of [one, two]) step(optimizer);
    expect(two.parameters.map(bits)).toEqual(one.parameters.map(bits));
    expect(Object.keys(two.optimizer.stateDict())).toEqual(['paramGroups', 'velocity.0', 'velocity.2']);
  });
  it('is a copy, and takes back velocities that were not there', () => {
    const { parameters, optimizer } = setting(0.1);
    const start = optimizer.stateDict();
    const first = parameters.map(bits);
    step(optimizer);
    const after = parameters.map(bits);
    step(optimizer);
    optimizer.loadStateDict(start);
    const values = [[1, 2], [0, 0, 0], [3]];
    parameters.forEach((p, i) => void p.backend.write(p.storage, values[i]));
    expect(parameters.map(bits)).toEqual(first);
    step(optimizer);
    expect(parameters.map(bits)).toEqual(after);
  });
  it('is read as versions before groups wrote it', () => {
    const [a, b] = [leaf(1), leaf(1)];
    const options = { lr: 0.5, momentum: 0.5, dampening: 0, weightDecay: 0, nesterov: false };
    const optimizer = new optim.SGD([a, b], { lr: 3 });
    optimizer.loadStateDict({ options, velocities: [tensor([2]), null] });
    step(optimizer);
    // 1 - 0.5 (0.5 2 + 1), and 1 - 0.5 1.
    expect([a.itemSync(), b.itemSync()]).toEqual([0, 0.5]);
  });
  it.each<[string, (s: ReturnType<optim.SGD['stateDict']>) => unknown, string]>([
    ['nothing', () => null, 'the state is null'],
    ['another object', () => ({ lr: 0.1 }), "the state's paramGroups is undefined"],
    ['numbers that are no text', (s) => ({ ...s, paramGroups: tensor([1.5]) }), 'its elements are not bytes'],
    ['text that is no JSON', (s) => ({ ...s, paramGroups: tensor([123]) }), 'cannot be read'],
    ['JSON that is no groups', (s) => ({ ...s, paramGroups: tensor([0x5b, 0x31, 0x5d]) }), 'paramGroups is [1]'],
    [
      'a velocity of another shape',
      (s) => ({ ...s, 'velocity.0': zeros([3]) }),
      'velocity.0 is [3] for a parameter of shape [2]',
    ],
    ['a velocity that is no tensor', (s) => ({ ...s, 'velocity.0': [1, 2] }), 'velocity.0 is [1, 2]'],
    ['a velocity too many', (s) => ({ ...s, 'velocity.3': zeros([3]) }), 'the state has velocity.3'],
    [
      'other groups',
      () => new optim.SGD([leaf(1), leaf(1), leaf(1)], { lr: 1 }).stateDict(),
      'groups of [3] parameters, the optimizer has groups of [2, 1]',
    ],
  ])('is not loaded from %s, and nothing changes', async (_, spoil, text) => {
    const { optimizer } = setting(0.1);
    step(optimizer);
    const other = setting(0.2).optimizer;
    const before = Object.values(other.stateDict()).map(bits);
    expect((await errorOf(() => other.loadStateDict(spoil(optimizer.stateDict()) as never))).message).toContain(text);
    expect(Object.values(other.stateDict()).map(bits)).toEqual(before);
  });
});

/** Parameters whose gradients are the given numbers. */
const withGradients = (...gradients: number[][]) =>
  gradients.map((g) => {
    const p = zeros([g.length], { requiresGrad: true });
    p.grad = tensor(g);
    return p;
  });
const gradientsOf = (parameters: readonly Tensor[]) => parameters.flatMap((p) => [...p.grad!.dataSync()]);

describe('clipGradNorm', () => {
  const gradients = [[0.3, -1.7, 2.25], [-4.5], [0, 1e-3]];
  const flat = gradients.flat();
  it.each([0.5, 1, 2, 3, Infinity])('scales to the norm of order %d, as the formula in float64', (normType) => {
    const norm =
      normType === Infinity
        ? Math.max(...flat.map(Math.abs))
        : flat.reduce((sum, g) => sum + Math.abs(g) ** normType, 0) ** (1 / normType);
    for (const maxNorm of [0, 0.5, 1, norm * 1.01, Infinity]) {
      const parameters = withGradients(...gradients);
      const total = nn.utils.clipGradNorm([...parameters, zeros([5])], maxNorm, { normType });
      expect(total.shape).toEqual([]);
      expectClose(total.dataSync(), [norm]);
      const factor = Math.min(1, maxNorm / (norm + 1e-6));
      expectClose(gradientsOf(parameters), flat.map((g) => g * factor)); // biome-ignore format: one formula
      if (factor === 1) expect(gradientsOf(parameters)).toEqual([...Float32Array.from(flat)]);
    }
  });
  it('takes one tensor, one twice, and none with a gradient', () => {
    const [p] = withGradients([3, 4]);
    expect(nn.utils.clipGradNorm(p, 1).itemSync()).toBe(5);
    expectClose(gradientsOf([p]), [0.6, 0.8]);
    const [q] = withGradients([3, 4]);
    expect(nn.utils.clipGradNorm([q, q], 1).itemSync()).toBe(5);
    expectClose(gradientsOf([q]), [0.6, 0.8]);
    expect(nn.utils.clipGradNorm([], 1).itemSync()).toBe(0);
    expect(nn.utils.clipGradNorm([zeros([2])], 1).itemSync()).toBe(0);
  });
  it('spans devices that the host can read', () => {
    const [p] = withGradients([3]);
    const q = zeros([1], { requiresGrad: true, device: 'reference' });
    q.grad = tensor([4], { device: 'reference' });
    expect(nn.utils.clipGradNorm([p, q], 1).itemSync()).toBe(5);
    expectClose(gradientsOf([p, q]), [0.6, 0.8]);
    expect(q.grad.device).toBe('reference');
  });
  it('does with norms that are not finite what PyTorch does, or throws first', async () => {
    const infinite = () => withGradients([1, Infinity], [2]);
    const parameters = infinite();
    expect(nn.utils.clipGradNorm(parameters, 1).itemSync()).toBe(Infinity);
    expect(gradientsOf(parameters)).toEqual([0, NaN, 0]);
    const nan = withGradients([1, NaN], [2]);
    expect(nn.utils.clipGradNorm(nan, 1).itemSync()).toBeNaN();
    expect(gradientsOf(nan)).toEqual([NaN, NaN, NaN]);
    const kept = infinite();
    const error = await errorOf(() => nn.utils.clipGradNorm(kept, 1, { errorIfNonfinite: true }));
    expect(error.message).toContain('[clipGradNorm] the norm of order 2 is Infinity; use a smaller learning rate');
    expect(gradientsOf(kept)).toEqual([1, Infinity, 2]);
  });
  it('leaves no history, and a step that follows uses it', () => {
    const p = leaf(3, 4);
    const optimizer = new optim.SGD([p], { lr: 1 });
    p.mul(p).mul(0.5).sum().backward();
    nn.utils.clipGradNorm([p], 1);
    expect(p.grad!.requiresGrad).toBe(false);
    optimizer.step();
    expectClose(p.dataSync(), [2.4, 3.2]);
  });
  it.each<[string, () => unknown, string]>([
    ['a model', () => nn.utils.clipGradNorm(new nn.ReLU() as never, 1), 'are a ReLU; pass model.parameters()'],
    ['numbers', () => nn.utils.clipGradNorm([1] as never, 1), 'parameter 0 is 1'],
    ['no norm', () => nn.utils.clipGradNorm([], undefined as never), 'maxNorm is undefined'],
    ['a negative norm', () => nn.utils.clipGradNorm([], -1), 'maxNorm is -1; pass a finite number of at least 0'],
    ['a NaN', () => nn.utils.clipGradNorm([], NaN), 'maxNorm is NaN'],
    ['an order of 0', () => nn.utils.clipGradNorm([], 1, { normType: 0 }), 'normType is 0'],
    ['an unknown option', () => nn.utils.clipGradNorm([], 1, { norm: 1 } as never), "unknown option 'norm'"],
    ['a text', () => nn.utils.clipGradNorm([], 1, { errorIfNonfinite: 'yes' as never }), "errorIfNonfinite is 'yes'"],
    ['a negative value', () => nn.utils.clipGradValue([], -1), '[clipGradValue] clipValue is -1'],
  ])('refuses %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});

describe('clipGradValue', () => {
  it('brings every number into the range, and lets NaN be', () => {
    const parameters = withGradients([-3, 0.25, Infinity], [NaN, 0.5, -Infinity]);
    nn.utils.clipGradValue([...parameters, zeros([1])], 0.5);
    expect(gradientsOf(parameters)).toEqual([-0.5, 0.25, 0.5, NaN, 0.5, -0.5]);
    nn.utils.clipGradValue(parameters[0], 0.125);
    expect(gradientsOf([parameters[0]])).toEqual([-0.125, 0.125, 0.125]);
  });
});

describe("an optimizer's state", () => {
  it('shows velocities to programs written before param groups', () => {
    const [p, q] = [tensor([1], { requiresGrad: true }), tensor([1], { requiresGrad: true })];
    const optimizer = new optim.SGD([p, q], { lr: 0.1, momentum: 0.9 });
    p.mul(3).sum().backward();
    optimizer.step();
    const state = optimizer.stateDict();
    const { velocities } = state as unknown as { velocities: readonly (Tensor | null)[] };
    expect(velocities.map((v) => v?.toArraySync() ?? null)).toEqual([[3], null]);
    expect(Object.keys(state)).toEqual(['paramGroups', 'velocity.0']);
    optimizer.loadStateDict(state);
    expect(optimizer.options.lr).toBe(0.1);
    optimizer.addParamGroup({ params: [tensor([1], { requiresGrad: true })], lr: 1 });
    expect(() => optimizer.options).toThrow('[SGD.options] there are 2 groups');
  });
});
