import { afterEach, describe, expect, vi } from 'vitest';
import { compile, noGrad, randn, type Tensor, useDevice } from '../../src/index.js';
import { onGpu } from './device.js';
import { batch, compare, gradients, Program } from './program.js';

afterEach(async () => {
  vi.restoreAllMocks();
  await useDevice('cpu');
});

// What is run as it is, or is close to it.

describe('compile', () => {
  onGpu('runs a step with random numbers as it is, and says so once', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    await compare(async (wrap) => {
      const program = new Program({ lr: 0.1 });
      const { optimizer } = program;
      const step = wrap((x, y) => program.zeroGradFirst(x.add(randn(x.shape)), y));
      const seen: number[] = [await step(...batch()).item()];
      optimizer.options = { lr: 0.1, momentum: 0.9, dampening: 0.5 };
      for (let i = 0; i < 3; i++) seen.push(await step(...batch()).item());
      const late = wrap((x, y) => {
        const loss = program.zeroGradFirst(x, y);
        randn([2], { device: 'cpu' });
        return loss;
      });
      for (let i = 0; i < 3; i++) seen.push(await late(...batch()).item());
      if (wrap === compile) expect([step.recordings, step.replays, late.recordings]).toEqual([0, 0, 0]);
      return [seen, await program.numbers(), await program.numbers(gradients)];
    });
    expect(warn.mock.calls).toEqual([
      [expect.stringContaining('draws random numbers on the host; to have it replayed')],
    ]);
  });
  onGpu('says that more than eight combinations of shapes are used in turn', async () => {
    await useDevice('gpu');
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const shapes = (n: number, rounds: number) => {
      const double = compile((x: Tensor) => x.mul(2));
      for (let i = 0; i < rounds * n; i++) double(randn([1 + (i % n)]));
      return double.replays;
    };
    expect(shapes(8, 4)).toBe(16);
    expect(shapes(12, 1)).toBe(0);
    const often = compile((x: Tensor) => x.mul(2));
    for (let i = 0; i < 240; i++) often(randn([i % 15 === 0 ? 2 + i : 1]));
    expect(often.replays).toBe(222);
    expect(warn).not.toHaveBeenCalled();
    expect(shapes(9, 3)).toBe(0);
    expect(warn.mock.calls).toEqual([[expect.stringContaining('more than 8 combinations of input shapes')]]);
  });
  onGpu('tells calls in noGrad from others, and takes a compiled step in a step for a part of it', async () => {
    await compare(async (wrap) => {
      const { model, step } = new Program();
      const inner = wrap(step);
      const outer = wrap((x, y) => inner(x, y).mul(2));
      const scaled = wrap((x) =>
        model
          .forward(x)
          .mul(model.forward(x).requiresGrad ? 2 : 3)
          .sum(),
      );
      const seen: Tensor[] = [];
      for (let i = 0; i < 4; i++) {
        const [x, y] = batch();
        seen.push(
          inner(x, y),
          outer(x, y),
          scaled(x, y),
          noGrad(() => scaled(x, y)),
        );
      }
      return Promise.all(seen.map((t) => t.item()));
    });
  });
  onGpu('pauses where every call would be recorded, and says so', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    await compare(async (wrap) => {
      const program = new Program();
      const step = wrap(program.step);
      const seen: Tensor[] = [];
      const counts: unknown[] = [];
      const run = async (calls: number, change: () => void) => {
        for (let i = 0; i < calls; i++) {
          change();
          seen.push(step(...batch()));
        }
        counts.push([step.recordings, step.replays]);
      };
      const decay = () => {
        program.optimizer.options.lr *= 0.99;
      };
      await run(8, decay);
      expect(warn).not.toHaveBeenCalled();
      await run(12, decay);
      await run(65, () => {});
      for (let i = 0; i < 9; i++) {
        decay();
        await run(3, () => {}); // is worth its recording
      }
      if (wrap === compile) {
        expect(counts.slice(0, 3)).toEqual([
          [7, 0],
          [8, 0],
          [9, 11],
        ]);
        expect(counts.at(-1)).toEqual([18, 29]);
      }
      return Promise.all(seen.map((loss) => loss.item()));
    });
    expect(warn.mock.calls).toEqual([[expect.stringContaining('changes in every call')]]);
  });
  onGpu('follows gradients of tensors that the step makes', async () => {
    await compare(async (wrap) => {
      const { model } = new Program();
      const saliency = wrap((x) => {
        const leaf = x.detach();
        leaf.requiresGrad = true;
        model.forward(leaf).sum().backward();
        model.zeroGrad();
        return leaf.grad!.abs();
      });
      const seen: Tensor[] = [];
      for (let i = 0; i < 4; i++) seen.push(saliency(...batch()));
      if (wrap === compile) expect([saliency.recordings, saliency.replays]).toEqual([1, 2]);
      return Promise.all(seen.map(async (t) => [...(await t.data())]));
    });
  });
});
