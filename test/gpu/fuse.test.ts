import { afterEach, describe, expect, vi } from 'vitest';
import type { GpuBackend } from '../../src/backends/gpu/index.js';
import { backendOf } from '../../src/backends/registry.js';
import { compile, randn, type Tensor, tensor, useDevice } from '../../src/index.js';
import { onGpu } from './device.js';

afterEach(async () => {
  vi.restoreAllMocks();
  await useDevice('cpu');
});

interface Inner {
  runtime: { device: { dispatch(...args: unknown[]): void } };
}

/** How many dispatches `fn` makes at once. */
function dispatches(fn: () => unknown): number {
  const { device } = (backendOf('gpu') as unknown as Inner).runtime;
  const spy = vi.spyOn(device, 'dispatch');
  fn();
  const count = spy.mock.calls.length;
  spy.mockRestore();
  return count;
}

/** Compiles a step and waits until its chains are fused: then each call is queued at once. */
async function fused(step: (...inputs: Tensor[]) => readonly Tensor[], inputs: readonly Tensor[]) {
  const compiled = compile(step);
  for (let i = 0; i < 3; i++) await Promise.all(compiled(...inputs).map((t) => t.data()));
  // The kernel is compiled meanwhile.
  for (let i = 0; i < 60 && runs() > 0; i++) await new Promise((resolve) => setTimeout(resolve, 20));
  return compiled;
}
let under = 0;
const runs = () => under;

/** Counts the kernels that are being run as parts of captures. */
function follow() {
  const backend = backendOf('gpu') as GpuBackend;
  const run = backend.runIn.bind(backend);
  let fusions = 0;
  vi.spyOn(backend, 'runIn').mockImplementation(async (...args) => {
    under++;
    fusions++;
    try {
      return await run(...args);
    } finally {
      under--;
    }
  });
  return () => fusions;
}

const numbers = (all: readonly Tensor[]) => Promise.all(all.map(async (t) => [...(await t.data())]));

describe('chains of element-wise kernels in compile', () => {
  onGpu('are one kernel with the same bits', async () => {
    await useDevice('gpu');
    const fusions = follow();
    const chain = (x: Tensor, y: Tensor) => [
      x.mul(y).add(x).tanh().mul(x).sub(y).relu().exp().sub(y).sigmoid().mul(x).gt(0.1).mul(x).div(y).abs().sqrt(),
    ];
    const inputs = [randn([37, 11]), randn([37, 11])];
    const expected = await numbers(chain(...(inputs as [Tensor, Tensor])));
    const compiled = await fused(chain as (...x: Tensor[]) => Tensor[], inputs);
    expect(fusions()).toBe(1);
    let results: readonly Tensor[] = [];
    // One for the chain, one for the number 0.1.
    expect(dispatches(() => (results = compiled(...inputs)))).toBe(2);
    expect(await numbers(results)).toEqual(expected);
    const others = [randn([37, 11]), randn([37, 11])];
    expect(await numbers(compiled(...others))).toEqual(await numbers(chain(...(others as [Tensor, Tensor]))));
  });
  onGpu('leave what is needed elsewhere, and other sizes, as they are', async () => {
    await useDevice('gpu');
    const fusions = follow();
    const steps = (x: Tensor, y: Tensor) => {
      const twice = x.exp().add(x); // a result, and read by two others
      const row = y.neg().abs(); // broadcast
      const one = y.sum().neg().exp(); // one number for all places
      const square = x.sigmoid().mul(x.sigmoid());
      return [twice, twice.mul(twice).neg(), x.add(row).tanh(), x.mul(one).neg(), square.mul(square)];
    };
    const inputs = [randn([6, 5]), randn([5])];
    const expected = await numbers(steps(...(inputs as [Tensor, Tensor])));
    const compiled = await fused(steps as (...x: Tensor[]) => Tensor[], inputs);
    expect(fusions()).toBeGreaterThan(2);
    for (let i = 0; i < 2; i++) expect(await numbers(compiled(...inputs))).toEqual(expected);
    expect(await numbers(compiled(inputs[0].mul(1), tensor([1, 2, 3, 4, 5])))).toEqual(
      await numbers(steps(inputs[0], tensor([1, 2, 3, 4, 5]))),
    );
  });
  onGpu('that do not compile stay as they are', async () => {
    await useDevice('gpu');
    const backend = backendOf('gpu') as GpuBackend;
    const broken = vi.spyOn(backend, 'runIn').mockRejectedValue(new Error('not now'));
    const chain = (x: Tensor) => [x.exp().neg().tanh()];
    const x = randn([50]);
    const compiled = compile(chain);
    for (let i = 0; i < 4; i++) expect(await numbers(compiled(x))).toEqual(await numbers(chain(x)));
    expect(broken).toHaveBeenCalledTimes(1);
    expect(compiled.replays).toBe(2);
  });
});
