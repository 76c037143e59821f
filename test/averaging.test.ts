import { describe, expect, it } from 'vitest';
import { CpuBackend } from '../src/backends/cpu/index.js';
import { backendOf } from '../src/backends/registry.js';
import { nn, noGrad, ones, optim, randn, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf, withCpu } from './helpers.js';
import { expectGolden, golden } from './trajectories.js';

const { ExponentialMovingAverage } = optim;

const leaf = (...values: number[]) => tensor(values, { requiresGrad: true });
const set = (p: Tensor, ...values: number[]) => noGrad(() => void p.copyFrom(tensor(values, { device: p.device })));

describe('the moving average', () => {
  it('is that of AveragedModel', () => {
    const { decay, values, averages } = golden.average;
    for (const device of ['cpu', 'reference'] as const) {
      const p = tensor(values[0], { device, requiresGrad: true });
      const average = new ExponentialMovingAverage([p], { decay });
      values.forEach((numbers, i) => {
        set(p, ...numbers);
        average.update();
        expectGolden(average.stateDict()['average.0'].dataSync(), averages[i], `update ${i}`);
        expect(average.updates).toBe(i + 1);
      });
    }
  });
  it('begins with a copy, and takes each decay', () => {
    const p = leaf(8);
    const average = new ExponentialMovingAverage([p], { decay: 0.5 });
    set(p, 4);
    expect(average.use(() => p.itemSync())).toBe(8);
    average.update();
    expect(average.use(() => p.itemSync())).toBe(4);
    set(p, 0);
    average.update();
    average.decay = 1;
    average.update();
    expect(average.use(() => p.itemSync())).toBe(2);
    average.decay = 0;
    average.update();
    expect(average.use(() => p.itemSync())).toBe(0);
  });
  it('covers the parameters of a model, each once, and its buffers if asked', () => {
    class Model extends nn.Module {
      a = new nn.Linear(1, 1);
      b = this.a;
      mean = new nn.Buffer(zeros([1]));
      forward(x: Tensor) {
        return this.a.forward(x).add(this.mean);
      }
    }
    for (const useBuffers of [false, true]) {
      const model = new Model();
      const average = new ExponentialMovingAverage(model, { useBuffers, decay: 0.5 });
      average.update();
      set(model.mean, 2);
      average.update();
      const keys = ['average.a.bias', 'average.a.weight', ...(useBuffers ? ['average.mean'] : []), 'updates'];
      expect(Object.keys(average.stateDict()).sort()).toEqual(keys);
      expect(average.use(() => model.mean.itemSync())).toBe(useBuffers ? 1 : 2);
      expect(model.mean.itemSync()).toBe(2);
    }
  });
  it('gives the weights back, also after an error, and after a promise', async () => {
    const p = leaf(1);
    const average = new ExponentialMovingAverage([p]);
    average.update();
    set(p, 3);
    const bad = () => {
      expect(p.itemSync()).toBe(1);
      throw new Error('no');
    };
    expect(() => average.use(bad)).toThrow('no');
    expect(p.itemSync()).toBe(3);
    const later = average.use(async () => {
      await Promise.resolve();
      return p.itemSync();
    });
    expect(p.itemSync()).toBe(1);
    expect(await later).toBe(1);
    expect(p.itemSync()).toBe(3);
    await expect(average.use(async () => bad())).rejects.toThrow('no');
    expect(p.itemSync()).toBe(3);
    average.apply();
    expect(p.itemSync()).toBe(1);
    average.restore();
    expect(p.itemSync()).toBe(3);
    expect(p.requiresGrad).toBe(true);
  });
  it('continues from its state', () => {
    const of = () => {
      const p = leaf(1, 2);
      return { p, average: new ExponentialMovingAverage([p], { decay: 0.75 }) };
    };
    const [one, two] = [of(), of()];
    for (const x of [3, 5]) {
      set(one.p, x, -x);
      one.average.update();
    }
    two.average.loadStateDict(one.average.stateDict());
    for (const { p, average } of [one, two]) {
      set(p, 7, 8);
      average.update();
    }
    const [a, b] = [one, two].map(({ average }) => average.stateDict());
    expect(b['average.0'].toArraySync()).toEqual(a['average.0'].toArraySync());
    expect(two.average.updates).toBe(3);
  });
  it('moves with its tensors, and reaches those that are views', () => {
    const p = ones([2, 3]).t();
    const average = new ExponentialMovingAverage([p], { decay: 0.5 });
    average.update();
    noGrad(() => void p.copyFrom(zeros([3, 2])));
    average.update();
    p.replaceStorage(p.to('reference').storage);
    average.update();
    expect(average.use(() => [...p.dataSync()])).toEqual(new Array(6).fill(0.25));
    expect(average.stateDict()['average.0'].device).toBe('reference');
  });
  it('has the same bits on every number of threads', async () => {
    const results: string[] = [];
    for (const threads of [1, 3]) {
      await withCpu(new CpuBackend('wasm-relaxed-simd', threads), async () => {
        const { pool } = backendOf('cpu') as CpuBackend;
        const numbers = Float32Array.from({ length: 70_001 }, (_, i) => Math.sin(i));
        const p = tensor(numbers);
        const average = new ExponentialMovingAverage([p], { decay: 0.7 });
        for (let i = 0; i < 4; i++) {
          p.backend.write(p.storage, numbers.map((x) => x * i)); // biome-ignore format: one line
          average.update();
          pool.start();
          while (pool.up < threads - 1) await new Promise((resolve) => setTimeout(resolve, 5));
        }
        results.push(Buffer.from(average.stateDict()['average.0'].dataSync().buffer).toString('base64'));
      });
    }
    expect(results[1]).toBe(results[0]);
  });
});

