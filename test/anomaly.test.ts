import { describe, expect, it } from 'vitest';
import { detectAnomaly, tensor } from '../src/index.js';
import { errorOf } from './helpers.js';

const leaf = (values: number[]) => tensor(values, { requiresGrad: true });

function callOfLog(x: ReturnType<typeof leaf>) {
  return x.log();
}

describe('detectAnomaly', () => {
  it('names the operation whose backward gave NaN, and where it was called', async () => {
    const x = leaf([0, 4]);
    // sqrt(0) has an infinite derivative, and 0 times that is NaN.
    const error = await errorOf(() => detectAnomaly(() => x.mul(0).sqrt().sum().backward()));
    expect(error.message).toContain('[backward] the backward of mul produced NaN for input 0 of its shapes [2] []');
    expect(error.shapes).toEqual([[2], []]);
    expect((error.cause as Error).message).toContain('the forward call of mul');
    expect((error.cause as Error).stack).toContain('anomaly.test.ts');
    expect(x.grad).toBeNull();
  });
  it('names the first forward that gave NaN where the loss is NaN', async () => {
    const x = leaf([-1, 4]);
    const error = await errorOf(() => detectAnomaly(() => callOfLog(x).mul(2).sum().backward()));
    expect(error.message).toContain('the forward of log, shapes [2], was the first to produce NaN');
    expect((error.cause as Error).stack).toContain('callOfLog');
  });
  it('tells of an infinite forward on the way to a NaN', async () => {
    const x = leaf([0, 4]);
    const error = await errorOf(() => detectAnomaly(() => x.log().exp().sum().backward()));
    expect(error.message).toContain('the backward of log produced NaN');
    expect(error.message).toContain('the forward of log, shapes [2], produced Infinity');
  });
  it('says so if the forward pass ran outside', async () => {
    const loss = leaf([0]).log().exp().sum();
    const error = await errorOf(() => detectAnomaly(() => loss.backward()));
    expect(error.message).toContain('run the forward pass inside detectAnomaly as well');
    expect(error.cause).toBeUndefined();
    const nan = leaf([-1]).log().sum();
    expect((await errorOf(() => detectAnomaly(() => nan.backward()))).message).toContain(
      'the tensor of shape [] is NaN',
    );
  });
  it('lets what is finite pass, returns what the function returns, and ends with it', async () => {
    const x = leaf([2]);
    expect(detectAnomaly(() => x.log().sum().backward() ?? 7)).toBe(7);
    expect(x.grad!.itemSync()).toBe(0.5);
    const broken = () => leaf([0]).log().exp().sum().backward();
    broken();
    const error = await errorOf(() =>
      detectAnomaly(async () => {
        await new Promise((resolve) => setTimeout(resolve, 2));
        broken();
      }),
    );
    expect(error.message).toContain('the backward of log produced NaN');
    broken();
  });
  it('refuses devices that the host can only await, and what is no function', async () => {
    const x = leaf([1]);
    const backend = x.backend as { readSync?: unknown };
    backend.readSync = undefined; // as the GPU's
    try {
      const error = await errorOf(() => detectAnomaly(() => x.exp()));
      expect(error.message).toContain('[detectAnomaly] the tensor of shape [1] is on');
      expect(error.message).toContain("await useDevice('cpu')");
    } finally {
      delete backend.readSync;
    }
    expect((await errorOf(() => detectAnomaly(null as never))).message).toContain(
      '[detectAnomaly] the argument is null',
    );
  });
});
