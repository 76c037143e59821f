import { afterEach, describe, expect } from 'vitest';
import { compile, manualSeed, nn, optim, randn, type Tensor, tensor, useDevice } from '../../src/index.js';
import { expectGolden, give, golden, nameOf, setUp } from '../trajectories.js';
import { onGpu } from './device.js';

afterEach(() => useDevice('cpu'));

const bits = async (x: Tensor) => [...new Uint32Array((await x.data()).buffer)];
const all = (tensors: readonly Tensor[]) => Promise.all(tensors.map(bits));

describe('adaptive optimizers on the GPU', () => {
  onGpu('follow PyTorch, with every option', async () => {
    await useDevice('gpu');
    for (const c of golden.optimizers) {
      const { parameters, optimizer } = setUp(c, 'gpu');
      for (let step = 0; step < c.trajectory.length; step++) {
        give(parameters, step);
        optimizer.step();
      }
      let at = 0;
      for (const [i, p] of parameters.entries()) {
        expectGolden(await p.data(), c.trajectory.at(-1)!.slice(at, at + p.size), `${nameOf(c)}: parameter ${i}`);
        at += p.size;
      }
      const state = optimizer.stateDict();
      for (const [key, { shape, values }] of Object.entries(c.state)) {
        expect(state[key].shape).toEqual(shape);
        expectGolden(await state[key].data(), values, `${nameOf(c)}: ${key}`);
      }
    }
  });
  onGpu('change and count nothing in a step that a guard refuses', async () => {
    await useDevice('gpu');
    for (const c of golden.optimizers) {
      const [guarded, plain] = [setUp(c, 'gpu'), setUp(c, 'gpu')];
      for (const [i, verdict] of [Number.NaN, 0, Infinity, 0, 0, null].entries()) {
        give(guarded.parameters, i);
        give(plain.parameters, i);
        // The first refused step makes states of zeros.
        const now = async () => [
          ...(await all(guarded.parameters)),
          ...(i === 0 ? [] : await all(Object.values(guarded.optimizer.stateDict()))),
        ];
        const before = await now();
        guarded.optimizer.step(verdict === null ? {} : { guard: tensor(verdict) });
        if (verdict === null || verdict === 0) plain.optimizer.step();
        else expect(await now()).toEqual(before);
        expect(await all(guarded.parameters), `${nameOf(c)}, turn ${i}`).toEqual(await all(plain.parameters));
      }
    }
  });
});

describe('a compiled step', () => {
  const optimizers: [string, (model: nn.Module) => optim.AnyOptimizer][] = [
    ['Adam', (m) => new optim.Adam(m.parameters(), { lr: 0.05, amsgrad: true })],
    ['AdamW', (m) => new optim.AdamW(m.parameters(), { lr: 0.05 })],
    ['RMSprop', (m) => new optim.RMSprop(m.parameters(), { lr: 0.01, momentum: 0.9, centered: true })],
    ['Adagrad', (m) => new optim.Adagrad(m.parameters(), { lr: 0.1, lrDecay: 0.1 })],
  ];
  onGpu('goes on counting while it is replayed, but for steps that its guard refuses', async () => {
    await useDevice('gpu');
    for (const [name, make] of optimizers) {
      const program = async (wrap: boolean) => {
        manualSeed(3);
        const model = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 2));
        const optimizer = make(model);
        const step = (x: Tensor) => {
          const loss = model.forward(x).sub(1).pow(2).mean();
          loss.backward();
          optimizer.step({ guard: optim.finiteGuard([loss]) });
          optimizer.zeroGrad();
          return loss;
        };
        const run = wrap ? compile(step) : step;
        for (let i = 0; i < 8; i++) {
          const x = randn([5, 3]);
          await run(i === 0 || i === 5 ? x.mul(Number.NaN) : x).item();
        }
        const state = optimizer.stateDict();
        return {
          parameters: await all(model.parameters()),
          step: 'step.0' in state ? await state['step.0'].item() : null,
          replays: wrap ? (run as { replays?: number }).replays : 6,
        };
      };
      const eager = await program(false);
      expect(await program(true), name).toEqual(eager);
      expect(eager.step).toBe(name === 'RMSprop' ? null : 6);
    }
  });
  onGpu('shares its count with the CPU when the model moves', async () => {
    const run = async (devices: readonly ('cpu' | 'gpu')[]) => {
      await useDevice('cpu');
      manualSeed(5);
      const model = new nn.Linear(3, 2);
      const optimizer = new optim.AdamW(model.parameters(), { lr: 0.1 });
      const data = devices.map(() => randn([4, 3]));
      for (const [i, device] of devices.entries()) {
        await useDevice(device);
        optimizer.zeroGrad();
        model.to(device);
        model.forward(data[i].to(device)).pow(2).mean().backward();
        optimizer.step();
      }
      expect(await optimizer.stateDict()['step.0'].item()).toBe(devices.length);
      return [...(await model.weight.data())];
    };
    const onCpu = await run(['cpu', 'cpu', 'cpu', 'cpu', 'cpu', 'cpu']);
    expectGolden(await run(['cpu', 'cpu', 'gpu', 'gpu', 'cpu', 'gpu']), onCpu, 'the weight');
  });
});
