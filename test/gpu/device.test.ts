import { afterEach, describe, expect, vi } from 'vitest';
import type { GpuBackend } from '../../src/backends/gpu/index.js';
import { backendOf } from '../../src/backends/registry.js';
import {
  data,
  manualSeed,
  memory,
  metrics,
  nn,
  noGrad,
  optim,
  randn,
  type Tensor,
  tensor,
  useDevice,
  zeros,
} from '../../src/index.js';
import { errorOf, expectClose, runSgd, sampleTensor } from '../helpers.js';
import { onGpu } from './device.js';

afterEach(() => useDevice('cpu'));

const gpu = () => backendOf('gpu') as GpuBackend;

class Net extends nn.Module {
  fc1 = new nn.Linear(6, 16);
  fc2 = new nn.Linear(16, 3);
  forward(x: Tensor) {
    return this.fc2.forward(this.fc1.forward(x).tanh().relu());
  }
}

/** The losses of 50 steps of one program on the current device, and the parameters after them. */
async function train(options: optim.SGDOptions, kind: 'regression' | 'classes') {
  manualSeed(7);
  const model = new Net();
  const x = randn([64, 6]);
  const labels = tensor(Array.from({ length: 64 }, (_, i) => i % 3));
  const y = kind === 'classes' ? labels : data.oneHot(labels, 3);
  const loader = new data.DataLoader(new data.TensorDataset(x, y), { batchSize: 16, shuffle: true, seed: 3 });
  const optimizer = new optim.SGD(model.parameters(), options);
  const criterion = kind === 'classes' ? new nn.CrossEntropyLoss() : new nn.MSELoss();
  const losses: Tensor[] = [];
  while (losses.length < 50) {
    for (const [input, target] of loader) {
      const loss = criterion.forward(model.forward(input), target);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      losses.push(loss.detach());
    }
  }
  return {
    losses: await Promise.all(losses.map((loss) => loss.item())),
    parameters: await Promise.all(model.parameters().map((p) => p.data())),
    accuracy: await metrics.accuracy(
      noGrad(() => model.forward(x)),
      labels,
    ),
  };
}

describe('the same program', () => {
  onGpu.each([
    [{ lr: 0.1 }, 'regression'],
    [{ lr: 0.05, momentum: 0.9 }, 'classes'],
    [{ lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 0.01 }, 'classes'],
    [{ lr: 0.1, momentum: 0.5, dampening: 0.3 }, 'regression'],
  ] as const)('has the trajectory of the cpu over 50 steps: %j, %s', async (options, kind) => {
    await useDevice('cpu');
    const expected = await train(options, kind);
    expect((await useDevice('gpu')).type).toBe('gpu');
    const got = await train(options, kind);
    expectClose(got.losses, expected.losses, 1e-4, 0);
    for (const [i, p] of got.parameters.entries()) expectClose(p, expected.parameters[i], 1e-4, 1e-6);
    expect(got.accuracy).toBe(expected.accuracy);
  });
  onGpu('may have computed its data on the device', async () => {
    const run = async () => {
      manualSeed(2);
      const x = randn([20, 3]).mul(2);
      const [train, test, yTrain] = data.trainTestSplit(x, x.sum(1, true), { seed: 1 });
      const loader = new data.DataLoader(new data.TensorDataset(train, yTrain), {
        batchSize: 4,
        shuffle: true,
        seed: 5,
      });
      const seen = [test];
      for (const batch of loader) seen.push(...batch);
      for await (const batch of loader) seen.push(...batch);
      return Promise.all(seen.map(async (t) => [t.shape, [...(await t.data())].map(Math.fround)]));
    };
    await useDevice('cpu');
    const expected = await run();
    await useDevice('gpu');
    const got = await run();
    expect(got.map(([shape]) => shape)).toEqual(expected.map(([shape]) => shape));
    for (const [i, [, values]] of got.entries()) expectClose(values as number[], expected[i][1] as number[]);
  });
  onGpu('compiles a kernel once for all shapes', async () => {
    await useDevice('gpu');
    const step = async (n: number) => {
      const a = sampleTensor([n, n + 1], [-1, 1], 1, 'gpu', true);
      a.matmul(a.t()).tanh().add(a.sum(1)).softmax(1).mean().backward();
      return a.grad!.data();
    };
    // Some kernels take four numbers at a time, where they are divisible by four, and larger products go by tiles.
    for (const n of [3, 4, 33, 128]) await step(n);
    const before = memory('gpu').compilations!;
    expect(before).toBeGreaterThan(5);
    for (const n of [7, 37, 132]) await step(n);
    expect(memory('gpu').compilations!).toBe(before);
  });
});

