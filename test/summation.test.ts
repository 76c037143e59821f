import { beforeAll, describe, expect, it } from 'vitest';
import { matmul } from '../kernels/reference/matmul.js';
import { float32, float32Unfused, float64, fusedMultiplyAdd } from '../kernels/reference/sums.js';
import type { MatmulPlan } from '../src/backends/backend.js';
import { CpuBackend } from '../src/backends/cpu/index.js';
import { ReferenceBackend } from '../src/backends/reference.js';
import { full, nn, tensor, zeros } from '../src/index.js';
import { table } from '../src/ops/table.js';
import { expectClose, fallbackSteps, sample, withCpu } from './helpers.js';

// The order of sums: the kernels and plain loops give the same bits for every build, layout and number of threads, and
// long sums keep their digits.

const loops = new ReferenceBackend('cpu', 'test');

function expectSameBits(got: ArrayLike<number>, wanted: ArrayLike<number>, what: string): void {
  const wrong = Array.from(got).findIndex((v, i) => !Object.is(v, wanted[i]));
  if (wrong >= 0) expect.fail(`${what}: element ${wrong} is ${got[wrong]} instead of ${wanted[wrong]}`);
  expect(got.length, what).toBe(wanted.length);
}

const backends = (['wasm-relaxed-simd', 'wasm-simd'] as const).flatMap((build) =>
  [1, 2].map((threads) => ({ build, threads, cpu: new CpuBackend(build, threads) })),
);
beforeAll(async () => {
  for (const { cpu, threads } of backends) {
    cpu.pool.start();
    while (cpu.pool.up < threads - 1) await new Promise((resolve) => setTimeout(resolve, 5));
  }
});

/** What plain loops gave, as they take long. */
const products = new Map<string, Float32Array>();

it('a multiply-add of the reference is rounded once', () => {
  const a = 1 + 2 ** -12;
  const middle = 1 + 2 ** -11; // a * a is half a unit above it
  expect(float32.multiplyAdd(a, a, 2 ** -60)).toBe(middle + 2 ** -23);
  expect(fusedMultiplyAdd(a, a, -(2 ** -60))).toBe(middle);
  expect(fusedMultiplyAdd(-a, a, 2 ** -60)).toBe(-middle);
  expect(fusedMultiplyAdd(a, a, 0)).toBe(middle);
  expect(fusedMultiplyAdd(3, 5, 7)).toBe(22);
  expect(fusedMultiplyAdd(Infinity, 1, 0)).toBe(Infinity);
  expect(fusedMultiplyAdd(Number.NaN, 1, 0)).toBeNaN();
  expect(fusedMultiplyAdd(2 ** -149, 0.5, 2 ** -149)).toBe(2 ** -148);
});

