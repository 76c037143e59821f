import { describe, expect, it } from 'vitest';
import { manualSeed, nn, optim, randn, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf, fallbackSteps, withCpu } from './helpers.js';

const bits = (x: Tensor) => [...new Uint32Array(x.dataSync().buffer)];
const LARGEST = 3.4028234663852886e38;

describe.each(fallbackSteps)('finiteGuard on $name', ({ start }) => {
  it('finds what is not finite in every place of every size, and nothing else', () =>
    withCpu(start(), () => {
      for (const n of [...Array(40).keys()].map((i) => i + 1).concat(4095, 4112, 9001)) {
        const numbers = Float32Array.from({ length: n }, (_, i) => [LARGEST, -LARGEST, 1e-45, -0][i % 4]);
        expect(optim.finiteGuard([tensor(numbers)]).itemSync()).toBe(0);
        const places = n <= 40 ? [...numbers.keys()] : [0, 4094, n >> 1, n - 2, n - 1];
        for (const at of places.filter((i) => i < n)) {
          for (const value of [Number.NaN, Infinity, -Infinity]) {
            const spoilt = numbers.slice();
            spoilt[at] = value;
            expect(optim.finiteGuard([tensor(spoilt)]).itemSync(), `${value} at ${at} of ${n}`).toBeNaN();
          }
        }
      }
    }));
  it('looks at all tensors, and not at what lies behind them', () =>
    withCpu(start(), () => {
      const good = tensor([1, 2, 3]);
      const bad = tensor([1, Infinity]);
      // Their places are given to smaller ones, with numbers of before behind their ends.
      for (let i = 0; i < 8; i++) tensor([NaN, NaN, NaN, NaN]).dispose();
      const small = Array.from({ length: 8 }, () => tensor([1]).add(0));
      expect(optim.finiteGuard([good, ...small]).itemSync()).toBe(0);
      expect(optim.finiteGuard([bad, good]).itemSync()).toBeNaN();
      expect(optim.finiteGuard([good, good, bad]).itemSync()).toBeNaN();
      expect(optim.finiteGuard([bad.reshape([2, 1]).t()]).itemSync()).toBeNaN();
    }));
});

describe('finiteGuard', () => {
  it('has no history, and lives where its tensors do', () => {
    const x = tensor([1, 2], { requiresGrad: true, device: 'reference' });
    const guard = optim.finiteGuard([x.mul(x)]);
    expect([guard.requiresGrad, guard.device, guard.shape, guard.itemSync()]).toEqual([false, 'reference', [], 0]);
    expect(optim.finiteGuard([x.mul(1e30)]).itemSync()).toBe(0);
    expect(optim.finiteGuard([x.mul(1e30).mul(1e30)]).itemSync()).toBeNaN();
  });
  it.each<[string, () => unknown, string]>([
    ['no tensors', () => optim.finiteGuard([]), '[finiteGuard] there are no tensors; pass an array of tensors'],
    ['one tensor', () => optim.finiteGuard(zeros([1]) as never), 'the argument is a Tensor'],
    ['numbers', () => optim.finiteGuard([zeros([1]), 3 as never]), 'value 1 is 3; pass tensors only'],
    [
      'two devices',
      () => optim.finiteGuard([zeros([1]), zeros([1], { device: 'reference' })]),
      "value 1 is on 'reference', value 0 on 'cpu'; make a guard for each device",
    ],
  ])('refuses %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});

const rules: [string, optim.SGDOptions][] = [
  ['plain', { lr: 0.1, weightDecay: 0.01 }],
  ['with momentum', { lr: 0.1, momentum: 0.9 }],
  ['with dampening', { lr: 0.1, momentum: 0.9, dampening: 0.5 }],
  ['with nesterov', { lr: 0.1, momentum: 0.9, nesterov: true }],
];

describe('a guarded step', () => {
  it.each(rules)('keeps every bit unless the guard is 0, the first time and later: %s', (_, rule) => {
    const [guarded, plain] = [0, 1].map(() => tensor([1, -2, 3], { requiresGrad: true }));
    const [a, b] = [new optim.SGD([guarded], rule), new optim.SGD([plain], rule)];
    for (const [i, verdict] of [Number.NaN, 1, 0, -Infinity, 0, -0].entries()) {
      const g = [i + 1, 0.5, -i];
      guarded.grad = tensor(g);
      plain.grad = tensor(g);
      const [before, state] = [bits(guarded), Object.values(a.stateDict()).map(bits)];
      a.step({ guard: tensor(verdict) });
      if (verdict === 0) b.step();
      else {
        expect(bits(guarded)).toEqual(before);
        expect(Object.values(a.stateDict()).map(bits)).toEqual(state);
      }
      expect(bits(guarded), `turn ${i}`).toEqual(bits(plain));
      expect(Object.values(a.stateDict()).map(bits)).toEqual(Object.values(b.stateDict()).map(bits));
    }
    expect(bits(guarded)).not.toEqual(bits(tensor([1, -2, 3])));
  });
  it('keeps a model from one spoilt batch', () => {
    manualSeed(3);
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 1));
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
    const step = (x: Tensor) => {
      const loss = nn.functional.mseLoss(model.forward(x), zeros([2, 1]));
      optimizer.zeroGrad();
      loss.backward();
      const guard = optim.finiteGuard([loss, ...model.parameters().map((p) => p.gradient!)]);
      optimizer.step({ guard });
      return guard.itemSync();
    };
    expect(step(randn([2, 3]))).toBe(0);
    const before = model.parameters().map(bits);
    expect(step(tensor([[1, 2, NaN], [1, 2, 3]]))).toBeNaN(); // biome-ignore format: a batch
    expect(model.parameters().map(bits)).toEqual(before);
    expect(step(randn([2, 3]))).toBe(0);
    expect(model.parameters().map(bits)).not.toEqual(before);
  });
  it('takes a guard of another device that the host can read', () => {
    const p = tensor([1], { requiresGrad: true, device: 'reference' });
    p.grad = tensor([1], { device: 'reference' });
    const optimizer = new optim.SGD([p], { lr: 0.5 });
    optimizer.step({ guard: tensor(NaN) });
    expect(p.itemSync()).toBe(1);
    optimizer.step({ guard: tensor([[0]]) });
    expect(p.itemSync()).toBe(0.5);
  });
  it.each<[string, unknown, string]>([
    ['a number', { guard: 0 }, '[SGD.step] the guard is 0; pass a scalar tensor, such as finiteGuard(values)'],
    ['several numbers', { guard: zeros([2]) }, 'the guard is of shape [2]'],
    ['a closure', () => 1, 'options are the function'],
    ['an unknown option', { gaurd: zeros([]) }, "unknown option 'gaurd'"],
  ])('refuses %s', async (_, options, text) => {
    const optimizer = new optim.SGD([zeros([1], { requiresGrad: true })], { lr: 1 });
    expect((await errorOf(() => optimizer.step(options as never))).message).toContain(text);
  });
});
