import { type GpuKernel, gpuKernel, integer } from './source.js';

// What indices pick from the middle of [outer, length, inner], and the sums that are its gradient. gpu.js has no atomic
// additions, so that every thread computes one sum, in ascending order of the positions.

const PICKS = { input: 'Array', index: 'Array', length: 'Integer', inner: 'Integer', count: 'Integer' } as const;

/** o, the middle m and i of this thread in [outer, `middle`, inner]. */
const place = (middle: string) => `${integer('q', 'divide(this.thread.x, inner)')}
    ${integer('i', 'this.thread.x - q * inner')}
    ${integer('o', `divide(q, ${middle})`)}
    ${integer('m', `q - o * ${middle}`)}`;

/** x[o, index[k], i] with `shared`, else x[o, index[o, k, i], i]. */
export function gather(shared: boolean): GpuKernel {
  return gpuKernel(
    'gather',
    shared ? 'shared' : '',
    PICKS,
    `${place('count')}
    ${integer('at', `toInteger(index[${shared ? 'm' : 'this.thread.x'}])`)}
    return input[(o * length + at) * inner + i];`,
  );
}

/** The sum of the numbers x[o, k, i] whose index[o, k, i] is m. */
export const scatter = gpuKernel(
  'scatter',
  '',
  PICKS,
  `${place('length')}
    let sum = 0;
    for (let k = 0; k < count; k++) {
      ${integer('at', '(o * count + k) * inner + i')}
      if (toInteger(index[at]) === m) { sum += input[at]; }
    }
    return sum;`,
);

/**
 * Lists of the positions of each index: first the position where each of 0 … length - 1 stands first, then for each position
 * the next one with the same index; -1 ends a list.
 */
export const chains = gpuKernel(
  'scatter',
  'positions',
  { index: 'Array', length: 'Integer', count: 'Integer' },
  `let value = this.thread.x;
    ${integer('from', '0')}
    if (this.thread.x >= length) {
      from = this.thread.x - length + 1;
      value = index[this.thread.x - length];
    }
    let found = -1;
    ${integer('left', 'count - from')}
    for (let n = 0; n < left; n++) {
      if (index[from + n] === value) { found = from + n; break; }
    }
    return found;`,
);

/** The sum of the numbers x[o, k, i] with index[k] = m, by those lists. */
export const scatterShared = gpuKernel(
  'scatter',
  'shared',
  { ...PICKS, index: 'Array' },
  `${place('length')}
    let sum = 0;
    let k = index[m];
    for (let n = 0; n < count; n++) {
      if (k < 0) { break; }
      ${integer('at', 'toInteger(k)')}
      sum += input[(o * count + at) * inner + i];
      k = index[length + at];
    }
    return sum;`,
);

/** How many arrays one kernel puts together; devices bind eight, with the result. */
export const MOST_PARTS = 7;

/** The rows of several matrices side by side; the arguments are the matrices and the columns where they end. */
export function cat(parts: number): GpuKernel {
  const numbers = Array.from({ length: parts }, (_, n) => n);
  const args = {
    ...Object.fromEntries(numbers.map((n) => [`x${n}`, 'Array' as const])),
    ...Object.fromEntries(numbers.map((n) => [`e${n}`, 'Integer' as const])),
  };
  const lines = numbers.map((n) => {
    const read = n === 0 ? 'r * e0 + c' : `r * (e${n} - e${n - 1}) + c - e${n - 1}`;
    return n < parts - 1 ? `if (c < e${n}) { return x${n}[${read}]; }` : `return x${n}[${read}];`;
  });
  const total = `e${parts - 1}`;
  return gpuKernel(
    'cat',
    `of ${parts}`,
    args,
    `${integer('r', `divide(this.thread.x, ${total})`)}
    ${integer('c', `this.thread.x - r * ${total}`)}
    ${lines.join('\n    ')}`,
  );
}
