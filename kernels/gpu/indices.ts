import { gpuKernel, integer } from './source.js';

/**
 * Whether all numbers are integers from 0 to count - 1: each thread looks at every `threads`-th one, and returns the larger of the
 * flag from before and, for a bad one, the number of the site that asks.
 */
export const badIndices = gpuKernel(
  'index',
  'in range',
  {
    input: 'Array',
    before: 'Array',
    length: 'Integer',
    threads: 'Integer',
    steps: 'Integer',
    count: 'Number',
    site: 'Number',
  },
  `let flag = before[0];
    for (let i = 0; i < steps; i++) {
      ${integer('at', 'i * threads + this.thread.x')}
      if (at < length) {
        const v = input[at];
        if (!(v >= 0 && v < count && Math.floor(v) === v)) { flag = Math.max(flag, site); }
      }
    }
    return flag;`,
);
