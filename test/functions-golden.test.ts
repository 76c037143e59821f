import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { nn, type Tensor, tensor, where } from '../src/index.js';

// Against PyTorch in double precision: test/golden/functions.py.

interface Case {
  readonly name: string;
  readonly args: readonly unknown[] | null;
  readonly inputs: readonly { shape: number[]; values: (number | string)[] }[];
  readonly shape: readonly number[];
  readonly values: readonly (number | string)[];
  readonly gradients: readonly (number[] | null)[] | null;
}

const cases: Case[] = JSON.parse(readFileSync(new URL('golden/functions.json', import.meta.url), 'utf8'));
const numbers = (values: readonly (number | string)[]) =>
  Float32Array.from(values, (v) => (typeof v === 'number' ? v : Number(v.replace('inf', 'Infinity'))));

function call({ name, args }: Case, inputs: readonly Tensor[]): Tensor {
  const rest = args ?? [];
  const [x, ...others] = inputs;
  if (name === 'where') return where(tensor(rest[0] as number[]), x, others[0]);
  if (name === 'maskedFill') return x.maskedFill(tensor(rest[0] as number[]), rest[1] as number);
  if (name === 'clamp3') return x.clamp(others[0], others[1]);
  const functions = nn.functional as unknown as Record<string, (...rest: unknown[]) => Tensor>;
  if (name.startsWith('nn.')) return functions[name.slice(3)](x, ...rest);
  return (x as unknown as Record<string, (...rest: unknown[]) => Tensor>)[name](...others, ...rest);
}

/** Within 3e-5 of the largest value; what is not finite is the same. */
function expectGolden(got: Float32Array, expected: Float32Array): void {
  const scale = Math.max(...expected.filter(Number.isFinite).map(Math.abs), 1e-30);
  expect(got.length).toBe(expected.length);
  expected.forEach((e, i) => {
    if (Number.isFinite(e)) expect(Math.abs(got[i] - e), `element ${i}: ${got[i]} for ${e}`).toBeLessThan(3e-5 * scale);
    else expect(got[i], `element ${i}`).toBe(e);
  });
}

it.each(cases.map((c, i) => [c.name, i, JSON.stringify(c.args), c] as const))('%s, case %i, %s', (_n, _i, _a, c) => {
  for (const device of ['cpu', 'reference'] as const) {
    if (device === 'reference' && c.args?.some(Array.isArray)) continue; // its mask is on the CPU
    const requiresGrad = c.gradients !== null;
    const inputs = c.inputs.map(({ shape, values }) => tensor(numbers(values), { shape, requiresGrad, device }));
    const y = call(c, inputs);
    expect(y.shape).toEqual(c.shape);
    expectGolden(y.detach().dataSync(), numbers(c.values));
    if (c.gradients === null) continue;
    y.backward(
      tensor(
        Float32Array.from({ length: y.size }, (_, i) => (i + 1) / 4),
        { shape: y.shape, device },
      ),
    );
    c.gradients.forEach((g, i) => {
      if (g !== null) expectGolden(inputs[i].grad!.dataSync(), numbers(g));
    });
  }
});
