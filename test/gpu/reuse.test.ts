import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { CapturableDevice } from '../../src/backends/gpu/capture/device.js';
import type { Device } from '../../src/backends/gpu/capture/interfaces.js';
import type { Launcher } from '../../src/backends/gpu/fused.js';
import { IndexChecks } from '../../src/backends/gpu/indices.js';
import { BufferPool, type GpuBuffer, RESULT } from '../../src/backends/gpu/pool.js';
import { Cell, type GpuStorage } from '../../src/backends/gpu/storage.js';
import { Verdicts } from '../../src/backends/gpu/verdicts.js';
import { backendOf } from '../../src/backends/registry.js';
import { compile, memory, nn, noGrad, optim, randn, tensor, useDevice } from '../../src/index.js';
import { errorOf } from '../helpers.js';
import { onGpu } from './device.js';

// What is used again: buffers, bind groups and dispatches; and what is forgotten in the end.

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

afterEach(() => useDevice('cpu'));

const failure = (op: string, message: string) => new Error(`${op}: ${message}`);

/** A device that says `complaint` about everything. */
function fake(complaint: string | null = null) {
  const made: GpuBuffer[] = [];
  const device = {
    pushErrorScope() {},
    popErrorScope: async () => (complaint === null ? null : { message: complaint }),
    createBuffer({ size, usage }: { size: number; usage: number }): GpuBuffer {
      const buffer = { size, usage, destroy() {} };
      made.push(buffer);
      return buffer;
    },
  };
  return { made, device };
}

describe('buffers', () => {
  const setUp = () => {
    const { made, device } = fake();
    const pool = new BufferPool(new Verdicts(), failure);
    return { made, pool, buffers: pool.over(device) };
  };
  it('come back to what they were made for, and can be claimed while they wait', () => {
    const { buffers, pool } = setUp();
    const [home, other] = [{}, {}];
    const [a, b] = [buffers.result(256, home), buffers.result(256, other)];
    for (const buffer of [a, b]) buffer.destroy();
    expect(buffers.createBuffer({ size: 256, usage: RESULT })).not.toBe(b);
    expect(buffers.result(256, home)).toBe(a);
    expect(buffers.claim(b)).toBe(true);
    expect(buffers.claim(b)).toBe(false);
    expect(pool.live).toEqual({ blocks: 3, bytes: 768 });
    b.destroy();
    b.destroy = () => expect.unreachable();
    expect(buffers.result(256, other)).toBe(b);
    expect(buffers.result(256, other)).not.toBe(b);
  });
  it('go anywhere when many of them wait, or when they are large', () => {
    const { buffers, made } = setUp();
    const large = buffers.result(2 ** 17, {});
    large.destroy();
    expect(buffers.result(2 ** 17, {})).toBe(large);
    const count = 2 ** 8 + 2;
    const small = Array.from({ length: count }, () => buffers.result(2 ** 16, {}));
    for (const buffer of small) buffer.destroy();
    const before = made.length;
    const again = Array.from({ length: count - 8 }, () => buffers.result(2 ** 16, {}));
    expect(made.length).toBe(before);
    expect(new Set(again).size).toBe(again.length);
  });
  it('are not made in advance beyond what may wait', () => {
    const { buffers, made } = setUp();
    for (let i = 0; i < 40; i++) buffers.createBuffer({ size: 4096, usage: RESULT });
    const spared = made.length - 40;
    expect(spared).toBeGreaterThan(0);
    // 256 MiB wait, as nearly as they can.
    const large = Array.from({ length: 256 }, () => buffers.createBuffer({ size: 2 ** 20 + 256, usage: RESULT }));
    for (const buffer of large) buffer.destroy();
    const before = made.length;
    for (let i = 0; i < 40; i++) buffers.createBuffer({ size: 2 ** 20, usage: RESULT });
    expect(made.length - before).toBe(40);
  });
});

describe('reports of the device', () => {
  it('name the operation at the time of the call', async () => {
    const { device } = fake('none left');
    const verdicts = new Verdicts();
    const pool = new BufferPool(verdicts, failure);
    pool.op = 'softmax';
    const capturable = new CapturableDevice(device as unknown as Device, pool.over(device), verdicts, failure);
    const buffer = capturable.createBuffer({ size: 16, usage: 0x40 });
    pool.op = 'add';
    expect((await capturable.errorOf(buffer))?.message).toBe('softmax: no memory for 16 bytes: none left');
  });
  it('are followed as long as something depends on a bad one', async () => {
    const verdicts = new Verdicts();
    let buffer: GpuBuffer | null = { size: 4, usage: 0, destroy() {} };
    verdicts.made([buffer], Promise.resolve(new Error('bad')));
    expect((await verdicts.errorOf(buffer))?.message).toBe('bad');
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      gc();
    }
    expect(verdicts.active).toBe(true);
    expect(verdicts.failed(buffer)).toBe(true);
    buffer = null;
    for (let i = 0; i < 20 && verdicts.active; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      gc();
    }
    expect(verdicts.active).toBe(false);
  });
});