describe('refused is', () => {
  const make = () => new ExponentialMovingAverage([leaf(1, 2)]);
  it.each<[string, () => unknown, string]>([
    ['nothing', () => new ExponentialMovingAverage(undefined as never), 'the first argument is undefined'],
    ['a list of numbers', () => new ExponentialMovingAverage([1] as never), 'element 0 is 1'],
    ['an empty list', () => new ExponentialMovingAverage([]), 'there are no tensors'],
    ['a decay above 1', () => new ExponentialMovingAverage([leaf(1)], { decay: 1.5 }), 'decay is 1.5'],
    ['a decay of NaN', () => new ExponentialMovingAverage([leaf(1)], { decay: Number.NaN }), 'decay is NaN'],
    ['an unknown option', () => new ExponentialMovingAverage([leaf(1)], { beta: 1 } as never), "unknown option 'beta'"],
    ['restore() without apply()', () => make().restore(), 'the averages are not in use; call apply() first'],
    [
      'a use in a use',
      () => {
        const average = make();
        return average.use(() => average.use(() => 1));
      },
      'in use already',
    ],
    [
      'an update in a use',
      () => {
        const average = make();
        return average.use(() => average.update());
      },
      'update() while the averages are in use',
    ],
    ['no function', () => make().use(randn([1]) as never), 'use(a Tensor)'],
    ['a decay of 2 in an update', () => Object.assign(make(), { decay: 2 }).update(), 'decay is 2'],
    ['a state of null', () => make().loadStateDict(null as never), '.loadStateDict] the state is null'],
    ['a state without a tensor', () => make().loadStateDict({ updates: tensor(1) }), 'average.0 is undefined'],
    [
      'a state of another shape',
      () => make().loadStateDict({ 'average.0': zeros([3]), updates: zeros([]) }),
      '[3] for a',
    ],
    ['a state without its number', () => make().loadStateDict({ 'average.0': zeros([2]) }), 'updates is undefined'],
    ['a state with more', () => make().loadStateDict({ ...make().stateDict(), x: zeros([1]) }), 'the state has x'],
  ])('%s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});
