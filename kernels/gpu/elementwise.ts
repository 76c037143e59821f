import { dot, type GpuKernel, gpuKernel, integers, once, position } from './source.js';

/** y = expression(x). */
export function unary(name: string, expression: string): GpuKernel {
  return once(`unary ${name} ${expression}`, () => ({
    ...gpuKernel(name, '', { input: 'Array' }, `const x = input[this.thread.x];\nreturn ${expression};`),
    pointwise: { expression, names: ['x'] },
  }));
}

/** y = expression(a, b) over a nest of `rank` loops with strides s for a and t for b. */
export function binary(name: string, expression: string, rank: number): GpuKernel {
  return once(`binary ${name} ${rank} ${expression}`, () => writeBinary(name, expression, rank));
}

function writeBinary(name: string, expression: string, rank: number): GpuKernel {
  const args = {
    left: 'Array',
    right: 'Array',
    ...integers('n', rank, 1),
    ...integers('s', rank),
    ...integers('t', rank),
  } as const;
  const body = `${position(rank)}
    const a = left[${dot('s', rank)}];
    const b = right[${dot('t', rank)}];
    return ${expression};`;
  const kernel = gpuKernel(name, `over ${rank} loops`, args, body);
  return rank === 1 ? { ...kernel, pointwise: { expression, names: ['a', 'b'] } } : kernel;
}

/** y = expression(a, b, c) of operands with all elements (a step of 1) or one for all (0). */
export function ternary(name: string, expression: string): GpuKernel {
  const args = { first: 'Array', second: 'Array', third: 'Array', ...integers('s', 3) } as const;
  const load = ['first', 'second', 'third'].map((x, i) => `const ${'abc'[i]} = ${x}[this.thread.x * s${i}];`);
  return gpuKernel(name, 'of three', args, `${load.join('\n')}\nreturn ${expression};`);
}

/** scale x. */
export const scale = gpuKernel(
  'mul',
  'by a number',
  { input: 'Array', factor: 'Number' },
  'return input[this.thread.x] * factor;',
);
