import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  compile,
  manualSeed,
  memory,
  nn,
  noGrad,
  optim,
  randn,
  type Tensor,
  tensor,
  useDevice,
} from '../../src/index.js';
import { errorOf } from '../helpers.js';
import { onGpu } from './device.js';

afterEach(async () => {
  vi.restoreAllMocks();
  await useDevice('cpu');
});

type Step = (x: Tensor, y: Tensor) => Tensor;
type Wrap = (step: Step) => Step & { recordings?: number; replays?: number };

/** A layer that does something else in training. */
class Doubling extends nn.Module {
  override forward(x: Tensor): Tensor {
    return this.training ? x.mul(2) : x;
  }
}

/** A model with an optimizer that may be exchanged, and its step. */
class Program {
  readonly first = new nn.Linear(4, 6);
  readonly last = new nn.Linear(6, 3);
  readonly model = new nn.Sequential(this.first, new nn.Tanh(), new Doubling(), this.last);
  optimizer: optim.SGD;

  constructor(options: optim.SGDOptions = { lr: 0.1, momentum: 0.9 }) {
    this.optimizer = new optim.SGD(this.model.parameters(), options);
  }

  readonly step: Step = (x, y) => {
    const loss = nn.functional.crossEntropy(this.model.forward(x), y);
    loss.backward();
    this.optimizer.step();
    this.optimizer.zeroGrad();
    return loss;
  };

  readonly zeroGradFirst: Step = (x, y) => {
    this.optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(this.model.forward(x), y);
    loss.backward();
    this.optimizer.step();
    return loss;
  };

  /** The numbers of the parameters, or of their gradients. */
  async numbers(which: (p: Tensor) => Tensor | null = (p) => p): Promise<number[][]> {
    const tensors = this.model.parameters().map(which);
    return Promise.all(tensors.map(async (t) => (t === null ? [] : [...(await t.data())])));
  }
}

const gradients = (p: Tensor) => p.grad;

const batch = (rows = 5): [Tensor, Tensor] => [randn([rows, 4]), tensor(Array.from({ length: rows }, (_, i) => i % 3))];

const plain: Wrap = (step) => step;

/** Runs a program with compile and without it, and compares what it tells. */
async function compare(program: (wrap: Wrap) => Promise<unknown>): Promise<void> {
  await useDevice('gpu');
  manualSeed(11);
  const expected = await program(plain);
  await useDevice('gpu');
  manualSeed(11);
  expect(await program(compile)).toEqual(expected);
}

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
      for (let i = 0; i < 3; i++) await run(step);
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
  onGpu('do not pile up', async () => {
    await useDevice('gpu');
    const step = compile(new Program().zeroGradFirst);
    const [x, y] = batch();
    const blocks = async (n: number) => {
      for (let i = 0; i < n; i++) await step(x, y).item();
      await new Promise((resolve) => setTimeout(resolve, 20));
      return memory('gpu').blocks;
    };
    const before = await blocks(10);
    // The losses wait for a collection of garbage.
    expect((await blocks(100)) - before).toBeLessThan(150);
  });
});

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
    expect(warn.mock.calls).toEqual([[expect.stringContaining('draws random numbers; to have it replayed')]]);
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
  it('checks options that are assigned to an optimizer', async () => {
    const { optimizer, last } = new Program();
    const group = optimizer.options;
    optimizer.options = { lr: 0.3 };
    expect(optimizer.options).toBe(group);
    expect(group).toMatchObject({ lr: 0.3, momentum: 0 });
    expect(group.params).toHaveLength(4);
    const error = await errorOf(() => {
      optimizer.options = { lr: -1 };
    });
    expect(error.message).toContain('SGD.options');
    expect(group.lr).toBe(0.3);
    optimizer.addParamGroup({ params: [new nn.Parameter(last.weight.detach())] });
    expect((await errorOf(() => Object.assign(optimizer, { options: { lr: 1 } }))).message).toContain('2 groups');
  });
});
