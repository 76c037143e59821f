import { afterEach, describe, expect, vi } from 'vitest';
import {
  compile,
  manualSeed,
  nn,
  noGrad,
  ones,
  optim,
  randn,
  type Tensor,
  tensor,
  useDevice,
  zerosLike,
} from '../../src/index.js';
import { errorOf, expectClose } from '../helpers.js';
import { onGpu } from './device.js';
import { device, isResult, withoutMemory } from './faults.js';

// What goes wrong on a device: lost devices, failed allocations, bad indices.

afterEach(async () => {
  vi.restoreAllMocks();
  await useDevice('cpu');
});

const large = (d: { size: number; usage: number }) => isResult(d) && d.size >= 300_000;
const muted = () => vi.spyOn(console, 'warn').mockImplementation(() => {});

describe('a failed allocation', () => {
  // Sizes that no other test has, so that no buffer waits for use.
  onGpu('reaches the readers of what was computed from it, and nobody else', async () => {
    await useDevice('gpu');
    const good = ones([77_001]).mul(2);
    const other = good.add(1);
    await other.data();
    let bad!: Tensor;
    await withoutMemory(large, () => {
      bad = good.mul(3);
    });
    const child = bad.sum();
    const reads = await Promise.allSettled([good.data(), bad.data(), other.data(), child.item(), bad.data()]);
    expect(reads.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected', 'rejected']);
    for (const at of [1, 3, 4])
      expect((reads[at] as PromiseRejectedResult).reason.message).toMatch(
        /\[mul\] the GPU failed: no memory for 308\d+ bytes/,
      );
    // Also later, and with memory again.
    expect((await errorOf(() => child.add(1).item())).message).toContain('no memory');
    expect(await good.mul(3).max().item()).toBe(6);
    expect((await errorOf(() => bad.data())).message).toContain('no memory');
  });
  onGpu('inside an update leaves the parameter as it was, usable, and is told once', async () => {
    await useDevice('gpu');
    const warn = muted();
    const start = (n: number) => {
      const p = ones([n], { requiresGrad: true });
      p.sum().backward();
      return { p, optimizer: new optim.SGD([p], { lr: 1 }) };
    };
    // A kernel is compiled before it makes its first result.
    const first = start(1);
    first.optimizer.step();
    await first.p.data();
    const { p, optimizer } = start(78_003);
    await p.grad!.data();
    await withoutMemory(large, () => optimizer.step());
    expect((await errorOf(() => p.data())).message).toMatch(/^\[sgd\] the GPU failed: no memory/);
    expect(warn.mock.calls.map(([m]) => m)).toEqual([expect.stringContaining('kept its numbers')]);
    expect((await p.data())[0]).toBe(1);
    optimizer.step();
    expect((await p.data())[0]).toBe(0);
  });
});

describe('labels that the device computed', () => {
  const logits = () =>
    tensor([
      [1, 2, 3],
      [3, 2, 1],
    ]);
  onGpu.each<[string, () => Tensor]>([
    ['out of range', () => tensor([0, 1]).add(5)],
    ['negative', () => tensor([0, 1]).sub(1)],
    ['NaN', () => tensor([0, 1]).mul(NaN)],
    ['fractions', () => tensor([0, 1]).add(0.5)],
    [
      'a view',
      () =>
        tensor([
          [0, 7],
          [1, 8],
        ])
          .mul(1)
          .t()
          .select(0, 1),
    ],
  ])('are an error at the next read if they are bad: %s', async (_, make) => {
    await useDevice('gpu');
    const loss = nn.functional.crossEntropy(logits(), make());
    const error = await errorOf(() => loss.item());
    expect(error.message).toContain(
      '[crossEntropy] a label or index that was computed on the GPU is no integer from 0 to 2',
    );
    // It is told once.
    expect(await tensor([1]).add(1).item()).toBe(2);
  });
  onGpu('are looked at however many they are', async () => {
    await useDevice('gpu');
    for (const [n, at] of [
      [128, 127],
      [129, 128],
      [40_000, 39_999],
    ]) {
      const values = new Float32Array(n);
      const loss = () => nn.functional.crossEntropy(ones([n, 2]), tensor(values).mul(1));
      expect(await loss().item()).toBeCloseTo(Math.log(2), 5);
      values[at] = 2;
      expect((await errorOf(() => loss().item())).message).toContain('from 0 to 1');
    }
  });
  onGpu('are checked in replays, too', async () => {
    await useDevice('gpu');
    const step = compile((x, y) => nn.functional.crossEntropy(x, y));
    for (let i = 0; i < 4; i++) expect(await step(logits(), tensor([0, 1])).item()).toBeGreaterThan(0);
    expect(step.replays).toBe(2);
    expect((await errorOf(() => step(logits(), tensor([0, 3])).item())).message).toContain('from 0 to 2');
    expect(await step(logits(), tensor([0, 1])).item()).toBeGreaterThan(0);
  });
});

/** AdamW without bias corrections: two states for each parameter. */
class AdamLike extends optim.Optimizer<{ lr: number }> {
  constructor(parameters: Iterable<Tensor>) {
    super('AdamLike', (_op, { lr }) => ({ lr }), { m: 'like parameter', v: 'like parameter' }, parameters, {
      lr: 0.05,
    });
  }
  protected override update(p: Tensor, g: Tensor, state: optim.ParameterState, { lr }: { lr: number }): void {
    const m = this.initState(p, state, 'm', () => zerosLike(p));
    const v = this.initState(p, state, 'v', () => zerosLike(p));
    noGrad(() => {
      m.copyFrom(m.mul(0.9).add(g.mul(0.1)));
      v.copyFrom(v.mul(0.99).add(g.mul(g).mul(0.01)));
      p.copyFrom(p.mul(0.999).sub(m.div(v.sqrt().add(1e-3)).mul(lr)));
    });
  }
}

describe('a lost device', () => {
  const optimizers = {
    momentum: (p: Tensor[]) => new optim.SGD(p, { lr: 0.1, momentum: 0.9 }),
    'two states': (p: Tensor[]) => new AdamLike(p),
  };
  function training(make: (p: Tensor[]) => optim.AnyOptimizer) {
    manualSeed(5);
    const model = new nn.Sequential(new nn.Linear(4, 6), new nn.Tanh(), new nn.Linear(6, 1));
    const optimizer = make(model.parameters());
    const step = (i: number) => {
      const [{ device }] = model.parameters();
      const x = tensor([[Math.sin(i), Math.cos(i), i % 3, 1]], { device });
      const loss = model.forward(x).sub(1).pow(2).sum();
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss;
    };
    return { model, step };
  }
  onGpu.each(Object.entries(optimizers))('goes on from one moment, optimizer state included: %s', async (_, make) => {
    await useDevice('cpu');
    const expected = training(make);
    for (let i = 0; i < 3; i++) expected.step(i);
    await useDevice('gpu');
    const { model, step } = training(make);
    for (let i = 0; i < 3; i++) step(i);
    await model.parameters()[1].data(); // takes the snapshot
    const then = performance.now();
    const [last] = [await step(3).data(), await step(4).item()];
    expect(last).toHaveLength(1);
    // Another snapshot would be due later only.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(then);
    const later = await model.parameters()[0].data();
    clock.mockRestore();
    device().destroy();
    const warn = muted();
    expect((await errorOf(() => model.parameters()[0].data())).message).toContain('lost');
    await useDevice('cpu');
    model.to('cpu');
    expect(warn.mock.calls.map(([m]) => m)).toEqual([
      expect.stringMatching(/as of the last snapshot, which is \d+\.\d s old: \d+ updates/),
    ]);
    // Not the numbers that the host saw later of one parameter.
    expect(String(model.parameters()[0].dataSync())).not.toBe(String(later));
    for (let i = 3; i < 6; i++) {
      expected.step(i);
      step(i);
    }
    for (const [i, p] of model.parameters().entries())
      expectClose(p.dataSync(), expected.model.parameters()[i].dataSync(), 1e-4, 1e-6);
    await useDevice('gpu');
    model.to('gpu');
    expected.step(6);
    step(6);
    expectClose(await model.parameters()[0].data(), expected.model.parameters()[0].dataSync(), 1e-4, 1e-6);
  });
  onGpu('fails reads that are under way, and of what the host saw before', async () => {
    await useDevice('gpu');
    const x = randn([1000]).mul(2);
    await x.data();
    const reads = [x.add(1).data(), x.data()];
    device().destroy();
    const results = await Promise.allSettled([...reads, x.data(), x.mul(2).data()]);
    for (const r of results) if (r.status === 'fulfilled') expect(r.value.some((v) => v !== 0)).toBe(true);
    expect(results.slice(2).map((r) => r.status)).toEqual(['rejected', 'rejected']);
    expect((await errorOf(() => x.data())).message).toContain('lost');
  });
  onGpu('without a snapshot gives nothing', async () => {
    await useDevice('gpu');
    const { model, step } = training(optimizers.momentum);
    await step(0).item();
    device().destroy();
    await new Promise((resolve) => setTimeout(resolve));
    await useDevice('cpu');
    const error = await errorOf(() => model.to('cpu'));
    expect(error.message).toContain('which was lost; load a checkpoint');
    expect(model.parameters().every((p) => p.device === 'gpu')).toBe(true);
  });
});

describe('moves', () => {
  onGpu('work once a tensor has been read, and change with the tensor', async () => {
    await useDevice('gpu');
    const x = tensor([1, 2]).mul(3);
    const values = await x.data();
    values[0] = 99;
    expect(x.to('cpu').toArraySync()).toEqual([3, 6]);
    noGrad(() => x.copyFrom(tensor([7, 8])));
    expect((await errorOf(() => x.to('cpu'))).message).toContain('await x.data() first');
  });
  onGpu('take gradients along where the host has them, and say where not', async () => {
    await useDevice('cpu');
    const model = new nn.Linear(2, 1);
    const warn = muted();
    model
      .forward(tensor([[1, 2]]))
      .sum()
      .backward();
    await useDevice('gpu');
    model.to('gpu');
    expect(await model.weight.grad!.data()).toEqual(Float32Array.of(1, 2));
    expect(warn).not.toHaveBeenCalled();
    await useDevice('cpu');
    model.to('cpu');
    expect(model.weight.grad!.toArraySync()).toEqual([[1, 2]]);
    await useDevice('gpu');
    model.to('gpu');
    model.zeroGrad();
    model
      .forward(tensor([[1, 2]]))
      .sum()
      .backward();
    await useDevice('cpu');
    model.to('cpu');
    expect(model.weight.grad).toBe(null);
    expect(warn.mock.calls.map(([m]) => m)).toEqual(['tapegrad: [to] dropped gradients that only the device has']);
  });
});
