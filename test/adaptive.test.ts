import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CpuBackend } from '../src/backends/cpu/index.js';
import { backendOf } from '../src/backends/registry.js';
import { manualSeed, nn, noGrad, optim, randn, type Tensor, tensor, zeros } from '../src/index.js';
import { load, save } from '../src/io/index.js';
import { errorOf, startLateDevice, withCpu } from './helpers.js';
import { expectGolden, give, golden, nameOf, setUp } from './trajectories.js';

// Adam, AdamW, RMSprop and Adagrad, beside what golden-optim.test.ts compares with PyTorch.

const leaf = (...values: number[]) => tensor(values, { requiresGrad: true });
const bits = (x: Tensor) => [...new Uint32Array(x.dataSync().buffer)];
type Make = (parameters: never, options?: object) => optim.AnyOptimizer;
const makers: [string, Make][] = [
  ['Adam', (p, o) => new optim.Adam(p, { amsgrad: true, weightDecay: 0.1, ...o })],
  ['AdamW', (p, o) => new optim.AdamW(p, o)],
  ['RMSprop', (p, o) => new optim.RMSprop(p, { momentum: 0.9, centered: true, ...o })],
  ['Adagrad', (p, o) => new optim.Adagrad(p, { lrDecay: 0.1, ...o })],
];

/** Gives each parameter the gradient cos(i + step), and steps. */
function step(optimizer: optim.AnyOptimizer, at: number, options?: optim.StepOptions): void {
  for (const { params } of optimizer.paramGroups) {
    for (const p of params) {
      const g = Float32Array.from({ length: p.size }, (_, i) => Math.cos(i + at));
      p.grad = tensor(g, { shape: p.shape, device: p.device });
    }
  }
  optimizer.step(options);
}

