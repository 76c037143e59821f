import { expect } from 'vitest';
import type { Backend } from '../src/backends/backend.js';
import { ReferenceBackend } from '../src/backends/reference.js';
import { backendOf, replaceBackend, startCpu } from '../src/backends/registry.js';
import { fail } from '../src/errors.js';
import { TapegradError } from '../src/index.js';
import { difference } from './close.js';

export { runSgd, sample, sampleTensor } from './samples.js';

/** The backend, if it is the implementation that the test is about: a fallback would be compared with itself. */
function atWork(implementation: string, backend: Backend): Backend {
  expect(backend.info().backend).toBe(implementation);
  return backend;
}

/** Where every row of the op table is compared with the reference, and in kernels-oracle.test.ts with mathematics. */
export const fallbackSteps: { readonly name: string; readonly start: () => Backend }[] = [
  ...(['wasm-relaxed-simd', 'wasm-simd'] as const).map((build) => ({
    name: build,
    start: () => atWork(build, startCpu({ build })),
  })),
  { name: 'reference instead of wasm', start: () => atWork('reference', startCpu({ obstacle: 'a test says so' })) },
];

/** Runs `body` with another implementation of the cpu. */
export async function withCpu<T>(backend: Backend, body: () => T | Promise<T>): Promise<T> {
  const own = backendOf('cpu');
  replaceBackend('cpu', backend);
  try {
    return await body();
  } finally {
    replaceBackend('cpu', own);
  }
}

/**
 * Puts a device without `readSync` in the place of the GPU: its values arrive later, as those of a real GPU do, and its kernels
 * are those of the reference.
 */
export function startLateDevice(): void {
  const backend: Backend = new ReferenceBackend('gpu', 'a test needs values that arrive later');
  const read = backend.readSync!.bind(backend);
  const unreadable = (op: string): never =>
    fail(op, "the host cannot read without waiting from 'gpu'", 'await x.data()');
  replaceBackend('gpu', Object.assign(backend, { readSync: undefined, read: async (x: never) => read(x), unreadable }));
}

/** Requires numbers to be close; see `difference`. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, rtol = 1e-5, atol = 1e-6): void {
  const wrong = difference(actual, expected, rtol, atol);
  if (wrong !== null) expect.fail(wrong);
}

/** The TapegradError that `fn` throws. */
export async function errorOf(fn: () => unknown): Promise<TapegradError> {
  try {
    await fn();
  } catch (error) {
    expect(error).toBeInstanceOf(TapegradError);
    return error as TapegradError;
  }
  return expect.fail('nothing was thrown');
}

/** The distance of a float32 from an exact value, in units of the last place. */
export function ulps(actual: number, exact: number): number {
  const nearest = Math.fround(exact);
  if (Object.is(actual, nearest) || actual === nearest) return 0;
  if (!Number.isFinite(actual) || !Number.isFinite(exact)) {
    // Within the last step below the largest float32, rounding to Infinity is one step.
    return Number.isNaN(actual) || Number.isNaN(exact)
      ? Infinity
      : Math.abs(actual) >= 3.4028234e38 && Math.abs(exact) >= 3.4028234e38
        ? 1
        : Infinity;
  }
  const unit = Math.max(2 ** -149, 2 ** (Math.floor(Math.log2(Math.abs(nearest) || 2 ** -149)) - 23));
  return Math.abs(actual - exact) / unit;
}
