import { afterEach, describe, expect } from 'vitest';
import { compile, manualSeed, nn, optim, randn, type Tensor, tensor, useDevice, zeros } from '../../src/index.js';
import { errorOf } from '../helpers.js';
import { onGpu } from './device.js';

afterEach(() => useDevice('cpu'));

const bad = [Number.NaN, Infinity, -Infinity];
const bits = async (x: Tensor) => [...new Uint32Array((await x.data()).buffer)];
const all = (tensors: readonly Tensor[]) => Promise.all(tensors.map(bits));

describe('finiteGuard on the GPU', () => {
  onGpu('finds what is not finite at every edge of its strides', async () => {
    await useDevice('gpu');
    for (const n of [1, 7, 8, 9, 1000, 140_001]) {
      const numbers = new Float32Array(n).fill(-3.4028234663852886e38);
      const small = tensor([1e-45, -0, 3.4028234663852886e38]);
      expect(await optim.finiteGuard([small, tensor(numbers)]).item(), `${n} finite numbers`).toBe(0);
      for (const at of new Set([0, n >> 1, n - 1])) {
        for (const value of bad) {
          const spoilt = numbers.slice();
          spoilt[at] = value;
          expect(await optim.finiteGuard([small, tensor(spoilt)]).item(), `${value} at ${at} of ${n}`).toBeNaN();
          expect(await optim.finiteGuard([tensor(spoilt), small]).item()).toBeNaN();
        }
      }
    }
  });
  onGpu('sees what was computed on the device', async () => {
    await useDevice('gpu');
    const x = tensor([1, 0]);
    expect(await optim.finiteGuard([x.div(x)]).item()).toBeNaN();
    expect(await optim.finiteGuard([tensor([1, 1]).div(x)]).item()).toBeNaN();
    expect(await optim.finiteGuard([x.add(x)]).item()).toBe(0);
  });
});

const rules: [string, optim.SGDOptions][] = [
  ['plain, with weight decay', { lr: 0.1, weightDecay: 0.01 }],
  ['momentum', { lr: 0.1, momentum: 0.9 }],
  ['dampening', { lr: 0.1, momentum: 0.9, dampening: 0.5 }],
  ['nesterov', { lr: 0.1, momentum: 0.9, nesterov: true }],
];