describe('options', () => {
  it('have the defaults of PyTorch', () => {
    const numbers = (o: optim.AnyOptimizer) => ({ ...o.paramGroups[0], params: 0 });
    const adam = { params: 0, lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, amsgrad: false };
    expect(numbers(new optim.Adam([leaf(1)]))).toEqual(adam);
    expect(numbers(new optim.AdamW([leaf(1)]))).toEqual({ ...adam, weightDecay: 0.01 });
    expect(numbers(new optim.RMSprop([leaf(1)]))).toEqual({
      params: 0,
      lr: 0.01,
      alpha: 0.99,
      eps: 1e-8,
      weightDecay: 0,
      momentum: 0,
      centered: false,
    });
    expect(numbers(new optim.Adagrad([leaf(1)]))).toEqual({
      params: 0,
      lr: 0.01,
      lrDecay: 0,
      weightDecay: 0,
      initialAccumulatorValue: 0,
      eps: 1e-10,
    });
  });
  it.each<[string, () => unknown, string]>([
    [
      'a negative lr',
      () => new optim.Adam([leaf(1)], { lr: -1 }),
      '[Adam] lr is -1; pass a finite number of at least 0',
    ],
    ['a lr of NaN', () => new optim.AdamW([leaf(1)], { lr: Number.NaN }), '[AdamW] lr is NaN'],
    [
      'a beta of 1',
      () => new optim.Adam([leaf(1)], { betas: [0.9, 1] }),
      '[Adam] betas are [0.9, 1]; pass two numbers',
    ],
    ['a beta below 0', () => new optim.AdamW([leaf(1)], { betas: [-0.1, 0.9] }), 'betas are [-0.1, 0.9]'],
    ['one beta', () => new optim.Adam([leaf(1)], { betas: [0.9] as never }), 'betas are [0.9]'],
    ['a number for betas', () => new optim.Adam([leaf(1)], { betas: 0.9 as never }), 'betas are 0.9'],
    ['a negative eps', () => new optim.Adam([leaf(1)], { eps: -1 }), 'eps is -1'],
    ['a negative decay', () => new optim.AdamW([leaf(1)], { weightDecay: -1 }), 'weightDecay is -1'],
    ['a number for amsgrad', () => new optim.Adam([leaf(1)], { amsgrad: 1 as never }), 'amsgrad is 1; pass true or'],
    ['an unknown option', () => new optim.Adam([leaf(1)], { momentum: 0.9 } as never), "unknown option 'momentum'"],
    ['a negative alpha', () => new optim.RMSprop([leaf(1)], { alpha: -0.1 }), '[RMSprop] alpha is -0.1'],
    ['a negative momentum', () => new optim.RMSprop([leaf(1)], { momentum: -1 }), 'momentum is -1'],
    ['a text for centered', () => new optim.RMSprop([leaf(1)], { centered: 'no' as never }), "centered is 'no'"],
    ['a negative lrDecay', () => new optim.Adagrad([leaf(1)], { lrDecay: -1 }), '[Adagrad] lrDecay is -1'],
    ['a negative start', () => new optim.Adagrad([leaf(1)], { initialAccumulatorValue: -1 }), 'Value is -1'],
    ['no parameters', () => new optim.Adam([]), '[Adam] there are no parameters'],
  ])('are refused: %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
  it('are checked where they are changed in place', async () => {
    const betas: [number, number] = [0.5, 0.5];
    const p = leaf(1);
    const optimizer = new optim.Adam([p], { betas, lr: 0.5 });
    betas[0] = 7; // the optimizer has a copy
    step(optimizer, 0);
    const group = optimizer.paramGroups[0];
    (group.betas as [number, number])[1] = 7;
    const before = p.itemSync();
    expect((await errorOf(() => step(optimizer, 1))).message).toContain('betas are [0.5, 7]');
    expect(p.itemSync()).toBe(before);
    group.betas = [0.5, 0.5];
    step(optimizer, 1);
    expect(p.itemSync()).not.toBe(before);
  });
});

describe.each(makers)('%s', (name, make) => {
  it('continues from a saved state to the same bits', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'optimizer.safetensors');
    const of = () => [leaf(1, -2, 3), leaf(0.5)];
    const [a, b] = [of(), of()];
    const groups = ([p, q]: Tensor[]) => [{ params: [p] }, { params: [q], lr: 0.3 }] as never;
    const one = make(groups(a));
    for (let i = 0; i < 4; i++) step(one, i);
    await save(one.stateDict(), path);
    const two = make(groups(b), { lr: 7 });
    two.loadStateDict(await load(path));
    expect(two.paramGroups.map(({ params: _, ...rest }) => rest)).toEqual(
      one.paramGroups.map(({ params: _, ...rest }) => rest),
    );
    noGrad(() => void b.forEach((p, i) => void p.copyFrom(a[i])));
    for (let i = 4; i < 7; i++) for (const o of [one, two]) step(o, i);
    expect(b.map(bits)).toEqual(a.map(bits));
    expect(Object.keys(two.stateDict()).sort()).toEqual(Object.keys(one.stateDict()).sort());
    // Back to the start.
    const fresh = of();
    one.loadStateDict(make(groups(fresh)).stateDict());
    noGrad(() => void a.forEach((p, i) => void p.copyFrom(fresh[i])));
    const restarted = make(groups(fresh));
    for (const o of [one, restarted]) step(o, 0);
    expect(a.map(bits)).toEqual(fresh.map(bits));
  });
  it('counts for each parameter, also for one that comes later', () => {
    const [p, q, alone] = [leaf(1, 2), leaf(1, 2), leaf(1, 2)];
    const optimizer = make([p] as never);
    step(optimizer, 0);
    step(optimizer, 1);
    (optimizer as optim.Adam).addParamGroup({ params: [q] });
    step(optimizer, 2);
    step(make([alone] as never), 2);
    expect(bits(q)).toEqual(bits(alone));
    if (name !== 'RMSprop') {
      const state = optimizer.stateDict();
      expect([state['step.0'], state['step.1']].map((t) => [t.shape, t.itemSync()])).toEqual([[[], 3], [[], 1]]); // biome-ignore format: one line
    }
  });
  it('takes its state along when a parameter moves', () => {
    const [p, q] = [leaf(1, 2), leaf(1, 2)];
    const [moved, still] = [make([p] as never), make([q] as never)];
    for (const device of ['cpu', 'reference', 'reference', 'cpu'] as const) {
      p.replaceStorage(p.to(device).storage);
      step(moved, 1);
      step(still, 1);
      expectGolden(p.dataSync(), [...q.dataSync()], `on ${device}`);
    }
    for (const t of Object.values(moved.stateDict())) expect(t.device).toBe('cpu');
  });
  it('updates parameters that are views', () => {
    const base = tensor([[1, 2, 3], [4, 5, 6]]); // biome-ignore format: a matrix
    const view = base.t();
    view.requiresGrad = true;
    const dense = tensor(view.dataSync(), { shape: [3, 2], requiresGrad: true });
    const [a, b] = [make([view] as never), make([dense] as never)];
    for (let i = 0; i < 3; i++) for (const o of [a, b]) step(o, i);
    expect(bits(view)).toEqual(bits(dense));
  });
  it('lets parameters without elements and without gradients be', () => {
    const [empty, p] = [zeros([0, 3], { requiresGrad: true }), leaf(1)];
    const optimizer = make([empty, p] as never);
    empty.grad = zeros([0, 3]);
    optimizer.step();
    expect(p.itemSync()).toBe(1);
    expect(Object.keys(optimizer.stateDict()).some((key) => key.endsWith('.1'))).toBe(false);
  });
  it('changes nothing unless its guard is 0', async () => {
    const p = leaf(1, 2);
    const optimizer = make([p] as never);
    step(optimizer, 0, { guard: tensor(Number.NaN) });
    expect(p.toArraySync()).toEqual([1, 2]);
    expect(Object.keys(optimizer.stateDict())).toEqual(['paramGroups']);
    startLateDevice();
    const late = tensor([1, 2], { device: 'gpu', requiresGrad: true });
    const q = leaf(1, 2);
    const [a, b] = [make([late] as never), make([q] as never)];
    for (const [i, verdict] of [Number.NaN, 0, Number.NaN, 0, null].entries()) {
      step(a, i, verdict === null ? {} : { guard: tensor(verdict, { device: 'gpu' }) });
      if (verdict === 0 || verdict === null) step(b, i);
      expectGolden(await late.data(), [...q.dataSync()], `turn ${i}`);
    }
    if (name !== 'RMSprop') expect(await a.stateDict()['step.0'].item()).toBe(3);
  });
  it('gives the same bits with workers that ran before its kernel was loaded', async () => {
    const run = (threads: number) =>
      withCpu(new CpuBackend('wasm-relaxed-simd', threads), async () => {
        const cpu = backendOf('cpu') as CpuBackend;
        const up = async () => {
          cpu.pool.start();
          while (cpu.pool.up < threads - 1) await new Promise((resolve) => setTimeout(resolve, 5));
        };
        await up();
        manualSeed(1);
        const p = randn([70_001], { requiresGrad: true });
        const optimizer = make([p] as never);
        step(optimizer, 0);
        await up();
        for (let i = 1; i < 4; i++) step(optimizer, i);
        expect(cpu.pool.up).toBe(threads - 1);
        return [p, ...Object.values(optimizer.stateDict())].map((t) =>
          Buffer.from(t.dataSync().buffer).toString('base64'),
        );
      });
    const one = await run(1);
    for (const threads of [2, 3]) expect(await run(threads)).toEqual(one);
  });
  it('lets averages end at 0 instead of below the normal numbers', () => {
    if (name === 'Adagrad') return;
    const p = leaf(1);
    const optimizer = make([p] as never, { weightDecay: 0 });
    p.grad = tensor([1e-30]);
    optimizer.step();
    for (let i = 0; i < 300; i++) {
      p.grad = tensor([0]);
      optimizer.step();
    }
    for (const [key, t] of Object.entries(optimizer.stateDict())) {
      if (!key.endsWith('.0') || key === 'step.0') continue;
      const value = Math.abs(t.itemSync());
      expect(value === 0 || value >= 2 ** -126, `${key} is ${value}`).toBe(true);
    }
  });
});

