import { afterEach, describe, expect, vi } from 'vitest';
import { compile, nn, noGrad, ones, optim, type Tensor, tensor, useDevice } from '../../src/index.js';
import { errorOf } from '../helpers.js';
import { onGpu } from './device.js';
import { device, isResult, MAP_READ, UNIFORM, withoutMemory } from './faults.js';

// A device that refuses memory for a moment: what it was for fails, and nothing else, then or later.

afterEach(async () => {
  vi.restoreAllMocks();
  await useDevice('cpu');
});

const muted = () => vi.spyOn(console, 'warn').mockImplementation(() => {});
const all = async (x: Tensor) => [...new Set(await x.data())];

describe('without memory', () => {
  onGpu('for constants, the same numbers are right the next time', async () => {
    await useDevice('gpu');
    const w = ones([9001]).mul(3);
    await w.mul(2).data();
    let bad!: Tensor;
    let healthy!: Tensor;
    // A number that no kernel was called with yet.
    const refused = await withoutMemory(
      ({ usage }) => (usage & UNIFORM) !== 0,
      () => {
        bad = w.mul(7.25);
        healthy = w.add(w);
      },
    );
    expect(refused).toBeGreaterThan(0);
    const reads = await Promise.allSettled([bad.data(), healthy.data()]);
    expect(reads[0].status).toBe('rejected');
    if (reads[1].status === 'fulfilled') expect(new Set(reads[1].value)).toEqual(new Set([6]));
    expect(await all(w.mul(7.25))).toEqual([21.75]);
    expect(await all(w.add(w))).toEqual([6]);
  });
  onGpu('for what numbers are read by, they are there the next time', async () => {
    await useDevice('gpu');
    // A kernel is compiled before its first result.
    await ones([3]).exp().data();
    const big = ones([50_021]).exp();
    const other = big.add(1);
    let reading!: Promise<PromiseSettledResult<Float32Array>[]>;
    expect(
      await withoutMemory(
        ({ usage }) => (usage & MAP_READ) !== 0,
        () => {
          reading = Promise.allSettled([big.data()]);
        },
      ),
    ).toBeGreaterThan(0);
    expect((await reading)[0].status).toBe('rejected');
    expect((await big.data())[0]).toBeCloseTo(Math.E, 5);
    expect((await other.data())[7]).toBeCloseTo(Math.E + 1, 5);
  });
  onGpu('for spare buffers, the one that was needed is good', async () => {
    await useDevice('gpu');
    // So many of a size that several are made at once.
    const kept = Array.from({ length: 12 }, (_, i) => ones([20_480]).mul(i));
    await Promise.all(kept.map((t) => t.data()));
    let result!: Tensor;
    let made = 0;
    const refused = await withoutMemory(
      (d) => isResult(d) && d.size === 81_920 && made++ > 0,
      () => {
        result = kept[3].add(1);
      },
    );
    // Without spare buffers, one of before was free.
    expect(refused).toBeGreaterThanOrEqual(0);
    expect(await all(result)).toEqual([4]);
    expect(await all(kept[5].add(kept[6]))).toEqual([11]);
  });
  onGpu('for the operand of copyFrom, the target keeps its numbers and is told once', async () => {
    await useDevice('gpu');
    muted();
    const p = ones([90_011]).mul(5);
    await p.add(1).data();
    let bad!: Tensor;
    await withoutMemory(
      (d) => isResult(d) && d.size > 360_000,
      () => {
        bad = p.mul(3);
        noGrad(() => p.copyFrom(bad));
      },
    );
    expect((await errorOf(() => p.data())).message).toContain('no memory');
    expect(await all(p)).toEqual([5]);
    noGrad(() => p.copyFrom(p.mul(3)));
    expect(await all(p)).toEqual([15]);
  });
  onGpu('for the input of a compiled step, parameters keep their numbers', async () => {
    await useDevice('gpu');
    muted();
    const p = tensor([1, 1], { requiresGrad: true });
    const optimizer = new optim.SGD([p], { lr: 0.25 });
    const step = compile((x: Tensor) => {
      const loss = p.mul(x.mean()).sum();
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss;
    });
    const input = () => ones([91_013]).mul(1);
    for (let i = 0; i < 2; i++) await step(input()).item();
    expect(await all(p)).toEqual([0.5]);
    const base = ones([91_013]);
    let loss!: Tensor;
    const held = [input(), input()];
    await Promise.all(held.map((t) => t.data()));
    const refused = await withoutMemory(
      (d) => isResult(d) && d.size > 360_000,
      () => {
        loss = step(base.mul(1));
      },
    );
    if (refused === 0) return; // a buffer of before was free
    expect((await errorOf(() => loss.item())).message).toContain('no memory');
    await errorOf(() => p.data()).catch(() => {});
    expect(await all(p)).toEqual([0.5]);
    expect(await step(input()).item()).toBe(1);
    expect(await all(p)).toEqual([0.25]);
  });
});

