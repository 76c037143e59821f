import { afterEach, describe, expect, it } from 'vitest';
import { Batch } from '../../src/backends/gpu/batch.js';
import type { Device } from '../../src/backends/gpu/capture/interfaces.js';
import { Constants } from '../../src/backends/gpu/constants.js';
import type { GpuBuffer } from '../../src/backends/gpu/pool.js';
import { Turns } from '../../src/backends/gpu/tasks.js';
import { backendOf } from '../../src/backends/registry.js';
import { manualSeed, nn, optim, randn, type Tensor, tensor, useDevice } from '../../src/index.js';
import { onGpu } from './device.js';

// How work reaches the device: in batches, with buffers and bind groups that are used again.

afterEach(() => useDevice('cpu'));

/** A device that logs what it is asked for. */
function fake() {
  const log: string[] = [];
  const device = {
    queue: {
      submit: () => void log.push('submit'),
      writeBuffer: (_buffer: unknown, _offset: number, data: Uint8Array) => void log.push(`write ${data.join()}`),
    },
    createCommandEncoder: () => ({
      beginComputePass: () => ({
        setPipeline: (p: object) => void log.push(`pipeline ${(p as { name: string }).name}`),
        setBindGroup: (_: number, g: object) => void log.push(`group ${(g as { name: string }).name}`),
        dispatchWorkgroups: (...groups: number[]) => void log.push(`dispatch ${groups.join()}`),
        end: () => void log.push('end'),
      }),
      copyBufferToBuffer: () => void log.push('copy'),
      finish: () => ({}),
    }),
    createBuffer: ({ size, usage }: { size: number; usage: number }) => ({ size, usage, destroy() {} }),
    createBindGroup: () => ({}),
    pushErrorScope() {},
    popErrorScope: async () => null,
  };
  return { log, device: device as unknown as Device };
}
const constantsOf = (device: Device, failed: GpuBuffer[] = []) =>
  new Constants(device, (size, usage) => device.createBuffer({ size, usage }), { failed: (b) => failed.includes(b) });
const named = (name: string) => ({ name });
const buffer = (): GpuBuffer => ({ size: 4, usage: 0, destroy() {} });
const nextTask = () => new Promise((resolve) => setTimeout(resolve, 5));

describe('a batch', () => {
  it('submits what came in one turn together, in order', async () => {
    const { log, device } = fake();
    const batch = new Batch(device);
    const [a, b, c] = [buffer(), buffer(), buffer()];
    batch.dispatch(named('p'), named('1'), [a], [1, 2, 3]);
    batch.dispatch(named('q'), named('2'), [b], [4, 1, 1]);
    expect([batch.touches(a), batch.touches(b), batch.touches(c)]).toEqual([true, true, false]);
    batch.copy(a, 0, c, 0, 4);
    expect(batch.touches(c)).toBe(true);
    batch.dispatch(named('q'), named('3'), [b], [5, 1, 1]);
    await Promise.resolve();
    expect(log).not.toContain('submit');
    await nextTask();
    expect(log.join('; ')).toBe(
      'pipeline p; group 1; dispatch 1,2,3; pipeline q; group 2; dispatch 4,1,1; end; copy; pipeline q; group 3; dispatch 5,1,1; end; submit',
    );
    expect(batch.touches(a)).toBe(false);
    await nextTask();
    expect(log.filter((l) => l === 'submit')).toHaveLength(1);
  });
  it('sets a pipeline once for neighbours, and submits on demand', () => {
    const { log, device } = fake();
    const batch = new Batch(device);
    const p = named('p');
    for (const g of ['1', '2']) batch.dispatch(p, named(g), [], [1, 1, 1]);
    batch.flush();
    batch.flush();
    expect(log.join('; ')).toBe('pipeline p; group 1; dispatch 1,1,1; group 2; dispatch 1,1,1; end; submit');
  });
  it('does not wait for the end of a turn with 128 dispatches', () => {
    const { log, device } = fake();
    const batch = new Batch(device);
    for (let i = 0; i < 300; i++) batch.dispatch(named('p'), named('g'), [], [1, 1, 1]);
    expect(log.filter((l) => l === 'submit')).toHaveLength(2);
  });
});

