import { afterEach, beforeEach, describe, expect } from 'vitest';
import type { GpuBackend } from '../../src/backends/gpu/index.js';
import { backendOf } from '../../src/backends/registry.js';
import { noGrad, ones, tensor, useDevice } from '../../src/index.js';
import { onGpu } from './device.js';

// float32 counts to 2^24 only, a binding holds 128 MiB by default, and a dimension has 65,535 workgroups.

beforeEach(() => backendOrSkip());
afterEach(() => useDevice('cpu'));

/** Where there is no GPU, the tests are skipped after this. */
const backendOrSkip = () => useDevice('gpu').catch(() => {});

const N = 20_000_000;
/** Numbers that tell every index from its neighbours within 2^24 and more, all exact. */
const value = (i: number) => (i % 8191) - 4000;
const values = (n: number) => Float32Array.from({ length: n }, (_, i) => value(i));

/** Requires `expected(i)` of every number. */
function check(got: Float32Array, expected: (i: number) => number): void {
  let wrong = 0;
  let first = -1;
  for (let i = 0; i < got.length; i++) {
    if (got[i] === expected(i)) continue;
    if (wrong++ === 0) first = i;
  }
  expect(wrong, `element ${first} is ${got[first]}, expected ${expected(first)}`).toBe(0);
}

describe(`a tensor of ${N} numbers`, () => {
  onGpu('goes through element-wise ops, broadcasting, transposes and sums', () =>
    noGrad(async () => {
      const x = tensor(values(N), { shape: [4000, 5000] });
      check(await x.mul(2).data(), (i) => 2 * value(i));
      const row = tensor(values(5000));
      check(await x.add(row).data(), (i) => value(i) + value(i % 5000));
      // A transpose that has to be made in place: element [j, i] comes from [i, j].
      check(await x.t().reshape([N]).data(), (i) => value((i % 4000) * 5000 + Math.floor(i / 4000)));
      const sums = await x.sum(1).data();
      check(sums, (r) => {
        let sum = 0;
        for (let j = 0; j < 5000; j++) sum += value(r * 5000 + j);
        return sum;
      });
      expect(await x.max().item()).toBe(4190);
      const last = tensor(Float32Array.from({ length: 4000 }, () => 4999));
      check(await x.gather(1, last.reshape([-1, 1])).data(), (r) => value(r * 5000 + 4999));
    }),
  );
  onGpu('is an operand of products', () =>
    noGrad(async () => {
      const eye = tensor([
        [1, 0],
        [0, 1],
      ]);
      const tall = tensor(values(N), { shape: [N / 2, 2] });
      check(await tall.matmul(eye).data(), value);
      const wide = tensor(values(N), { shape: [2, N / 2] });
      check(await eye.matmul(wide).data(), value);
      const square = tensor(values(4472 * 4472), { shape: [4472, 4472] });
      const unit = tensor(
        Float32Array.from({ length: 4472 }, (_, i) => (i === 4471 ? 1 : 0)),
        { shape: [4472, 1] },
      );
      check(await square.matmul(unit).data(), (r) => value(r * 4472 + 4471));
      check(await square.t().matmul(unit).data(), (c) => value(4471 * 4472 + c));
    }),
  );
  onGpu('may be larger than the default binding of 128 MiB', () =>
    noGrad(async () => {
      const limit = (backendOf('gpu') as GpuBackend).largest;
      expect(limit).toBeGreaterThan(2 ** 27);
      const x = ones([2 ** 25 + 2 ** 20]);
      expect(x.size * 4).toBeGreaterThan(2 ** 27);
      expect(await x.add(1).sum().item()).toBe(2 * x.size);
    }),
  );
});
