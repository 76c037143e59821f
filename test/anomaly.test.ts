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
  it('gives the shapes with every error', async () => {
    const backward = await errorOf(() => detectAnomaly(() => leaf([0, 1]).log().exp().sum().backward()));
    expect(backward.shapes).toEqual([[2]]);
    const forward = await errorOf(() => detectAnomaly(() => leaf([-1, 1]).log().sum().backward()));
    expect(forward.shapes).toEqual([[2]]);
    const seed = await errorOf(() => detectAnomaly(() => tensor(Number.NaN, { requiresGrad: true }).backward()));
    expect(seed.shapes).toEqual([]);
    expect(seed.message).toContain('check the inputs, and run the forward pass inside detectAnomaly as well');
  });
  it('lets an infinite loss pass, and infinite gradients', () => {
    const x = leaf([0, 4]);
    detectAnomaly(() => x.log().sum().backward());
    expect(x.grad!.toArraySync()).toEqual([Infinity, 0.25]);
  });
  it('counts NaN above Infinity where a result has both', async () => {
    const x = leaf([0, -1]);
    const error = await errorOf(() => detectAnomaly(() => x.log().mul(0).sum().backward()));
    expect(error.message).toContain('the forward of log, shapes [2], was the first to produce NaN');
  });
  it('does not blame steps whose forward was finite', async () => {
    const x = leaf([0, 4]);
    const error = await errorOf(() => detectAnomaly(() => x.mul(0).sqrt().sum().backward()));
    expect(error.message).toBe(
      "[backward] the backward of mul produced NaN for input 0 of its shapes [2] []; look at the inputs of that call, whose stack is in the error's cause",
    );
  });
  it('looks at gradients that somebody needs, and names the input', async () => {
    const x = leaf([0, 4]);
    const error = await errorOf(
      () =>
      detectAnomaly(() => tensor([1, 1]).mul(x.mul(0).sqrt()).mul(tensor([0, 0])).sum().backward()), // biome-ignore format: one line
    );
    expect(error.message).toContain('the backward of sqrt produced NaN for input 0');
    const second = await errorOf(() =>
      detectAnomaly(() =>
        tensor([0, 0])
          .mul(leaf([Infinity, 1]))
          .sum()
          .backward(),
      ),
    );
    expect(second.message).toContain('was the first to produce NaN');
  });
  it('records calls from deep within a program, and leaves the limit of stacks as it was', async () => {
    const limit = Error.stackTraceLimit;
    const x = leaf([0]);
    const deep = (n: number): ReturnType<typeof leaf> => (n === 0 ? x.log() : deep(n - 1));
    const theProgram = () => deep(15);
    const error = await errorOf(() => detectAnomaly(() => theProgram().exp().sum().backward()));
    expect((error.cause as Error).stack).toContain('theProgram');
    expect((error.cause as Error).message).toBe('the forward call of log, shapes [1]');
    expect(Error.stackTraceLimit).toBe(limit);
  });
});
