import { expRestInGroups } from './groups.js';
import { gpuKernel, integer } from './source.js';

// Softmax over the rows of [rows, cols] in three steps: the fold of max, these sums, and one of the last two.

const rests = { input: 'Array', tops: 'Array', cols: 'Integer' } as const;

/** For each row the sum of e^(x - top) without one number that is equal to top, whose 1 would cover small digits. */
export const expRest = gpuKernel(
  'softmax',
  'sum of exponentials',
  rests,
  `${integer('row', 'this.thread.x * cols')}
    const top = tops[this.thread.x];
    let sum = 0.0;
    let left = 0.0;
    for (let i = 0; i < cols; i++) {
      const below = input[row + i] - top;
      if (below === 0 && left < 1) { left = 1.0; } else { sum = sum + expOf(below); }
    }
    return sum;`,
);

/** The same with a workgroup for each row. */
export const expRestGroups = expRestInGroups(expRest, rests);

const args = { input: 'Array', tops: 'Array', rests: 'Array', cols: 'Integer' } as const;

export const softmax = gpuKernel(
  'softmax',
  '',
  args,
  `${integer('row', 'divide(this.thread.x, cols)')}
    return expOf(input[this.thread.x] - tops[row]) / (1 + rests[row]);`,
);

export const logSoftmax = gpuKernel(
  'logSoftmax',
  '',
  args,
  `${integer('row', 'divide(this.thread.x, cols)')}
    return input[this.thread.x] - tops[row] - log1pOf(rests[row]);`,
);