describe.each(backends)('the same bits as plain loops from $build on $threads threads', ({ build, cpu }) => {
  const lengths = [
    0, 1, 2, 3, 4, 5, 7, 12, 13, 15, 16, 17, 18, 31, 33, 100, 511, 512, 513, 530, 2047, 2048, 2049, 4097,
  ];
  const inners = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 29, 33];

  const check = (outer: number, length: number, inner: number, values: Float32Array) => {
    for (const kernel of [table.reduce.sum, table.reduce.mean, table.reduce.max, table.reduce.min]) {
      const [got, wanted] = [cpu, loops].map((backend) =>
        backend.readSync(backend.reduce(kernel, backend.upload(values), outer, length, inner)),
      );
      expectSameBits(got, wanted, `${kernel.name} of ${outer} x ${length} x ${inner}`);
    }
  };
  it('sums, means and extremes along every dimension', () => {
    for (const length of lengths) {
      for (const inner of inners) {
        for (const outer of length * inner > 10_000 ? [1] : [1, 3]) {
          check(outer, length, inner, sample(outer * length * inner, [-1, 1], length + inner));
        }
      }
    }
  });
  it('long sums', () => {
    for (const inner of [1, 2, 3, 4, 5, 6, 7, 8, 9, 16]) {
      check(1, 100_003, inner, sample(100_003 * inner, [-1, 2], inner));
    }
  });
  it('sums that threads share', () => {
    for (const [outer, length, inner] of [
      [40, 1000, 1],
      [40, 700, 5],
      [300, 17, 40],
    ]) {
      for (let again = 0; again < 3; again++) {
        check(outer, length, inner, sample(outer * length * inner, [-1, 1], inner));
      }
    }
  });
  it('sums with negative zeros, infinities and NaN', () => {
    for (const inner of [1, 2, 4, 17]) {
      for (const length of [1, 3, 8, 16, 20, 600]) {
        check(1, length, inner, new Float32Array(length * inner).fill(-0));
        for (const odd of [Infinity, -Infinity, Number.NaN]) {
          const values = sample(length * inner, [-1, 1]);
          values[(length * inner) >> 1] = odd;
          check(1, length, inner, values);
        }
      }
    }
  });
  it('squared errors', () => {
    for (const n of [...lengths, 100_003]) {
      const [a, b] = [sample(n, [-1, 1], 1), sample(n, [-1, 1], 2)];
      const kernel = { name: 'squaredError', changes: [], steps: () => null, flops: () => 0, cost: () => 1 };
      // A power of two, which rounds nothing.
      const got = cpu.readSync(cpu.fused(kernel, [cpu.upload(a), cpu.upload(b)], 1, [n], [0.25])!);
      const squares = a.map((v, i) => Math.fround(v - b[i]) ** 2);
      const wanted = loops.readSync(loops.reduce(table.reduce.sum, loops.upload(squares), 1, n, 1)).map((v) => v / 4);
      expectSameBits(got, wanted, `of ${n} numbers`);
    }
  });

  // Where the processor has no such instruction, a relaxed multiply-add is rounded twice.
  const fused = () => {
    const a = 1 + 2 ** -12;
    const plan = { m: 2, n: 2, k: 2, transA: false, transB: false, relu: false, offsetsA: [0], offsetsB: [0] };
    const out = cpu.matmul(plan, cpu.upload([1, a, 1, a]), cpu.upload([-1, -1, a, a]), null);
    return cpu.readSync(out)[0] === 2 ** -11 + 2 ** -24;
  };
  it('the build without relaxed SIMD rounds products', () => {
    if (build === 'wasm-simd') expect(fused()).toBe(false);
  });
  it.each([
    [7, 9, 5],
    [13, 21, 300],
    [4, 5, 2047],
    [4, 5, 2048],
    [5, 6, 2049],
    [2, 3, 9001],
    [70, 80, 60],
    [97, 25, 513],
    [14, 13, 4100],
    [30, 3, 9001],
    [2, 1040, 2100],
    [770, 2, 2070],
    [1, 1, 5000],
    [1, 40, 40],
    [1, 77, 2049],
    [1, 1100, 2500],
    [1, 2099, 2500],
    [1, 3, 100_003],
    [40, 1, 40],
    [33, 1, 2049],
    [9, 1, 100_003],
  ])('products %i x %i x %i', (m, n, k) => {
    const arithmetic = fused() ? float32 : float32Unfused;
    const [a, b, bias] = [sample(m * k, [-1, 1], 1), sample(k * n, [-1, 1], 2), sample(n, [-1, 1], 3)];
    for (const [transA, transB, withBias, relu] of [
      [false, false, true, false],
      [false, true, false, true],
      [true, false, false, false],
      [true, true, true, true],
    ]) {
      const plan: MatmulPlan = { m, n, k, transA, transB, relu, offsetsA: [0], offsetsB: [0] };
      const key = JSON.stringify([plan, fused()]);
      let wanted = products.get(key);
      if (!wanted) {
        wanted = new Float32Array(m * n);
        products.set(key, wanted);
        matmul(a, b, wanted, { a: 0, b: 0, out: 0 }, plan, transA, transB, withBias ? bias : null, relu, arithmetic);
      }
      const got = cpu.readSync(cpu.matmul(plan, cpu.upload(a), cpu.upload(b), withBias ? cpu.upload(bias) : null));
      expectSameBits(got, wanted, `${transA}, ${transB}`);
    }
  });
});

const off = (value: number, wanted: number) => Math.abs(value - wanted) / wanted;
const tenth = Math.fround(0.1);

