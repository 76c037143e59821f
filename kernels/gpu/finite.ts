import { type ArgumentType, gpuKernel, integer } from './source.js';

// Whether all numbers of several arrays are finite. So many threads walk through each array together, and each keeps a
// flag: 1 from the first number on that is not finite. Compilers fold x * 0 into 0, but a comparison with the largest
// float32 is what it is: false for NaN.

const broken = (before: string, what: string, args: Record<string, ArgumentType>) =>
  gpuKernel(
    'finite',
    what,
    { input: 'Array', length: 'Integer', threads: 'Integer', steps: 'Integer', ...args },
    `let flag = ${before};
    for (let i = 0; i < steps; i++) {
      ${integer('at', 'i * threads + this.thread.x')}
      if (at < length) {
        const size = Math.abs(input[at]);
        if (!(size <= 3.4028234e38)) { flag = 1; }
      }
    }
    return flag;`,
  );

export const first = broken('0.0', 'of one array', {});
export const more = broken('flags[this.thread.x]', 'of another array', { flags: 'Array' });

/** The verdict on the largest of the flags. */
export const verdict = gpuKernel(
  'finite',
  'or not',
  { flag: 'Array', nan: 'Number' },
  `if (flag[this.thread.x] === 0) { return 0; }
  return nan;`,
);