describe('the kernels', () => {
  it.each(golden.optimizers.map((c) => [nameOf(c), c] as const))('of %s give the same without relaxed SIMD', (_, c) =>
    withCpu(new CpuBackend('wasm-simd', 1), () => {
      const { parameters, optimizer } = setUp(c, 'cpu');
      c.trajectory.forEach((_, i) => {
        give(parameters, i);
        optimizer.step();
      });
      expectGolden(parameters.flatMap((p) => [...p.dataSync()]), c.trajectory.at(-1)!, 'the parameters'); // biome-ignore format: one line
    }));
  it('carry NaN and infinities on, as the composition does', () => {
    for (const [name, make] of makers) {
      const results = (['cpu', 'reference'] as const).map((device) => {
        const p = tensor([1, 2, 3, Number.NaN], { device, requiresGrad: true });
        const optimizer = make([p] as never);
        p.grad = tensor([Number.NaN, Infinity, 1, 1], { device });
        optimizer.step();
        p.grad = tensor([1, 1, -Infinity, 1], { device });
        optimizer.step();
        return [...p.dataSync()].map(Number.isNaN);
      });
      expect(results[0], name).toEqual(results[1]);
      expect(results[0][0], name).toBe(true);
    }
  });
  it('are those that training uses', () => {
    for (const [name, make] of makers) {
      manualSeed(4);
      const model = new nn.Linear(3, 1);
      const x = randn([32, 3]);
      const optimizer = make(model.parameters() as never, { lr: 0.05 });
      const losses = Array.from({ length: 60 }, () => {
        optimizer.zeroGrad();
        const loss = nn.functional.mseLoss(model.forward(x), x.sum(1, true));
        loss.backward();
        optimizer.step();
        return loss.itemSync();
      });
      expect(losses.at(-1)!, name).toBeLessThan(losses[0]);
    }
  });
});