describe('a guarded step on the GPU', () => {
  for (const [name, rule] of rules) {
    onGpu(`changes nothing, the first time and later, and else what a step without guard does: ${name}`, async () => {
      await useDevice('gpu');
      const [guarded, plain] = [0, 1].map(() => tensor([1, -2, 3], { requiresGrad: true }));
      const [a, b] = [new optim.SGD([guarded], rule), new optim.SGD([plain], rule)];
      // Healthy or not, in this order; the last one without a guard.
      const turns = [Number.NaN, 1, 0, Infinity, 0, 0, null];
      for (const [i, verdict] of turns.entries()) {
        const g = [i + 1, 0.5, -i];
        guarded.grad = tensor(g);
        plain.grad = tensor(g);
        const [before, state] = [await bits(guarded), await all(Object.values(a.stateDict()))];
        a.step(verdict === null ? {} : { guard: tensor(verdict) });
        if (verdict === null || verdict === 0) b.step();
        else {
          expect(await bits(guarded)).toEqual(before);
          // The first step makes a velocity of 0, which is as good as none.
          if (i > 0) expect(await all(Object.values(a.stateDict()))).toEqual(state);
        }
        expect(await bits(guarded), `turn ${i}`).toEqual(await bits(plain));
      }
      expect(await bits(guarded)).not.toEqual(await bits(tensor([1, -2, 3])));
    });
  }
  onGpu('is saved before its first applied step, and continues on the CPU', async () => {
    const rule = { lr: 0.1, momentum: 0.9, dampening: 0.5 };
    const twoSteps = (p: Tensor, o: optim.SGD) => {
      for (const g of [1, 3]) {
        p.grad = tensor([g, 2 * g]);
        o.step();
      }
      return p;
    };
    const expected = tensor([1, 2], { requiresGrad: true });
    twoSteps(expected, new optim.SGD([expected], rule));
    await useDevice('gpu');
    const p = tensor([1, 2], { requiresGrad: true });
    const optimizer = new optim.SGD([p], rule);
    p.grad = tensor([5, 5]);
    optimizer.step({ guard: tensor(Number.NaN) });
    const state = optimizer.stateDict();
    await useDevice('cpu');
    const onCpu = Object.fromEntries(
      await Promise.all(
        Object.entries(state).map(async ([k, t]) => [k, tensor(await t.data(), { shape: t.shape })] as const),
      ),
    );
    const q = tensor([1, 2], { requiresGrad: true });
    const continued = new optim.SGD([q], { lr: 1 });
    continued.loadStateDict(onCpu);
    expect(await bits(twoSteps(q, continued))).toEqual(await bits(expected));
  });
  onGpu('works in a compiled step, the first step included', async () => {
    await useDevice('gpu');
    const data = Array.from({ length: 8 }, (_, i) => {
      manualSeed(i);
      const x = randn([4, 3]);
      return { x: i === 0 || i === 4 ? x.mul(Number.NaN) : x, y: randn([4, 2]) };
    });
    const program = async (wrap: boolean) => {
      manualSeed(1);
      const model = new nn.Sequential(new nn.Linear(3, 5), new nn.Tanh(), new nn.Linear(5, 2));
      const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9, dampening: 0.3 });
      const step = (x: Tensor, y: Tensor) => {
        const loss = nn.functional.mseLoss(model.forward(x), y);
        loss.backward();
        const guard = optim.finiteGuard([loss, ...model.parameters().map((p) => p.gradient!)]);
        optimizer.step({ guard });
        optimizer.zeroGrad();
        return [loss, guard];
      };
      const run = wrap ? compile(step) : step;
      const seen: number[] = [];
      for (const { x, y } of data) for (const t of run(x, y)) seen.push(await t.item());
      return {
        seen,
        parameters: await all(model.parameters()),
        replays: wrap ? (run as { replays?: number }).replays : 0,
      };
    };
    const [eager, compiled] = [await program(false), await program(true)];
    expect(compiled.seen).toEqual(eager.seen);
    expect(compiled.parameters).toEqual(eager.parameters);
    expect(compiled.replays).toBe(6);
    // Two of eight steps were held back, and the others learnt.
    expect(eager.seen.filter((_, i) => i % 2 === 1)).toEqual([NaN, 0, 0, 0, NaN, 0, 0, 0]);
    expect(eager.seen.at(-2)).not.toBeNaN();
  });
  onGpu('lets momentum begin in the middle of a compiled run', async () => {
    await useDevice('gpu');
    const program = async (wrap: (step: (x: Tensor) => Tensor) => (x: Tensor) => Tensor, guarded: boolean) => {
      const p = tensor([1, 2], { requiresGrad: true });
      const optimizer = new optim.SGD([p], { lr: 0.1 });
      const step = wrap((x) => {
        const loss = p.mul(p).mul(x).sum();
        loss.backward();
        optimizer.step(guarded ? { guard: optim.finiteGuard([loss]) } : {});
        optimizer.zeroGrad();
        return loss;
      });
      const seen: number[] = [];
      for (let i = 0; i < 10; i++) {
        if (i === 4) Object.assign(optimizer.paramGroups[0], { momentum: 0.9, dampening: 0.5 });
        await step(tensor(i === 4 && guarded ? NaN : 1)).item();
        seen.push(...(await p.data()));
      }
      return seen;
    };
    for (const guarded of [false, true]) {
      expect(await program(compile, guarded)).toEqual(await program((step) => step, guarded));
    }
  });
  onGpu('wants a guard on the device of the parameters', async () => {
    const p = zeros([2], { requiresGrad: true, device: (await useDevice('gpu')).type });
    p.grad = tensor([1, 1]);
    const guard = zeros([], { device: 'cpu' });
    const error = await errorOf(() => new optim.SGD([p], { lr: 1 }).step({ guard }));
    expect(error.message).toContain("the guard is on 'cpu', a parameter on 'gpu'");
    expect(await bits(p)).toEqual([0, 0]);
    expect((await errorOf(() => optim.finiteGuard([p, guard]))).message).toContain("value 1 is on 'cpu'");
  });
});

describe('clipping on the GPU', () => {
  onGpu('scales without a look of the host, also in a compiled step', async () => {
    await useDevice('gpu');
    const p = tensor([0, 0], { requiresGrad: true });
    const optimizer = new optim.SGD([p], { lr: 1 });
    const step = compile((x) => {
      p.mul(x).sum().backward();
      const norm = nn.utils.clipGradNorm(optimizer.paramGroups[0].params, 1);
      optimizer.step();
      optimizer.zeroGrad();
      return norm;
    });
    for (const x of [tensor([3, 4]), tensor([0.3, 0.4]), tensor([30, 40])]) {
      expect(await step(x).item()).toBeCloseTo(Math.hypot(...(await x.data())), 4);
    }
    const [a, b] = await p.data();
    expect(a).toBeCloseTo(-(0.6 + 0.3 + 0.6), 5);
    expect(b).toBeCloseTo(-(0.8 + 0.4 + 0.8), 5);
  });
  onGpu('says what it cannot do there', async () => {
    await useDevice('gpu');
    const p = tensor([0], { requiresGrad: true });
    p.grad = tensor([1]);
    const error = await errorOf(() => nn.utils.clipGradNorm(p, 1, { errorIfNonfinite: true }));
    expect(error.message).toContain('await norm.item()');
  });
});
