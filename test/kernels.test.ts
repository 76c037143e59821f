import { describe, expect, it } from 'vitest';
import type { MatmulPlan } from '../src/backends/backend.js';
import { CpuBackend } from '../src/backends/cpu/index.js';
import { ReferenceBackend } from '../src/backends/reference.js';
import { table } from '../src/ops/table.js';
import { expectClose, sample, sgdCall, ulps } from './helpers.js';

const exact = new ReferenceBackend('reference', 'test', 'float64');

/** Every float32 exponent with spread mantissas, both signs, and the neighbourhoods of the ends. */
function wholeRange(): Float32Array {
  const bits = new Uint32Array(2 ** 20);
  for (let i = 0; i < bits.length; i++) bits[i] = (i * 4096 + ((i * 2654435761) >>> 20)) >>> 0;
  return new Float32Array(bits.buffer).filter((v) => !Number.isNaN(v));
}

describe.each(['wasm-relaxed-simd', 'wasm-simd'] as const)('%s', (build) => {
  const cpu = new CpuBackend(build);

  describe('accuracy over the whole float32 range', () => {
    const x = wholeRange();
    const dense = sample(200_000, [-110, 110]);
    it.each(['exp', 'log', 'tanh', 'sigmoid'] as const)('%s is within 4 ulp of float64', (name) => {
      for (const values of [x, dense]) {
        const got = cpu.readSync(cpu.unary(table.unary[name], cpu.upload(values)));
        let worst = 0;
        let at = 0;
        values.forEach((v, i) => {
          const distance = ulps(got[i], table.unary[name].f(v));
          if (distance > worst) [worst, at] = [distance, v];
        });
        expect(worst, `at ${at}`).toBeLessThanOrEqual(4);
      }
    });
  });

  describe('matmul', () => {
    const check = (
      m: number,
      n: number,
      k: number,
      transA: boolean,
      transB: boolean,
      withBias: boolean,
      relu = false,
    ) => {
      const plan: MatmulPlan = { m, n, k, transA, transB, relu, offsetsA: [0], offsetsB: [0] };
      const [a, b, bias] = [sample(m * k, [-1, 1], 1), sample(k * n, [-1, 1], 2), sample(n, [-1, 1], 3)];
      const run = (backend: CpuBackend | ReferenceBackend) =>
        backend.readSync(
          backend.matmul(plan, backend.upload(a), backend.upload(b), withBias ? backend.upload(bias) : null),
        );
      expectClose(run(cpu), run(exact), 1e-5, 6e-8 * k + 1e-6);
    };
    const layouts = [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ] as const;
    it('equals float64 for all sizes 1..40 in every dimension and layout, with and without bias and relu', () => {
      // The corner [m, n] of a product of larger matrices cut off at k is the same for every m and n.
      const most = 40;
      const [a, b, bias] = [1, 2, 3].map((seed) => sample(most * most, [-1, 1], seed));
      const sums = [new Float64Array(most * most)];
      for (let k = 0; k < most; k++) {
        sums.push(sums[k].map((s, i) => s + a[Math.floor(i / most) * most + k] * b[k * most + (i % most)]));
      }
      const corner = (x: Float32Array, rows: number, cols: number, flip: boolean) =>
        Float32Array.from({ length: rows * cols }, (_, i) =>
          flip ? x[(i % rows) * most + Math.floor(i / rows)] : x[Math.floor(i / cols) * most + (i % cols)],
        );
      const row = cpu.upload(bias);
      let worst = 0;
      for (const [transA, transB] of layouts) {
        for (let k = 1; k <= most; k++) {
          const as = Array.from({ length: most }, (_, m) => cpu.upload(corner(a, m + 1, k, transA)));
          const bs = Array.from({ length: most }, (_, n) => cpu.upload(corner(b, k, n + 1, transB)));
          for (let m = 1; m <= most; m++) {
            for (let n = 1; n <= most; n++) {
              const withBias = (m + n) % 2 === 0;
              const relu = (n + k) % 3 === 0;
              const plan = { m, n, k, transA, transB, relu, offsetsA: [0], offsetsB: [0] };
              const out = cpu.matmul(plan, as[m - 1], bs[n - 1], withBias ? row : null);
              const got = cpu.readSync(out);
              cpu.free(out);
              for (let i = 0; i < m; i++) {
                for (let j = 0; j < n; j++) {
                  const sum = sums[k][i * most + j] + (withBias ? bias[j] : 0);
                  worst = Math.max(worst, Math.abs(got[i * n + j] - (relu ? Math.max(sum, 0) : sum)));
                }
              }
              if (!(worst < 6e-6)) expect.fail(`${m} x ${n} x ${k}, ${transA}, ${transB}: off by ${worst}`);
            }
          }
        }
      }
    });
    it.each([
      [3, 12, 255],
      [3, 12, 256],
      [3, 12, 257],
      [3, 12, 513],
      [95, 11, 5],
      [97, 13, 300],
      [769, 25, 5],
      [5, 1031, 3],
      [5, 1033, 3],
      [200, 40, 513],
      [1, 300, 515],
      [300, 1, 515],
      [65, 65, 65],
    ])('equals float64 for %i x %i x %i in every layout', (m, n, k) => {
      for (const [ta, tb] of layouts) check(m, n, k, ta, tb, true, ta);
    });
    it('carries Infinity and NaN to the elements they belong to, and no further', () => {
      const plan: MatmulPlan = {
        m: 5,
        n: 9,
        k: 6,
        transA: false,
        transB: false,
        relu: false,
        offsetsA: [0],
        offsetsB: [0],
      };
      const a = sample(30, [1, 2], 1);
      const b = sample(54, [1, 2], 2);
      a[7] = Infinity;
      b[4] = NaN;
      const run = (backend: CpuBackend | ReferenceBackend) =>
        backend.readSync(backend.matmul(plan, backend.upload(a), backend.upload(b), null));
      expectClose(run(cpu), run(exact));
      for (const [m, n] of [
        [1, 9],
        [5, 1],
      ]) {
        const small = { ...plan, m, n, k: 6 };
        const vector = (backend: CpuBackend | ReferenceBackend) =>
          backend.readSync(
            backend.matmul(small, backend.upload(a.slice(6, 6 + m * 6)), backend.upload(b.slice(0, 6 * n)), null),
          );
        expectClose(vector(cpu), vector(exact));
      }
    });
  });

  describe('copies', () => {
    it.each([
      [
        [3, 4],
        [1, 3],
      ],
      [
        [17, 33],
        [1, 17],
      ],
      [
        [2, 5, 6],
        [30, 1, 5],
      ],
      [
        [3, 2, 4],
        [4, 12, 1],
      ],
      [
        [2, 3, 4, 5],
        [1, 2, 6, 24],
      ],
      [
        [4, 3, 2],
        [0, 1, 0],
      ],
      [
        [5, 7],
        [0, 0],
      ],
      [
        [6, 5],
        [1, 0],
      ],
    ])('%j with strides %j equals the reference', (shape, strides) => {
      const x = sample(120 * 5, [-1, 1]);
      const run = (backend: CpuBackend | ReferenceBackend) =>
        backend.readSync(backend.copy(backend.upload(x), shape, strides, 0));
      expect([...run(cpu)]).toEqual([...Float32Array.from(run(exact))]);
    });
  });

  describe('softmax', () => {
    it('survives large, infinite and NaN entries like the reference', () => {
      const rows = Float32Array.from([1000, 1001, 999, -1000, -Infinity, 0, 1, 2, 3, NaN, 5, 6]);
      for (const log of [false, true]) {
        const run = (backend: CpuBackend | ReferenceBackend) =>
          backend.readSync(backend.softmax(backend.upload(rows), 3, 4, log));
        expectClose(run(cpu), run(exact), 1e-5, 1e-30);
      }
    });
  });

  describe('sgd', () => {
    it('lets a velocity end at 0 instead of among the subnormal numbers, and keeps NaN and Infinity', () => {
      const parameter = cpu.upload([1, 1, 1, 1, 1]);
      const gradient = cpu.upload([0, 0, 0, 0, 0]);
      const velocity = cpu.upload([2e-38, 4, Number.NaN, Infinity, -2e-38]);
      cpu.fused(sgdCall([parameter, gradient, velocity], { lr: 0.5, momentum: 0.5 }));
      expect([...cpu.readSync(velocity)]).toEqual([0, 2, Number.NaN, Infinity, 0]);
      expect([...cpu.readSync(parameter)]).toEqual([1, 0, Number.NaN, -Infinity, 1]);
    });
  });
});
