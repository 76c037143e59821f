import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { GROUP_SEGMENT, selecting } from '../../kernels/gpu/groups.js';
import { reduce } from '../../kernels/gpu/reduce.js';
import type { GpuBackend } from '../../src/backends/gpu/index.js';
import type { WebGpuRuntime } from '../../src/backends/gpu/webgpu.js';
import { backendOf } from '../../src/backends/registry.js';
import { nn, noGrad, type Tensor, tensor, useDevice } from '../../src/index.js';
import { table } from '../../src/ops/table.js';
import { expectClose } from '../helpers.js';
import { sample } from '../samples.js';
import { onGpu } from './device.js';

beforeAll(() => useDevice('gpu').catch(() => {}));
afterAll(() => useDevice('cpu'));

const gpu = () => backendOf('gpu') as GpuBackend;

/** A result of workgroups, whatever the sizes, and of the CPU. */
async function both(values: ArrayLike<number>, shape: number[], fn: (x: Tensor) => Tensor) {
  const g = gpu();
  g.groups = 'always';
  const got = await noGrad(() => fn(tensor(Float32Array.from(values), { shape, device: 'gpu' })))
    .data()
    .finally(() => {
      g.groups = 'by size';
    });
  return [got, await noGrad(() => fn(tensor(Float32Array.from(values), { shape, device: 'cpu' }))).data()] as const;
}

const lengths = [1, 2, 63, 64, 65, 200, GROUP_SEGMENT, GROUP_SEGMENT + 1, 3 * GROUP_SEGMENT + 77];

describe('reductions by workgroups', () => {
  const fns: Record<string, (x: Tensor) => Tensor> = {
    sum: (x) => x.sum(1),
    mean: (x) => x.mean(1),
    max: (x) => x.max(1),
    min: (x) => x.min(1),
    argmax: (x) => x.argmax(1),
    softmax: (x) => x.softmax(1),
    logSoftmax: (x) => x.logSoftmax(1),
  };
  for (const [name, fn] of Object.entries(fns)) {
    onGpu(`${name} of every length`, async () => {
      for (const length of lengths) {
        const [got, expected] = await both(sample(3 * length, [-2, 2], length), [3, length], fn);
        expectClose(got, expected, 1e-5, 1e-3 * (name === 'sum' ? 1 : 1e-2));
      }
    });
    onGpu(`${name} of what is not finite`, async () => {
      for (const odd of [Number.NaN, Infinity, -Infinity]) {
        for (const place of [0, 70, 99]) {
          const values = sample(200, [-2, 2], 4);
          values[place] = odd;
          const [got, expected] = await both(values, [2, 100], fn);
          expectClose(got, expected, 1e-5, 1e-5);
        }
      }
    });
  }
  onGpu('count every largest number of a row once', async () => {
    const [got, expected] = await both(new Array(300).fill(2), [2, 150], (x) => x.logSoftmax(1));
    expectClose(got, expected, 1e-6);
    // The others of a row are small digits beside the 1 of its largest.
    const row = [20, ...new Array(129).fill(0)];
    const [loss, same] = await both(row, [1, 130], (x) =>
      new nn.CrossEntropyLoss().forward(x, tensor([0], { device: x.device })),
    );
    expectClose(loss, same, 1e-5, 0);
  });
  onGpu('reach every row where a dimension has too few workgroups', async () => {
    const rows = 66_000;
    const values = Array.from({ length: 2 * rows }, (_, i) => (i % 8191) - 4000);
    const [got, expected] = await both(values, [rows, 2], (x) => x.sum(1));
    expectClose(got, expected, 0, 0);
  });
  onGpu('have a workgroup for each number, as far as gpu.js declares what they rely on', async () => {
    const { runtime } = gpu() as unknown as { runtime: WebGpuRuntime };
    const groupsOf = async (kernel: ReturnType<typeof reduce>) => {
      const run = () => runtime.run(kernel.inGroups() ?? kernel, [3], [sample(300, [-1, 1]), 100, 1, 1, 8192]);
      (await run()).delete();
      const dispatch = vi.spyOn(runtime.device, 'dispatch');
      (await run()).delete();
      const [[{ groups }]] = dispatch.mock.calls;
      dispatch.mockRestore();
      return groups;
    };
    expect(await groupsOf(reduce('sum', 'acc + x'))).toEqual([3, 1, 1]);
    expect(await groupsOf(reduce('test', 'acc + Math.abs(x)'))).toEqual([1, 1, 1]);
  });
});

describe('combinations in WGSL', () => {
  it('select instead of asking', () => {
    expect(selecting('acc + x')).toBe('acc + x');
    expect(selecting('x < acc ? x : acc')).toBe('select(acc, x, x < acc)');
    expect(selecting('acc + Math.abs(x)')).toBeNull();
  });
  it('are there for the rows of the table', () => {
    for (const { name, gpu: combine } of Object.values(table.reduce)) {
      expect(selecting(combine), name).not.toBeNull();
      expect(selecting(combine), name).not.toMatch(/[?]|===/);
    }
  });
});
