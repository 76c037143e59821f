import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { matmul } from '../../kernels/gpu/matmul.js';
import type { GpuKernel } from '../../kernels/gpu/source.js';
import { LARGE, SMALL, SMALL_IN_SOFTWARE, type Tile, tiled } from '../../kernels/gpu/tiled.js';
import type { MatmulPlan } from '../../src/backends/backend.js';
import { create, gpuJs } from '../../src/backends/gpu/gpujs.js';
import type { GpuBackend } from '../../src/backends/gpu/index.js';
import { type GroupLimits, plainProduct, type Tiling, tiledProduct, tileFor } from '../../src/backends/gpu/product.js';
import type { WebGpuRuntime } from '../../src/backends/gpu/webgpu.js';
import { backendOf } from '../../src/backends/registry.js';
import { compile, noGrad, tensor, useDevice } from '../../src/index.js';
import { expectClose } from '../helpers.js';
import { sample } from '../samples.js';
import { onGpu } from './device.js';

beforeAll(() => useDevice('gpu').catch(() => {}));
afterAll(() => useDevice('cpu'));

const gpu = () => backendOf('gpu') as GpuBackend;
const runtime = () => (gpu() as unknown as { runtime: WebGpuRuntime }).runtime;

const planOf = (m: number, k: number, n: number, rest: Partial<MatmulPlan> = {}): MatmulPlan => ({
  m,
  k,
  n,
  transA: false,
  transB: false,
  relu: false,
  offsetsA: [0],
  offsetsB: [0],
  ...rest,
});

type Numbers = ArrayLike<number>;

/** The product in float64. */
function reference(plan: MatmulPlan, a: Numbers, b: Numbers, bias: Numbers | null): number[] {
  const { m, n, k, transA, transB, relu, offsetsA, offsetsB } = plan;
  const out: number[] = [];
  for (const [i, left] of offsetsA.entries()) {
    for (let row = 0; row < m; row++) {
      for (let col = 0; col < n; col++) {
        let sum = 0;
        for (let p = 0; p < k; p++) {
          sum += a[left + (transA ? p * m + row : row * k + p)] * b[offsetsB[i] + (transB ? col * k + p : p * n + col)];
        }
        if (bias !== null) sum += bias[col];
        out.push(relu && sum < 0 ? 0 : sum);
      }
    }
  }
  return out;
}

/** The product on the GPU. */
async function product(tiling: Tiling, plan: MatmulPlan, a: Numbers, b: Numbers, bias: Numbers | null) {
  const g = gpu();
  const [x, y, z] = [g.upload(a), g.upload(b), bias === null ? null : g.upload(bias)];
  g.tiling = tiling;
  try {
    return await g.read(g.matmul(plan, x, y, z));
  } finally {
    g.tiling = 'by size';
  }
}

const layouts = [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
];
/** Whole tiles, edges on vectors of four, edges beside them in every dimension, and less than a thread has. */
const shapes = [
  [64, 16, 128],
  [36, 20, 100],
  [65, 9, 67],
  [70, 12, 33],
  [33, 7, 40],
  [2, 1, 3],
];
const epilogues = [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
];

/** What WebGPU promises of every device. */
const hardware = {
  inSoftware: false,
  limits: {
    maxComputeWorkgroupStorageSize: 16384,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxComputeWorkgroupsPerDimension: 65535,
  },
};