it('checks of indices know so many sites by name', async () => {
  const numbers: number[] = [];
  const flag = { version: 0, cell: null as Cell | null };
  const launch = (_: unknown, __: unknown, args: unknown[]) => {
    if (args.length > 1) numbers.push(args.at(-1) as number);
    const found = [args.at(-1)];
    return new Cell({ output: [1], toArray: () => found, clone() {}, delete() {} } as never, 'index');
  };
  const replace = (_: unknown, cell: Cell) => {
    flag.cell = cell;
    flag.version++;
  };
  const gpu = { present: () => null, launch, replace } as unknown as Launcher;
  const checks = new IndexChecks(
    gpu,
    () => flag as unknown as GpuStorage,
    () => null,
  );
  const index = { size: 1 } as unknown as GpuStorage;
  for (let count = 1; count <= 3000; count++) checks.check('gather', index, count);
  expect(Math.max(...numbers)).toBe(1025);
  expect((await checks.take())?.message).toContain('no integer within its range');
  checks.told();
  checks.check('gather', index, 7);
  expect(numbers.at(-1)).toBe(7);
  expect((await checks.take())?.message).toContain('[gather] a label or index');
});

interface Internals {
  runtime: { device: { inner: { createBindGroup(d: object): object } }; run(...args: unknown[]): unknown };
}

describe('calls that repeat', () => {
  onGpu('go past gpu.js, with bind groups of before', async () => {
    await useDevice('gpu');
    const { runtime } = backendOf('gpu') as unknown as Internals;
    const model = new nn.Sequential(new nn.Linear(20, 9), new nn.ReLU(), new nn.Linear(9, 4));
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    const [x, y] = [randn([8, 20]), tensor([0, 1, 2, 3, 0, 1, 2, 3])];
    const step = async () => {
      optimizer.zeroGrad();
      const loss = nn.functional.crossEntropy(model.forward(x), y);
      loss.backward();
      optimizer.step();
      return loss.item();
    };
    for (let i = 0; i < 30; i++) await step();
    const run = vi.spyOn(runtime, 'run');
    const group = vi.spyOn(runtime.device.inner, 'createBindGroup');
    for (let i = 0; i < 10; i++) await step();
    // What nobody frees, as the logits and the loss, is in new buffers until it is collected.
    expect(group.mock.calls.length).toBeLessThan(100);
    expect(run.mock.calls.length).toBeLessThan(40);
    vi.restoreAllMocks();
  });
  onGpu('are told apart by numbers, sizes and what comes from the host', async () => {
    await useDevice('gpu');
    const x = tensor([1, 2, 3, 4, 5, 6]);
    await x.mul(1).data();
    for (let round = 0; round < 3; round++) {
      const [a, b] = [x.maximum(2), x.narrow(0, 2, 3).add(0)];
      expect([...(await a.data())]).toEqual([2, 2, 3, 4, 5, 6]);
      expect([...(await b.data())]).toEqual([3, 4, 5]);
      for (const shape of [
        [2, 3],
        [3, 2],
      ] as const) {
        const m = x.reshape(shape);
        expect([...(await m.sum(1).data())]).toEqual(shape[0] === 2 ? [6, 15] : [3, 7, 11]);
      }
      for (const f of [0, -0, 0.5]) expect(1 / (await tensor([f]).mul(1).item())).toBe(1 / f);
    }
  });
});

describe('a replay', () => {
  onGpu('that is refused holds nothing', async () => {
    await useDevice('gpu');
    const w = randn([700]);
    const step = compile((x) => noGrad(() => x.add(w)));
    for (let i = 0; i < 4; i++) await step(randn([700])).data();
    const x = randn([700]).add(1);
    await x.data();
    w.dispose();
    const before = memory('gpu').blocks;
    for (let i = 0; i < 3; i++) expect((await errorOf(() => step(x))).message).toContain('has been freed');
    x.dispose();
    expect(memory('gpu').blocks).toBe(before - 1);
  });
  onGpu('copies nothing, and leaves what others hold', async () => {
    await useDevice('gpu');
    const { device } = (backendOf('gpu') as unknown as { runtime: { device: { copy(...a: unknown[]): void } } })
      .runtime;
    const p = tensor([1, 2, 3], { requiresGrad: true });
    const optimizer = new optim.SGD([p], { lr: 0.5 });
    const step = compile((x) => {
      const loss = p.mul(x).sum();
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return [loss, x, p.detach()];
    });
    const x = tensor([1, 1, 1]);
    for (let i = 0; i < 3; i++) await step(x)[0].item();
    const held = noGrad(() => p.mul(1));
    const copies = vi.spyOn(device, 'copy');
    const [, same, now] = step(x);
    const [, , later] = step(x);
    expect(copies).not.toHaveBeenCalled();
    vi.restoreAllMocks();
    expect([...(await held.data())]).toEqual([-0.5, 0.5, 1.5]);
    expect([...(await same.data())]).toEqual([1, 1, 1]);
    expect([...(await now.data())]).toEqual([-1, 0, 1]);
    expect([...(await later.data())]).toEqual([-1.5, -0.5, 0.5]);
    expect([...(await p.data())]).toEqual([-1.5, -0.5, 0.5]);
    expect([...(await x.data())]).toEqual([1, 1, 1]);
  });
});
