import { gpuKernel, integer } from './source.js';

// Softmax over the rows of [rows, cols] in three steps: the fold of max, these sums, and one of the last two.

/** For each row the sum of e^(x - top). */
export const expSum = gpuKernel(
  'softmax',
  'sum of exponentials',
  { input: 'Array', tops: 'Array', cols: 'Integer' },
  `${integer('row', 'this.thread.x * cols')}
    const top = tops[this.thread.x];
    let sum = 0.0;
    for (let i = 0; i < cols; i++) { sum = sum + expOf(input[row + i] - top); }
    return sum;`,
);

const args = { input: 'Array', tops: 'Array', sums: 'Array', cols: 'Integer' } as const;

export const softmax = gpuKernel(
  'softmax',
  '',
  args,
  `${integer('row', 'divide(this.thread.x, cols)')}
    return expOf(input[this.thread.x] - tops[row]) / sums[row];`,
);

export const logSoftmax = gpuKernel(
  'logSoftmax',
  '',
  args,
  `${integer('row', 'divide(this.thread.x, cols)')}
    return input[this.thread.x] - tops[row] - logOf(sums[row]);`,
);
