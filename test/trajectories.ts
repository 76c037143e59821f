import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { optim, type Tensor, tensor } from '../src/index.js';

// Trajectories that test/golden/optim.py wrote with PyTorch in float64; the version stands in the file.

export interface Case {
  name: 'Adam' | 'AdamW' | 'RMSprop' | 'Adagrad';
  options: object;
  group: object | null;
  trajectory: number[][];
  state: Record<string, { shape: number[]; values: number[] }>;
}
interface Schedule {
  name: string;
  groups: number[];
  optimizer: 'SGD' | 'Adam';
  options: { momentum?: number };
  metrics: (number | string)[] | null;
  byHand: Record<number, number> | null;
  rates: number[][];
  momenta: number[][];
}
export const golden = JSON.parse(readFileSync(new URL('golden/optim.json', import.meta.url), 'utf8')) as {
  torch: string;
  shapes: number[][];
  start: number[][];
  gradients: (number[] | null)[][];
  optimizers: Case[];
  schedulers: Schedule[];
  average: { decay: number; values: number[][]; averages: number[][] };
};

export const nameOf = (c: Case): string => `${c.name} ${JSON.stringify([c.options, c.group])}`;

/** Requires numbers within 3e-5 of the largest. */
export function expectGolden(actual: ArrayLike<number>, expected: readonly number[], what: string): void {
  expect(actual.length, what).toBe(expected.length);
  const bound = 3e-5 * Math.max(...expected.map(Math.abs));
  expected.forEach((e, i) => {
    if (!(Math.abs(actual[i] - e) <= bound)) expect.fail(`${what}: ${actual[i]} instead of ${e} at ${i}`);
  });
}

/** The parameters and the optimizer of a case. */
export function setUp({ name, options, group }: Case, device: 'cpu' | 'gpu' | 'reference') {
  const parameters = golden.shapes.map((shape, i) =>
    tensor(Float64Array.from(golden.start[i]), { shape, requiresGrad: true, device }),
  );
  const [first, ...rest] = parameters;
  const groups = [{ params: [first] }, { params: rest, ...group }];
  const make = optim[name] as new (params: unknown, options: object) => optim.AnyOptimizer;
  return { parameters, optimizer: new make(group === null ? parameters : groups, options) };
}

/** Gives the parameters their gradients of a step. */
export function give(parameters: readonly Tensor[], step: number): void {
  parameters.forEach((p, i) => {
    const g = golden.gradients[step][i];
    p.grad = g === null ? null : tensor(Float64Array.from(g), { shape: p.shape, device: p.device });
  });
}