describe('the device', () => {
  onGpu('says what it is', async () => {
    const info = await useDevice('gpu');
    expect(info).toMatchObject({ type: 'gpu', backend: 'webgpu' });
    expect(info.name).not.toBe('');
    expect(await useDevice('auto')).toEqual(info);
  });
  onGpu('of several calls of useDevice at once the last one decides', async () => {
    const infos = await Promise.all([useDevice('gpu'), useDevice('cpu'), useDevice('gpu'), useDevice('cpu')]);
    expect(infos.map((i) => i.type)).toEqual(['gpu', 'cpu', 'gpu', 'cpu']);
    expect(zeros([1]).device).toBe('cpu');
    await Promise.all([useDevice('cpu'), useDevice('gpu')]);
    expect(zeros([1]).device).toBe('gpu');
  });
  onGpu('is not read without waiting', async () => {
    await useDevice('gpu');
    const x = tensor([1, 2]);
    expect((await errorOf(() => x.dataSync())).message).toContain('use await data()');
    expect((await errorOf(() => x.sum().itemSync())).message).toContain('use await item()');
    expect(String(x)).toBe("tensor(…, shape=[2], device='gpu')");
    expect((await errorOf(() => x.mul(2).to('cpu'))).message).toContain('await x.data() first');
  });
  onGpu('is not mixed with another', async () => {
    await useDevice('gpu');
    const error = await errorOf(() => tensor([1, 2]).add(tensor([1, 2], { device: 'cpu' })));
    expect(error.message).toContain("the operands are on 'gpu' and 'cpu'; move one of them, with .to('gpu')");
  });
  onGpu('keeps the order of changes and reads', async () => {
    await useDevice('gpu');
    const p = tensor([1, 1], { requiresGrad: true });
    const optimizer = new optim.SGD([p], { lr: 1 });
    const seen: Promise<Float32Array>[] = [];
    for (let i = 0; i < 5; i++) {
      seen.push(p.data());
      p.sum().backward();
      optimizer.step();
      optimizer.zeroGrad();
    }
    expect((await Promise.all(seen)).map(([v]) => v)).toEqual([1, 0, -1, -2, -3]);
  });
  onGpu('lets states be copied between modules on it, and into it', async () => {
    const onCpu = new Net();
    await useDevice('gpu');
    const [a, b] = [new Net(), new Net()];
    a.loadStateDict(onCpu.stateDict());
    new optim.SGD(a.parameters(), { lr: 0.1 }).step();
    a.fc1.weight.sum().backward();
    new optim.SGD(a.parameters(), { lr: 0.1 }).step();
    b.loadStateDict(a.stateDict());
    const expected = onCpu.fc1.weight.dataSync().map((v) => v - 0.1);
    expectClose(await b.fc1.weight.data(), expected);
  });
});

describe('back to the cpu', () => {
  onGpu('goes a model with its optimizer', async () => {
    await useDevice('gpu');
    const model = new nn.Linear(2, 1);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
    const step = () => {
      const x = tensor([[1, 2]]);
      model.forward(x).sum().backward();
      optimizer.step();
      optimizer.zeroGrad();
    };
    const [before] = await model.weight.data();
    step();
    expect((await errorOf(() => model.to('cpu'))).message).toContain("await useDevice('cpu')");
    await useDevice('cpu');
    model.to('cpu');
    step();
    // The velocities are 1 and 0.9 + 1.
    expect(model.weight.dataSync()[0]).toBeCloseTo(before - 0.1 - 0.19, 5);
  });
});

describe('what goes wrong on the device', () => {
  const broken = { name: 'broken', f: Math.sin, gpu: 'nonsense(x)' };
  onGpu('reaches who awaits it, with the name of the operation', async () => {
    await useDevice('gpu');
    const x = tensor([1, 2]);
    const y = backendOf('gpu').unary(broken, x.storage);
    const z = backendOf('gpu').unary({ name: 'neg', f: (v) => -v, gpu: '-x' }, y);
    const error = await errorOf(() => backendOf('gpu').read(z));
    expect(error.op).toBe('broken');
    expect(error.message).toContain("useDevice('cpu')");
    expect(await x.toArray()).toEqual([1, 2]);
  });
  onGpu('leaves parameters as they were', async () => {
    await useDevice('gpu');
    const p = tensor([1, 2], { requiresGrad: true });
    const gradient = backendOf('gpu').unary(broken, p.storage);
    runSgd(backendOf('gpu'), [p.storage, gradient, null], { lr: 1 });
    expect((await errorOf(() => p.data())).op).toBe('broken');
    expect(await p.toArray()).toEqual([1, 2]);
  });
  onGpu('is said of a tensor that is too large, before anything is computed', async () => {
    await useDevice('gpu');
    const error = await errorOf(() => zeros([2 ** 15, 2 ** 15]).data());
    expect(error.op).toBe('fill');
    expect(error.message).toContain(`${2 ** 32} bytes`);
    expect(await tensor([1]).add(1).item()).toBe(2);
  });
  onGpu('is said of a device without memory, by the name of what wanted it', async () => {
    await useDevice('gpu');
    const { runtime } = gpu() as unknown as { runtime: { device: { inner: { popErrorScope(): Promise<unknown> } } } };
    const pop = vi
      .spyOn(runtime.device.inner, 'popErrorScope')
      .mockResolvedValueOnce({ message: 'the device said no' });
    const x = tensor(new Float32Array(123_457));
    const error = await errorOf(() => x.neg().data());
    pop.mockRestore();
    expect(error.message).toMatch(/^\[(upload|neg)\] the GPU failed: no memory for \d+ bytes: the device said no/);
    expect(await tensor([1]).add(1).item()).toBe(2);
  });
  onGpu('may be the loss of the device: errors, then the cpu, or a new start', async () => {
    await useDevice('gpu');
    const model = new nn.Linear(2, 1);
    const [weight] = await model.weight.data();
    const loss = model.forward(tensor([[1, 2]])).sum();
    const lost = gpu();
    (lost as unknown as { runtime: { device: { destroy(): void } } }).runtime.device.destroy();
    const error = await errorOf(() => loss.item());
    expect(error.message).toMatch(/lost|destroyed/);
    expect((await errorOf(() => model.forward(tensor([[1, 2]])).item())).message).toContain('device was lost');
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    await useDevice('cpu');
    model.to('cpu');
    warn.mockRestore();
    expect(model.weight.dataSync()[0]).toBe(weight);
    await useDevice('gpu');
    expect(gpu()).not.toBe(lost);
    model.to('gpu');
    expect((await model.weight.data())[0]).toBe(weight);
  });
});