describe.each(fallbackSteps.filter(({ name }) => name.startsWith('wasm')))('long sums on $name', ({ start }) => {
  const backend = start();
  it.each([1, 3, 4, 5, 17])('keep their digits in %i columns', async (columns) => {
    await withCpu(backend, () => {
      for (const value of full([2e6, columns], 0.1).sum(0).dataSync())
        expect(off(value, 2e6 * tenth)).toBeLessThan(1e-6);
    });
  });
  it('keep their digits in the gradient of a broadcast operand', async () => {
    await withCpu(backend, () => {
      const b = zeros([8], { requiresGrad: true });
      full([1e6, 8], 0.1).mul(b.add(1)).sum().backward();
      for (const value of b.grad!.dataSync()) expect(off(value, 1e6 * tenth)).toBeLessThan(1e-6);
    });
  });
  it.each([1, 3])('keep their digits in the gradient of weights for %i outputs', async (outputs) => {
    await withCpu(backend, () => {
      const w = zeros([outputs, 4], { requiresGrad: true });
      nn.functional
        .linear(full([1e6, 4], 0.1), w)
        .sum()
        .backward();
      for (const value of w.grad!.dataSync()) expect(off(value, 1e6 * tenth)).toBeLessThan(5e-5);
    });
  });
});

it('in float64 a sum is not rounded to float32', () => {
  const out = new Float64Array(1);
  const size = { m: 1, n: 1, k: 2 };
  matmul([1, 1], [1, 2 ** -40], out, { a: 0, b: 0, out: 0 }, size, false, false, null, false, float64);
  expect(out[0]).toBe(1 + 2 ** -40);
  const backend = new ReferenceBackend('reference', 'test', 'float64');
  const sum = backend.reduce(table.reduce.sum, backend.upload([1, 2 ** -40]), 1, 2, 1);
  expect(backend.readSync(sum)[0]).toBe(1 + 2 ** -40);
});

describe.each(fallbackSteps)('losses near 0 on $name', ({ start }) => {
  const backend = start();
  const logits = (classes: number, margin: number) =>
    Float32Array.from({ length: classes }, (_, i) => (i === classes >> 1 ? margin : 0));
  it.each([2, 3, 4, 5, 10, 17, 100, 700])('keep their digits with %i classes', async (classes) => {
    await withCpu(backend, () => {
      for (const margin of [0, 1, 5, 10, 16, 17, 20, 40, 80]) {
        const x = tensor(logits(classes, margin), { shape: [1, classes] });
        const wanted = Math.log1p((classes - 1) * Math.exp(-margin));
        expectClose(nn.functional.crossEntropy(x, tensor([classes >> 1])).dataSync(), [wanted], 1e-6, 0);
        expectClose([x.logSoftmax(1).dataSync()[classes >> 1]], [-wanted], 1e-6, 0);
      }
    });
  });
  it('count what is equal to the largest', async () => {
    await withCpu(backend, () => {
      for (const classes of [2, 3, 9, 40]) {
        const x = full([1, classes], 3);
        expectClose(nn.functional.crossEntropy(x, tensor([1])).dataSync(), [Math.log(classes)], 1e-6, 0);
        expectClose(x.softmax(1).dataSync(), new Array(classes).fill(1 / classes), 1e-6, 0);
      }
    });
  });
  it('are tiny for a logit of 20 in binary cross-entropy', async () => {
    await withCpu(backend, () => {
      const loss = nn.functional.bceWithLogitsLoss(tensor([20, -20, 30]), tensor([1, 0, 1]), { reduction: 'none' });
      expectClose(
        loss.dataSync(),
        [20, 20, 30].map((x) => Math.log1p(Math.exp(-x))),
        1e-6,
        0,
      );
    });
  });
  it('are NaN or infinite where they were', async () => {
    await withCpu(backend, () => {
      const losses = (rows: number[][], label: number) => [
        ...nn.functional.crossEntropy(tensor(rows), tensor(rows.map(() => label)), { reduction: 'none' }).dataSync(),
      ];
      const [inf, nan] = [Infinity, Number.NaN];
      expect(
        losses(
          [
            [inf, 0, 0],
            [nan, 0, 0],
            [0, nan, 0],
            [-inf, -inf, -inf],
          ],
          0,
        ),
      ).toEqual([nan, nan, nan, nan]);
      expect(
        losses(
          [
            [-inf, 0, 0],
            [0, -inf, -inf],
          ],
          0,
        ),
      ).toEqual([inf, 0]);
    });
  });
});