describe('constants', () => {
  it('are found by their bytes and usage', () => {
    const { log, device } = fake();
    const constants = constantsOf(device);
    const a = constants.buffer(Uint8Array.of(1, 2, 3, 4), 0x40);
    expect(constants.buffer(Uint8Array.of(1, 2, 3, 4), 0x40)).toBe(a);
    expect(constants.buffer(Uint8Array.of(1, 2, 3, 5), 0x40)).not.toBe(a);
    expect(constants.buffer(Uint8Array.of(1, 2, 3, 4), 0x80)).not.toBe(a);
    expect(constants.buffer(Uint8Array.of(1, 2, 3, 4, 0, 0, 0, 0), 0x40)).not.toBe(a);
    expect(log).toEqual(['write 1,2,3,4', 'write 1,2,3,5', 'write 1,2,3,4', 'write 1,2,3,4,0,0,0,0']);
    expect(a.usage).toBe(0x48);
  });
  it('are found again for the buffers that the host wrote to', () => {
    const { device } = fake();
    const constants = constantsOf(device);
    const written = buffer();
    const of = (...bytes: number[]) => constants.of(written, Uint8Array.from(bytes), 0x40);
    const bytes = Uint8Array.of(1, 2, 3, 4);
    const a = constants.of(written, bytes, 0x40);
    // What is remembered is not what the host changes.
    bytes[3] = 5;
    const b = constants.of(written, bytes, 0x40);
    expect(b).not.toBe(a);
    expect([of(1, 2, 3, 4), of(1, 2, 3, 5), of(1, 2, 3, 4)]).toEqual([a, b, a]);
    expect(of(1, 2, 3, 4, 0, 0, 0, 0)).not.toBe(a);
    for (let i = 0; i < 9; i++) of(i, 0, 0, 0);
    expect(of(1, 2, 3, 4)).toBe(a);
  });
  it('and groups are limited in number', () => {
    const { device } = fake();
    const constants = constantsOf(device);
    const layout = {};
    const first = constants.buffer(Uint8Array.of(0, 0, 0, 0), 0x40);
    const bound = [buffer(), buffer()].map((b, binding) => ({ binding, resource: { buffer: b } }));
    const group = constants.group(layout, bound);
    expect(constants.group(layout, bound)).toBe(group);
    expect(constants.group({}, bound)).not.toBe(group);
    expect(constants.group(layout, bound.slice().reverse())).not.toBe(group);
    for (let i = 1; i < 1024; i++) constants.buffer(Uint8Array.of(i & 255, i >> 8, 0, 0), 0x40);
    expect(constants.buffer(Uint8Array.of(0, 0, 0, 0), 0x40)).toBe(first);
    constants.buffer(Uint8Array.of(9, 9, 9, 9), 0x40);
    expect(constants.buffer(Uint8Array.of(0, 0, 0, 0), 0x40)).not.toBe(first);
  });
});

it('turns are tasks of their own', async () => {
  const turns = new Turns();
  let tasks = 0;
  const count = () => {
    tasks++;
    running = setImmediate(count);
  };
  let running = setImmediate(count);
  const seen: number[] = [];
  await Promise.all([0, 1, 2].map(() => turns.next().then(() => seen.push(tasks))));
  clearImmediate(running);
  expect(new Set(seen).size).toBe(3);
});

interface Inner {
  queue: { submit(commands: object[]): void; writeBuffer(...args: unknown[]): void };
  createComputePipelineAsync(descriptor: object): Promise<object>;
}
const inner = (backend: unknown) => (backend as { runtime: { device: { inner: Inner } } }).runtime.device.inner;

describe('on a GPU', () => {
  onGpu('an eager training step takes at most 3 submissions, and sends nothing again', async () => {
    await useDevice('gpu');
    manualSeed(1);
    const model = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10));
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    const [x, y] = [randn([64, 784]), tensor(Array.from({ length: 64 }, (_, i) => i % 10))];
    const step = () => {
      const loss = nn.functional.crossEntropy(model.forward(x), y);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss.item();
    };
    for (let i = 0; i < 5; i++) await step();
    const { queue } = inner(backendOf('gpu'));
    const [submit, writeBuffer] = [queue.submit.bind(queue), queue.writeBuffer.bind(queue)];
    const submissions: number[] = [];
    let writes = 0;
    queue.submit = (commands) => {
      submissions[submissions.length - 1]++;
      submit(commands);
    };
    queue.writeBuffer = (...args) => {
      writes++;
      writeBuffer(...args);
    };
    for (let i = 0; i < 21; i++) {
      submissions.push(0);
      await step();
    }
    Object.assign(queue, { submit, writeBuffer });
    // Steps that need new buffers, because garbage waits for its collection, take more.
    expect(submissions.sort((a, b) => a - b)[10]).toBeLessThanOrEqual(3);
    expect(writes).toBe(0);
  });
  onGpu('arrays of the host that follow each other in one turn do not overwrite each other', async () => {
    await useDevice('gpu');
    for (const size of [3, 128, 129, 5000, 40]) {
      const inputs = Array.from({ length: 6 }, (_, i) => tensor(new Float32Array(size).fill(i)));
      const results = inputs.map((x, i) => x.add(i));
      expect(await Promise.all(results.map(async (r) => [...new Set(await r.data())]))).toEqual(
        inputs.map((_, i) => [2 * i]),
      );
    }
  });
  onGpu('batched products find their operands', async () => {
    await useDevice('gpu');
    const a = tensor(
      Array.from({ length: 400 }, (_, i) => i % 7),
      { shape: [100, 2, 2] },
    );
    const b = tensor(
      Array.from({ length: 400 }, (_, i) => i % 5),
      { shape: [100, 2, 2] },
    );
    const product = async (x: Tensor, y: Tensor) => [...(await x.matmul(y).data())];
    const [whole, part] = [await product(a, b), await product(a.narrow(0, 1, 3), b.narrow(0, 1, 3))];
    expect(part).toEqual(whole.slice(4, 16));
    await useDevice('cpu');
    expect(whole).toEqual(await product(a.to('cpu'), b.to('cpu')));
  });
  onGpu('kernels of a first step are compiled at a time', async () => {
    await useDevice('gpu');
    const device = inner(backendOf('gpu'));
    const compile = device.createComputePipelineAsync.bind(device);
    let [running, most] = [0, 0];
    device.createComputePipelineAsync = async (descriptor) => {
      most = Math.max(most, ++running);
      // So slow that the others have come when it is done.
      await new Promise((resolve) => setTimeout(resolve, 300));
      running--;
      return compile(descriptor);
    };
    // Operations that nothing before has used here.
    const result = tensor([[1, 2]])
      .tanh()
      .exp()
      .mul(3)
      .mean(1)
      .sqrt()
      .sigmoid()
      .log();
    expect((await result.data())[0]).toBeCloseTo(-0.0668, 3);
    device.createComputePipelineAsync = compile;
    expect(most).toBeGreaterThan(4);
  });
});