describe('products in tiles', () => {
  for (const [tileName, tile] of Object.entries({ LARGE, SMALL })) {
    for (const [i, [transA, transB]] of layouts.entries()) {
      const name = `${tileName}, ${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}`;
      onGpu(`${name}: all edges, with bias, relu and batches by turns`, async () => {
        for (const [j, [m, k, n]] of shapes.entries()) {
          const [hasBias, relu] = epilogues[(i + j) % 4];
          // Three products of two matrices, in an order of their own.
          const batch = j % 2 === 0 ? {} : { offsetsA: [m * k, 0, m * k], offsetsB: [0, k * n, k * n] };
          const plan = planOf(m, k, n, { transA, transB, relu, ...batch });
          const [a, b] = [sample(2 * m * k, [-1, 1], 1), sample(2 * k * n, [-1, 1], 2)];
          const bias = hasBias ? sample(n, [-1, 1], 3) : null;
          const expected = reference(plan, a, b, bias);
          expectClose(await product(tile, plan, a, b, bias), expected, 1e-5, 2e-6);
        }
      });
    }
  }
  onGpu('treat every epilogue alike in all loads', async () => {
    for (const [m, k, n] of [
      [36, 20, 40],
      [35, 9, 39],
    ]) {
      const [a, b, bias] = [sample(m * k, [-1, 1], 1), sample(k * n, [-1, 1], 2), sample(n, [-1, 1], 3)];
      for (const [hasBias, relu] of epilogues) {
        const plan = planOf(m, k, n, { relu });
        const expected = reference(plan, a, b, hasBias ? bias : null);
        expectClose(await product(SMALL, plan, a, b, hasBias ? bias : null), expected, 1e-5, 2e-6);
      }
    }
  });
  onGpu('agree with the kernel of gpu.js', async () => {
    const plan = planOf(96, 130, 70, { transB: true, relu: true });
    const [a, b, bias] = [sample(96 * 130, [-1, 1], 1), sample(130 * 70, [-1, 1], 2), sample(70, [-1, 1], 3)];
    const plain = await product('never', plan, a, b, bias);
    for (const tiling of ['by size', LARGE, SMALL, SMALL_IN_SOFTWARE] as const) {
      expectClose(await product(tiling, plan, a, b, bias), plain, 1e-5, 1e-5);
    }
  });
  onGpu('keep what is not finite in its row or column', async () => {
    const [m, k, n] = [37, 21, 41];
    const [a, b] = [sample(m * k, [-1, 1], 1), sample(k * n, [0.5, 1], 2)];
    a[m * k - 1] = Number.NaN;
    a[k - 1] = Infinity;
    for (const relu of [false, true]) {
      const plan = planOf(m, k, n, { relu });
      const got = await product(SMALL, plan, a, b, null);
      expectClose(got, reference(plan, a, b, null), 1e-5, 1e-5);
      expect(got.slice(-n).every(Number.isNaN)).toBe(true);
    }
  });
  onGpu('are captured with the rest of a step', async () => {
    const [x, w] = [sample(48 * 40, [-1, 1], 1), sample(40 * 36, [-1, 1], 2)];
    const weight = tensor(w, { shape: [40, 36] });
    const step = compile((input: ReturnType<typeof tensor>) => noGrad(() => input.matmul(weight).relu()));
    expect(tileFor(planOf(48, 40, 36), hardware, 'by size')).not.toBeNull();
    const expected = reference(planOf(48, 40, 36, { relu: true }), x, w, null);
    for (let call = 0; call < 4; call++) {
      expectClose(await step(tensor(x, { shape: [48, 40] })).data(), expected, 1e-5, 1e-5);
    }
  });
});

describe('the choice of tiles', () => {
  it('goes by the sizes', () => {
    expect(tileFor(planOf(1024, 1024, 1024), hardware, 'by size')).toBe(LARGE);
    expect(tileFor(planOf(1024, 784, 32), hardware, 'by size')).toBe(SMALL);
    expect(tileFor(planOf(64, 784, 128), hardware, 'by size')).toBe(SMALL);
    const software = { ...hardware, inSoftware: true };
    expect(tileFor(planOf(64, 784, 128), software, 'by size')).toBeNull();
    expect(tileFor(planOf(256, 256, 256), software, 'by size')).toBe(SMALL_IN_SOFTWARE);
    expect(tileFor(planOf(256, 255, 256), software, 'by size')).toBeNull();
    expect(tileFor(planOf(1024, 1024, 1024), software, 'by size')).toBe(LARGE);
    expect(tileFor(planOf(64, 784, 10), hardware, 'by size')).toBeNull();
    expect(tileFor(planOf(1, 784, 256), hardware, 'by size')).toBeNull();
    expect(tileFor(planOf(256, 4, 256), hardware, 'by size')).toBeNull();
    expect(tileFor(planOf(1024, 1024, 1024), hardware, 'never')).toBeNull();
    expect(tileFor(planOf(2, 2, 2), hardware, LARGE)).toBe(LARGE);
  });
  it('keeps to what the device allows', () => {
    const plan = planOf(1024, 1024, 1024, { offsetsA: [0, 0], offsetsB: [0, 0] });
    const on = (limits: GroupLimits) => ({ inSoftware: false, limits });
    const allowed: GroupLimits = {
      maxComputeWorkgroupStorageSize: 4096,
      maxComputeInvocationsPerWorkgroup: 64,
      maxComputeWorkgroupSizeX: 64,
      maxComputeWorkgroupsPerDimension: 16,
    };
    expect(tileFor(plan, on(allowed), LARGE)).toBe(LARGE);
    for (const [name, least] of Object.entries(allowed)) {
      expect(tileFor(plan, on({ ...allowed, [name]: least - 1 }), LARGE), name).toBeNull();
    }
    const many = { ...planOf(16, 16, 16), offsetsA: new Array(17).fill(0) };
    expect(tileFor(many, on(allowed), LARGE)).toBeNull();
  });
});

