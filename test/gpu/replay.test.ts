import { afterEach, describe, expect } from 'vitest';
import type { GpuStorage } from '../../src/backends/gpu/storage.js';
import { compile, memory, nn, noGrad, optim, randn, type Tensor, tensor, useDevice } from '../../src/index.js';
import { errorOf } from '../helpers.js';
import { onGpu } from './device.js';
import { batch, compare, gradients, Program, type Step } from './program.js';

afterEach(() => useDevice('cpu'));

/** What may happen between two calls. */
const changes: Record<string, (p: Program) => unknown> = {
  'a learning rate': ({ optimizer }) => {
    optimizer.paramGroups[0].lr = 0.3;
  },
  options: ({ optimizer: o }) => {
    o.options = { ...o.options, momentum: 0.5, nesterov: true };
  },
  'a model that was moved': async ({ model }) => {
    await useDevice('cpu');
    model.to('cpu');
    noGrad(() => model.parameters()[0].copyFrom(tensor([1, 2, 3, 4])));
    await useDevice('gpu');
    model.to('gpu');
  },
  'an optimizer that stepped on the cpu': async ({ model, step }) => {
    await useDevice('cpu');
    model.to('cpu');
    step(tensor([[1, 2, 3, 4]]), tensor([2]));
    await useDevice('gpu');
    model.to('gpu');
  },
  "a model's state": ({ model }) => {
    const state = Object.entries(model.stateDict()).map(([name, t]) => [name, t.mul(0.5)]);
    model.loadStateDict(Object.fromEntries(state));
  },
  "an optimizer's state": ({ optimizer }) => {
    const state = optimizer.stateDict();
    optimizer.loadStateDict({ ...state, 'velocity.0': state['velocity.0'].mul(-3) });
  },
  'another optimizer': (p) => {
    p.optimizer = new optim.SGD(p.model.parameters(), { lr: 0.5 });
  },
  'evaluation mode': ({ model }) => model.eval(),
  'frozen parameters': ({ first }) => first.setRequiresGrad(false),
  'another weight': ({ first, optimizer }) => {
    first.weight = new nn.Parameter(randn([6, 4]));
    optimizer.addParamGroup({ params: first.weight, lr: 0.7 });
  },
  'a weight that no optimizer has': ({ last }) => {
    last.weight = new nn.Parameter(randn([3, 6]));
    last.weight.requiresGrad = false;
  },
  'no bias': ({ last }) => {
    last.bias = null;
  },
};

/** How many recordings that leads to. State that a recorded step makes or moves leads to one more. */
const recordings: Record<string, number> = {
  "a model's state": 1,
  'an optimizer that stepped on the cpu': 3,
  'another weight': 3,
};

describe('a replay', () => {
  onGpu.each(Object.entries(changes))('follows %s', async (name, change) => {
    await compare(async (wrap) => {
      const program = new Program();
      const step = wrap(program.step);
      const seen: number[] = [];
      const run = async () => {
        for (let i = 0; i < 4; i++) seen.push(await step(...batch()).item());
      };
      await run();
      await change(program);
      await run();
      if (wrap === compile) expect(step.recordings).toBe(recordings[name] ?? 2);
      return [seen, await program.numbers()];
    });
  });
  onGpu('follows hooks, and parameters that are trained again', async () => {
    await compare(async (wrap) => {
      const program = new Program();
      program.first.setRequiresGrad(false);
      const step = wrap(program.step);
      const seen: number[] = [];
      const run = async () => {
        for (let i = 0; i < 3; i++) seen.push(await step(...batch()).item());
      };
      await run();
      const { first } = program;
      const handles = [0.5, 3].map((factor) =>
        first.registerForwardHook((_, __, output) => (output as Tensor).mul(factor)),
      );
      await run();
      for (const handle of handles) {
        handle.remove();
        await run();
      }
      first.setRequiresGrad();
      await run();
      first.weight.requiresGrad = false;
      await run();
      return [seen, await program.numbers()];
    });
  });
  onGpu('is not recorded anew where nothing changes', async () => {
    await useDevice('gpu');
    const { model, step } = new Program();
    const compiled = compile(step);
    for (let i = 0; i < 4; i++) {
      compiled(...batch());
      model.train();
      model.to('gpu');
      model.setRequiresGrad();
      tensor([1], { requiresGrad: true });
    }
    expect([compiled.recordings, compiled.replays]).toEqual([1, 2]);
  });
  onGpu('leaves an optimizer that can step anywhere, also when its recording was given up', async () => {
    await compare(async (wrap) => {
      const program = new Program({ lr: 0.1 });
      const { model, optimizer } = program;
      let broken = false;
      const step = wrap((x, y) => {
        const loss = program.step(x, y);
        if (broken) throw new Error('broken');
        return loss;
      });
      const seen: number[] = [];
      const run = async (how: Step) => seen.push(await how(...batch()).item());
      await run(step);
      // With dampening the first step is another one than those that follow.
      optimizer.options = { lr: 0.1, momentum: 0.9, dampening: 0.5 };
      if (wrap === compile) {
        broken = true;
        expect(() => step(...batch())).toThrow('broken');
        broken = false;
      } else batch();
      for (const how of [program.step, step, step, step, program.step]) await run(how);
      await useDevice('cpu');
      model.to('cpu');
      await run(program.step);
      return [seen.map((v) => v.toFixed(5)), Object.keys(optimizer.stateDict())];
    });
  });
});

