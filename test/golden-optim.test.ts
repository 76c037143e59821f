import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { optim, type Tensor, tensor } from '../src/index.js';

// Trajectories that test/golden/optim.py wrote with PyTorch in float64; the version stands in the file.

interface Case {
  name: 'Adam' | 'AdamW' | 'RMSprop' | 'Adagrad';
  options: object;
  group: object | null;
  trajectory: number[][];
  state: Record<string, { shape: number[]; values: number[] }>;
}
const golden = JSON.parse(readFileSync(new URL('golden/optim.json', import.meta.url), 'utf8')) as {
  torch: string;
  shapes: number[][];
  start: number[][];
  gradients: (number[] | null)[][];
  optimizers: Case[];
};

/** Requires numbers within 3e-5 of the largest. */
function expectGolden(actual: ArrayLike<number>, expected: readonly number[], what: string): void {
  expect(actual.length, what).toBe(expected.length);
  const bound = 3e-5 * Math.max(...expected.map(Math.abs));
  expected.forEach((e, i) => {
    if (!(Math.abs(actual[i] - e) <= bound)) expect.fail(`${what}: ${actual[i]} instead of ${e} at ${i}`);
  });
}

function setUp({ name, options, group }: Case, device: 'cpu' | 'reference') {
  const parameters = golden.shapes.map((shape, i) =>
    tensor(Float64Array.from(golden.start[i]), { shape, requiresGrad: true, device }),
  );
  const [first, ...rest] = parameters;
  const groups = [{ params: [first] }, { params: rest, ...group }];
  const make = optim[name] as new (params: unknown, options: object) => optim.AnyOptimizer;
  return { parameters, optimizer: new make(group === null ? parameters : groups, options) };
}

function give(parameters: readonly Tensor[], step: number): void {
  parameters.forEach((p, i) => {
    const g = golden.gradients[step][i];
    p.grad = g === null ? null : tensor(Float64Array.from(g), { shape: p.shape, device: p.device });
  });
}

describe(`optimizers as in PyTorch ${golden.torch}`, () => {
  for (const device of ['cpu', 'reference'] as const) {
    it.each(
      golden.optimizers.map((c) => [`${c.name} ${JSON.stringify([c.options, c.group])}`, c] as const),
    )(`%s on ${device}`, (_, c) => {
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
  it.each(
    golden.optimizers.map((c) => [`${c.name} ${JSON.stringify([c.options, c.group])}`, c] as const),
  )('%s goes on from a state of PyTorch', (_, c) => {
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
