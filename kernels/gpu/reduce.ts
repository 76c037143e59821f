import { reduceInGroups } from './groups.js';
import { type GpuKernel, gpuKernel, integer, once } from './source.js';

// Reductions of the middle of [outer, length, inner]. A thread reduces one segment of `segment` numbers; what the segments gave is
// reduced in turn until one is left, so that long sums neither take one thread nor lose digits.

/** More than any position. */
export const NOWHERE = 3e9;

const segments = `${integer('q', 'divide(this.thread.x, inner)')}
  ${integer('o', 'divide(q, parts)')}
  ${integer('begin', '(q - o * parts) * segment')}
  ${integer('count', 'length - begin')}
  if (count > segment) { count = segment; }
  ${integer('first', '(o * length + begin) * inner + this.thread.x - q * inner')}`;
const args = {
  input: 'Array',
  length: 'Integer',
  inner: 'Integer',
  parts: 'Integer',
  segment: 'Integer',
} as const;

/** A kernel that reduces, and its twin with a workgroup for each segment, for an inner size of 1. */
export interface Reduction extends GpuKernel {
  inGroups(): GpuKernel | null;
}

/** One number for each segment; `combine` takes x into acc. */
export function reduce(name: string, combine: string, what = 'of segments'): Reduction {
  return once(`reduce ${name} ${what} ${combine}`, () => write(name, combine, what));
}

function write(name: string, combine: string, what: string): Reduction {
  const body = `${segments}
    let acc = input[first];
    for (let i = 1; i < count; i++) {
      const x = input[first + i * inner];
      acc = ${combine};
    }
    return acc;`;
  const kernel = gpuKernel(name, what, args, body);
  return { ...kernel, inGroups: () => reduceInGroups(kernel, args, combine) };
}

/** finish(acc, n) for what the reduction of n numbers gave. */
export function finish(name: string, expression: string): GpuKernel {
  const args = { input: 'Array', n: 'Number' } as const;
  return once(`finish ${name} ${expression}`, () =>
    gpuKernel(name, 'finished', args, `const acc = input[this.thread.x];\nreturn ${expression};`),
  );
}

/** The first position in each segment at which the input equals the result of its whole reduction (or both are NaN); NOWHERE where none does. */
export const locate = gpuKernel(
  'argmax',
  'position of the result',
  { ...args, reduced: 'Array' },
  `${segments}
    const sought = reduced[o * inner + this.thread.x - q * inner];
    for (let i = 0; i < count; i++) {
      const x = input[first + i * inner];
      if (x === sought || (!(x === x) && !(sought === sought))) { return begin + i; }
    }
    return ${NOWHERE};`,
);
