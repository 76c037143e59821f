import { describe, expect, it } from 'vitest';
import { tensor } from '../src/index.js';
import { expectGolden, give, golden, nameOf, setUp } from './trajectories.js';

describe(`optimizers as in PyTorch ${golden.torch}`, () => {
  for (const device of ['cpu', 'reference'] as const) {
    it.each(golden.optimizers.map((c) => [nameOf(c), c] as const))(`%s on ${device}`, (_, c) => {
      const { parameters, optimizer } = setUp(c, device);
      c.trajectory.forEach((expected, step) => {
        give(parameters, step);
        optimizer.step();
        let at = 0;
        for (const [i, p] of parameters.entries()) {
          expectGolden(p.dataSync(), expected.slice(at, at + p.size), `parameter ${i} after step ${step}`);
          at += p.size;
        }
      });
      const { paramGroups, ...state } = optimizer.stateDict();
      expect(paramGroups.ndim).toBe(1);
      expect(Object.keys(state).sort()).toEqual(Object.keys(c.state).sort());
      for (const [key, { shape, values }] of Object.entries(c.state)) {
        expect(state[key].shape, key).toEqual(shape);
        expectGolden(state[key].dataSync(), values, key);
      }
    });
  }
  it.each(golden.optimizers.map((c) => [nameOf(c), c] as const))('%s goes on from a state of PyTorch', (_, c) => {
    const { parameters, optimizer } = setUp(c, 'cpu');
    const state = Object.entries(c.state).map(([key, { shape, values }]) => [
      key,
      tensor(Float64Array.from(values), { shape }),
    ]);
    const { paramGroups } = optimizer.stateDict();
    optimizer.loadStateDict({ ...Object.fromEntries(state), paramGroups });
    const other = setUp(c, 'cpu');
    golden.gradients.forEach((_, step) => {
      give(other.parameters, step);
      other.optimizer.step();
    });
    other.parameters.forEach((p, i) => void parameters[i].backend.write(parameters[i].storage, p.dataSync()));
    for (const { parameters: ps, optimizer: o } of [{ parameters, optimizer }, other]) {
      give(ps, 1);
      o.step();
    }
    parameters.forEach((p, i) => {
      expectGolden(p.dataSync(), [...other.parameters[i].dataSync()], `parameter ${i}`);
    });
  });
});
