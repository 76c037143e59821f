import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { nn, optim, type Tensor, tensor } from '../src/index.js';
import { expectClose } from './helpers.js';

// Written by test/golden/pytorch.py with PyTorch; the version stands in the file.

interface Packed {
  shape: number[];
  values: number[];
}
interface Case {
  name: string;
  arguments: { dim?: number | number[]; keepdim?: boolean; reduction?: 'mean' | 'sum' | 'none' };
  inputs: Packed[];
  output: Packed;
  gradients: (Packed | null)[];
}
interface Trajectory {
  name: string;
  options: optim.SGDOptions;
  inputs: Packed;
  labels: Packed;
  start: Record<string, Packed>;
  losses: number[];
  end: Record<string, Packed>;
}
const golden = JSON.parse(readFileSync(new URL('golden/pytorch.json', import.meta.url), 'utf8')) as {
  torch: string;
  cases: Case[];
  trajectories: Trajectory[];
};

const unpack = ({ shape, values }: Packed, requiresGrad = false) =>
  tensor(Float64Array.from(values), { shape, requiresGrad });

type Call = (...inputs: Tensor[]) => Tensor;
function callOf({ name, arguments: { dim, keepdim, reduction } }: Case): Call {
  if (name in nn.functional && !['relu', 'sigmoid', 'tanh', 'softmax', 'logSoftmax'].includes(name)) {
    const loss = nn.functional[name as 'mseLoss'] as (...args: unknown[]) => Tensor;
    return (...t) => loss(...t, ...(reduction ? [{ reduction }] : []));
  }
  if (dim !== undefined) return (x) => x[name as 'sum'](dim, ...(keepdim === undefined ? [] : [keepdim]));
  return (x, other) => x[name as 'add'](other);
}

describe(`PyTorch ${golden.torch}`, () => {
  it.each(
    golden.cases.map((c, i) => [`${c.name} ${JSON.stringify(c.arguments)} (${i})`, c] as const),
  )('%s: values and gradients', (_, c) => {
    const inputs = c.inputs.map((p, i) => unpack(p, c.gradients[i] !== null));
    const out = callOf(c)(...inputs);
    expect(out.shape).toEqual(c.output.shape);
    expectClose(out.dataSync(), c.output.values, 1e-5, 1e-6);
    const n = out.size;
    const weights = Float64Array.from({ length: n }, (_, i) => (n === 1 ? 0.5 : 0.5 + i / (n - 1)));
    out.backward(tensor(weights, { shape: out.shape }));
    c.gradients.forEach((g, i) => {
      if (g === null) return;
      expect(inputs[i].grad!.shape).toEqual(g.shape);
      expectClose(inputs[i].grad!.dataSync(), g.values, 1e-5, 1e-6);
    });
  });

  it.each(golden.trajectories.map((t) => [t.name, t] as const))('trains the same way with SGD: %s', (_, t) => {
    const model = new nn.Sequential(new nn.Linear(6, 5), new nn.Tanh(), new nn.Linear(5, 3));
    model.loadStateDict(Object.fromEntries(Object.entries(t.start).map(([k, v]) => [k, unpack(v)])));
    const optimizer = new optim.SGD(model.parameters(), t.options);
    const [x, y] = [unpack(t.inputs), unpack(t.labels)];
    for (const expected of t.losses) {
      const loss = nn.functional.crossEntropy(model.forward(x), y);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      expectClose([loss.itemSync()], [expected], 1e-5, 0);
    }
    for (const [key, value] of Object.entries(t.end))
      expectClose(model.stateDict()[key].dataSync(), value.values, 1e-5, 1e-6);
  });
});