describe('gradients after a compiled step', () => {
  onGpu('are those of the step', async () => {
    await compare(async (wrap) => {
      const program = new Program();
      const step = wrap(program.zeroGradFirst);
      const seen: unknown[] = [];
      const run = async (how: Step) => seen.push(await how(...batch()).item(), await program.numbers(gradients));
      for (let i = 0; i < 4; i++) await run(step);
      const kept = program.first.weight.grad!;
      const before = [...(await kept.data())];
      await run(program.zeroGradFirst);
      program.last.bias!.grad = tensor([7, 7, 7]); // the step forgets it
      await run(step);
      program.model.zeroGrad();
      await run(step);
      program.first.setRequiresGrad(false);
      program.model.zeroGrad();
      for (let i = 0; i < 2; i++) await run(step);
      program.first.bias!.grad = tensor([1, 2, 3, 4, 5, 6]); // this one, too
      await run(step);
      expect([...(await kept.data())]).toEqual(before);
      if (wrap === compile) expect([step.recordings, step.replays]).toEqual([2, 6]);
      return [seen, await program.numbers()];
    });
  });
  onGpu('can be used outside of it', async () => {
    await compare(async (wrap) => {
      const program = new Program();
      const { model, optimizer } = program;
      const step = wrap((x, y) => {
        const loss = nn.functional.crossEntropy(model.forward(x), y);
        loss.backward();
        return loss;
      });
      for (let i = 0; i < 5; i++) {
        step(...batch());
        nn.utils.clipGradNorm(model.parameters(), 0.1);
        optimizer.step();
        optimizer.zeroGrad();
      }
      if (wrap === compile) expect(step.replays).toBe(3);
      return program.numbers();
    });
  });
  onGpu('can be used by one of its own', async () => {
    await compare(async (wrap) => {
      const program = new Program();
      const { model, optimizer } = program;
      const step = wrap((x) => {
        optimizer.step();
        optimizer.zeroGrad();
        return x.sum();
      });
      for (let i = 0; i < 4; i++) {
        const [x, y] = batch();
        nn.functional.crossEntropy(model.forward(x), y).backward();
        step(x, y);
      }
      return program.numbers();
    });
  });
  onGpu('are not added to those of before, with and without a look at them', async () => {
    await useDevice('gpu');
    const { model, optimizer, step } = new Program();
    const compiled = compile((x: Tensor, y: Tensor) => {
      const loss = nn.functional.crossEntropy(model.forward(x), y);
      loss.backward();
      optimizer.step();
      return loss;
    });
    compiled(...batch());
    const refused = async () => {
      const before = model.parameters().map((p) => p.gradient);
      expect((await errorOf(() => compiled(...batch()))).message).toMatch(/adds to gradients.*zeroGrad\(\)/);
      expect(model.parameters().map((p) => p.gradient)).toEqual(before);
    };
    await refused();
    expect(await model.parameters()[0].grad!.data()).toHaveLength(24);
    await refused();
    for (let i = 0; i < 3; i++) {
      optimizer.zeroGrad();
      compiled(...batch());
    }
    expect(compiled.replays).toBe(2);
    await refused();
    step(...batch());
    compiled(...batch());
  });
  onGpu('are those of before when a recording is given up', async () => {
    await useDevice('gpu');
    const program = new Program();
    let broken = false;
    const update: Step = (x) => {
      program.optimizer.step();
      return x;
    };
    for (const part of [program.zeroGradFirst, update]) {
      const step = compile((x: Tensor, y: Tensor) => {
        const result = part(x, y);
        if (broken) throw new Error('broken');
        return result;
      });
      step(...batch());
      const before = program.model.parameters().map((p) => p.gradient!);
      const numbers = await program.numbers((p) => p.gradient);
      broken = true;
      expect(() => step(...batch())).toThrow('broken');
      broken = false;
      for (const [i, p] of program.model.parameters().entries()) expect(p.gradient).toBe(before[i]);
      expect(await program.numbers((p) => p.gradient)).toEqual(numbers);
      program.zeroGradFirst(...batch());
      for (const { storage } of before) expect((storage as GpuStorage).freed).toBe(true);
    }
  });
  onGpu('do not pile up', async () => {
    await useDevice('gpu');
    const program = new Program();
    const step = compile(program.zeroGradFirst);
    const [x, y] = batch();
    const blocks = async (n: number) => {
      for (let i = 0; i < n; i++) await step(x, y).item();
      await new Promise((resolve) => setTimeout(resolve, 20));
      return memory('gpu').blocks;
    };
    await blocks(1);
    for (let i = 0; i < 3; i++) {
      const { storage } = program.first.weight.gradient!;
      await blocks(1);
      expect((storage as GpuStorage).freed).toBe(true);
    }
    const before = await blocks(10);
    // The losses wait for a collection of garbage.
    expect((await blocks(100)) - before).toBeLessThan(150);
  });
});
