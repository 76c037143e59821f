import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { nn, type Tensor, tensor } from '../src/index.js';

// Written by test/golden/layers.py with PyTorch in float64; the version stands in the file.

interface Packed {
  shape: number[];
  values: number[];
}
interface Call {
  training: boolean;
  inputs: Packed[];
  output: Packed;
  gradients: (Packed | null)[];
  parameterGradients: Record<string, Packed>;
}
interface Case {
  kind: 'module' | 'loss' | 'function';
  name: string;
  args: unknown[];
  state?: Record<string, Packed>;
  calls: Call[];
  end?: Record<string, Packed>;
}
const golden = JSON.parse(readFileSync(new URL('golden/layers.json', import.meta.url), 'utf8')) as {
  torch: string;
  cases: Case[];
};

const unpack = ({ shape, values }: Packed, requiresGrad = false) =>
  tensor(Float64Array.from(values), { shape, requiresGrad });

/** Arguments with their tensors. */
function argument(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  if ('tensor' in value) return unpack(value.tensor as Packed);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, argument(v)]));
}

/** Requires all numbers within 3e-5 of the largest one. */
function expectNear(actual: Tensor | null | undefined, expected: Packed, what: string): void {
  expect(actual?.shape, what).toEqual(expected.shape);
  const values = actual!.dataSync();
  const scale = Math.max(1e-3, ...expected.values.map(Math.abs));
  expected.values.forEach((v, i) => {
    if (!(Math.abs(values[i] - v) <= 3e-5 * scale)) expect.fail(`${what}: element ${i} is ${values[i]}, expected ${v}`);
  });
}

function check(call: Call, forward: (...inputs: Tensor[]) => Tensor, parameters: [string, Tensor][]): void {
  const inputs = call.inputs.map((p, i) => unpack(p, call.gradients[i] !== null));
  for (const [, p] of parameters) p.grad = null;
  const out = forward(...inputs);
  expectNear(out, call.output, 'output');
  if (call.gradients.every((g) => g === null) && Object.keys(call.parameterGradients).length === 0) return;
  const n = out.size;
  const weights = Float64Array.from({ length: n }, (_, i) => (n === 1 ? 0.5 : 0.5 + i / (n - 1)));
  out.backward(tensor(weights, { shape: out.shape }));
  call.gradients.forEach((g, i) => {
    if (g !== null) expectNear(inputs[i].grad, g, `gradient of input ${i}`);
  });
  for (const [name, p] of parameters) expectNear(p.grad, call.parameterGradients[name], `gradient of ${name}`);
}

describe(`PyTorch ${golden.torch}`, () => {
  it.each(
    golden.cases.map((c, i) => [`${c.name} ${JSON.stringify(c.args).slice(0, 100)} (${i})`, c] as const),
  )('%s', (_, c) => {
    const args = c.args.map(argument) as never[];
    if (c.kind === 'function') {
      const f = nn.functional[c.name as 'layerNorm'] as (...args: unknown[]) => Tensor;
      for (const call of c.calls) check(call, (...inputs) => f(...inputs, ...args), []);
      return;
    }
    const Class = nn[c.name as 'LayerNorm'] as unknown as new (...args: never[]) => nn.Module;
    const module = new Class(...args);
    const forward = (...inputs: Tensor[]) => (module.forward as (...inputs: Tensor[]) => Tensor)(...inputs);
    if (c.kind === 'loss') {
      for (const call of c.calls) check(call, forward, []);
      return;
    }
    const state = Object.fromEntries(Object.entries(c.state!).map(([key, value]) => [key, unpack(value)]));
    expect(Object.keys(module.stateDict())).toEqual(Object.keys(state));
    module.loadStateDict(state);
    for (const call of c.calls) {
      module.train(call.training);
      check(call, forward, module.namedParameters());
    }
    const end = module.stateDict();
    for (const [key, value] of Object.entries(c.end!)) expectNear(end[key], value, key);
  });
});