describe('what a shader of ours takes for granted of gpu.js', () => {
  const TYPES = { Array: 'Array', Host: 'Array', Integer: 'Integer', Number: 'Number' };
  const plan = planOf(70, 3, 130, { offsetsA: [0, 210], offsetsB: [390, 0] });
  const [a, b] = [sample(420, [-1, 1], 1), sample(780, [-1, 1], 2)];
  const args = () => [a, b, [0, 1], [1, 0]].map((x) => Float32Array.from(x));
  const kernel = (tile: Tile = LARGE) => tiledProduct(plan, false, tile).kernel;

  /** The result of a kernel, and how many workgroups its second run took. */
  async function groupsOf(k: GpuKernel) {
    const run = () => runtime().run(k, [130, 70, 2], [...args(), 70, 130, 3]);
    (await run()).delete();
    const dispatch = vi.spyOn(runtime().device, 'dispatch');
    const result = await run();
    const passes = dispatch.mock.calls.map(([d]) => d);
    dispatch.mockRestore();
    expectClose(await result.toArray(), reference(plan, a, b, null), 1e-5, 2e-6);
    result.delete();
    return passes.map(({ groups }) => groups);
  }

  onGpu('is the head of its shaders, and where their workgroups come from', async () => {
    const { shader, ...plain } = kernel();
    const created = create(await gpuJs('webgpu'), plain, TYPES);
    const own = created.kernel!.assembleWGSL;
    let generated = '';
    created.kernel!.assembleWGSL = function (this: unknown) {
      generated = own.call(created.kernel);
      return generated;
    };
    created.setOutput([130, 70, 2]);
    (await created(...args(), 70, 130, 3)).delete();
    expect(generated.slice(0, shader!.head.length)).toBe(shader!.head);
    expect(generated.slice(shader!.head.length)).toMatch(/@compute @workgroup_size\(8, 8, 1\)\nfn main\(/);
    expect(created.kernel!.workgroupSize).toEqual([8, 8, 1]);
  });
  onGpu('is the dispatch, which follows workgroupSize', async () => {
    expect(await groupsOf(kernel(LARGE))).toEqual([[3, 2, 2]]);
    expect(await groupsOf(kernel(SMALL))).toEqual([[5, 3, 2]]);
  });
  onGpu('is checked before the shader is used: gpu.js runs the source where it declares something else', async () => {
    const ours = kernel();
    const other = { ...ours, key: 'another head', shader: { ...ours.shader!, head: 'struct Others {' } };
    expect(await groupsOf(other)).toEqual([[17, 9, 2]]);
  });
  it('has one key for each shader', () => {
    const all = new Map<string, string>();
    for (const bits of Array.from({ length: 128 }, (_, i) => i)) {
      const [transA, transB, bias, relu, vectorA, vectorB, vectorC] = [1, 2, 4, 8, 16, 32, 64].map((b) => !!(bits & b));
      for (const tile of [LARGE, SMALL, SMALL_IN_SOFTWARE]) {
        const { key, shader } = tiled({ transA, transB, bias, relu, vectorA, vectorB, vectorC, tile });
        all.set(key, shader!.code);
      }
    }
    expect(all.size).toBe(384);
    expect(new Set(all.values()).size).toBe(384);
    expect(all.has(matmul({ ...plan, bias: false, columns: 1, flat: false }).key)).toBe(false);
  });
});

describe('products without tiles', () => {
  it('count threads in a row where there are too many for a dimension', () => {
    expect(plainProduct(planOf(8, 2, 8), false, true)).toMatchObject({ threads: [2, 8, 1] });
    expect(plainProduct(planOf(600_000, 2, 8), true, true)).toMatchObject({ threads: 1_200_000 });
    expect(plainProduct(planOf(8, 2, 8), false, false)).toMatchObject({ threads: 64 });
  });
});