describe('a fault of a moment', () => {
  onGpu('in a compilation is told, and the next call compiles', async () => {
    await useDevice('gpu');
    const { inner } = device();
    const compilePipeline = inner.createComputePipelineAsync.bind(inner);
    inner.createComputePipelineAsync = () => Promise.reject(new Error('not now'));
    expect((await errorOf(() => ones([3]).tanh().data())).message).toContain('not now');
    inner.createComputePipelineAsync = compilePipeline;
    expect((await ones([3]).tanh().data())[0]).toBeCloseTo(Math.tanh(1), 6);
  });
  onGpu('in the life of a device lets the next one start, whatever was to be compiled', async () => {
    await useDevice('gpu');
    const x = ones([3]);
    await x.add(1).data();
    device().destroy();
    // Kernels that nobody has compiled: some before the device says that it is lost, some after.
    const outcome = (reading: Promise<unknown>) =>
      reading.then(
        () => 'read',
        () => 'refused',
      );
    const reads = [outcome(x.sqrt().log().neg().relu().maximum(2).minimum(3).eq(1).gt(0).lt(1).sub(x).div(2).data())];
    await new Promise((resolve) => setTimeout(resolve));
    reads.push(outcome(x.sigmoid().abs().data()));
    expect(await Promise.all(reads)).toEqual(['refused', 'refused']);
    await useDevice('gpu');
    expect(await all(ones([3]).abs())).toEqual([1]);
  });
  onGpu('does not hide that labels were bad', async () => {
    await useDevice('gpu');
    const bad = { name: 'broken', f: Math.sin, gpu: 'nonsense(x)' };
    muted();
    const loss = nn.functional.crossEntropy(ones([2, 3]), tensor([5, 6]).mul(1));
    const x = tensor([1]);
    await errorOf(() => x.backend.read(x.backend.unary(bad, x.storage)));
    expect((await errorOf(() => loss.item())).message).toContain('no integer from 0 to 2');
    expect(await tensor([2]).mul(2).item()).toBe(4);
  });
});

describe('a device that is alive', () => {
  onGpu('gives no numbers of a snapshot', async () => {
    await useDevice('gpu');
    const p = tensor([1, 2], { requiresGrad: true });
    const optimizer = new optim.SGD([p], { lr: 1 });
    const step = () => {
      p.sum().backward();
      optimizer.step();
      optimizer.zeroGrad();
    };
    step();
    expect([...(await p.data())]).toEqual([0, 1]);
    expect(p.detach().to('cpu').toArraySync()).toEqual([0, 1]);
    step();
    expect((await errorOf(() => p.detach().to('cpu'))).message).toContain('await x.data() first');
    await useDevice('cpu');
    expect(p.detach().to('cpu').toArraySync()).toEqual([-1, 0]);
  });
  onGpu('has its snapshot still after reads of a lost one', async () => {
    await useDevice('gpu');
    const p = tensor([1, 2], { requiresGrad: true });
    const other = tensor([5]);
    const optimizer = new optim.SGD([p], { lr: 1 });
    p.sum().backward();
    optimizer.step();
    // So late that a snapshot is due.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 1e5);
    await p.data();
    await new Promise((resolve) => setTimeout(resolve, 20));
    p.grad = null;
    p.sum().backward();
    optimizer.step();
    device().destroy();
    const warn = muted();
    await errorOf(() => p.data());
    await new Promise((resolve) => setTimeout(resolve, 20));
    clock.mockReturnValue(performance.now() + 1e6);
    await errorOf(() => p.data());
    await errorOf(() => other.mul(2).data());
    clock.mockRestore();
    await useDevice('cpu');
    expect(p.detach().to('cpu').toArraySync()).toEqual([0, 1]);
    expect(warn).toHaveBeenCalled();
  });
});
