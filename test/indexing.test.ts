import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cat, einsum, gradcheck, nn, outer, stack, type Tensor, tensor } from '../src/index.js';
import { expectClose } from './helpers.js';

// Joining, slicing, indexing and padding against PyTorch: golden/indexing.json is written by golden/indexing.py.

interface Packed {
  readonly shape: number[];
  readonly values: number[];
}
interface Case {
  readonly name: string;
  readonly args: never[];
  readonly inputs: Packed[];
  readonly outputs: Packed[];
  readonly gradients: (number[] | null)[];
}

const { cases } = JSON.parse(readFileSync(new URL('golden/indexing.json', import.meta.url), 'utf8')) as {
  cases: Case[];
};

type Call = (inputs: readonly Tensor[], args: never[]) => Tensor | Tensor[];
const functions: Record<string, Call> = {
  cat: (inputs, [dim]) => cat(inputs, dim),
  stack: (inputs, [dim]) => stack(inputs, dim),
  einsum: (inputs, [equation]) => einsum(equation, ...inputs),
  outer: ([a, b]) => outer(a, b),
  pad: ([x], [padding, options]) => nn.functional.pad(x, padding, options),
};
const methods = 'slice split chunk flatten repeat flip roll tril triu indexSelect gather scatterAdd'.split(' ');
for (const name of methods) {
  functions[name] = ([x, ...others], args) =>
    (x as unknown as Record<string, (...a: unknown[]) => Tensor>)[name](...args, ...others);
}

const run = ({ name, args }: Case, inputs: readonly Tensor[]) => [functions[name](inputs, args)].flat();

/** Within 3e-5 of the largest of all values. */
function expectNear(got: ArrayLike<number>, expected: readonly number[]): void {
  expectClose(got, expected, 0, 3e-5 * Math.max(1e-3, ...expected.map(Math.abs)));
}

describe.each(['cpu', 'reference'] as const)('on %s', (device) => {
  it.each(
    cases.map((c, i) => [i, c.name, JSON.stringify(c.args), c.inputs.map((x) => x.shape).join(' '), c] as const),
  )('%i: %s %s of %s is as in PyTorch, with gradients', (_i, _name, _args, _shapes, c) => {
    const inputs = c.inputs.map(({ shape, values }, i) =>
      tensor(Float32Array.from(values), { shape, device, requiresGrad: c.gradients[i] !== null }),
    );
    const outputs = run(c, inputs);
    expect(outputs.map((y) => y.shape)).toEqual(c.outputs.map((y) => y.shape));
    outputs.forEach((y, i) => {
      expectNear(y.dataSync(), c.outputs[i].values);
    });
    outputs
      .map((y) =>
        y
          .mul(
            tensor(
              Float32Array.from({ length: y.size }, (_, i) => Math.cos(1 + i)),
              { shape: y.shape, device },
            ),
          )
          .sum(),
      )
      .reduce((a, b) => a.add(b))
      .backward();
    inputs.forEach((x, i) => {
      const expected = c.gradients[i];
      // A list without numbers, which cat leaves out, gets no gradient; in PyTorch an empty one.
      if (expected !== null) expectNear(x.grad?.dataSync() ?? [], expected);
    });
  });
});

describe('derivatives', () => {
  const some = cases.filter((c) => [...c.inputs, ...c.outputs].every((x) => x.values.length > 0));
  // Every third case of each function is enough: rows have checks of their own.
  const chosen = some.filter((c) => some.filter((d) => d.name === c.name).indexOf(c) % 3 === 0);
  it.each(chosen.map((c) => [c.name, JSON.stringify(c.args), c] as const))(
    'of %s %s are right to the second',
    (_name, _args, c) => {
      const inputs = c.inputs.map(({ shape, values }, i) =>
        tensor(Float32Array.from(values), { shape, requiresGrad: c.gradients[i] !== null }),
      );
      const call = (...t: Tensor[]) => {
        const parts = run(
          c,
          t.map((x) => (x.requiresGrad ? x.mul(x) : x)),
        ).filter((y) => y.size > 0);
        return parts.map((y) => y.mul(y).sum()).reduce((a, b) => a.add(b));
      };
      expect(gradcheck(call, inputs, { secondOrder: true })).toBe(true);
    },
    20_000,
  );
});
