import { type GpuKernel, gpuKernel, integer } from './source.js';

// The order of rows of [rows, n]. Short rows: every element counts those before it, which is its place. Long rows: a bitonic sort
// of the positions, whose rows are padded to a power of two with positions from n on, which come last.

/** Sets `before` to 1 if element a, at position p, comes before element b, at position q; NaN is the largest. */
const compare = (descending: boolean) => `
    let before = 0;
    if (a ${descending ? '>' : '<'} b) { before = 1; }
    if (${descending ? '!(a === a) && b === b' : 'a === a && !(b === b)'}) { before = 1; }
    if ((a === b || (!(a === a) && !(b === b))) && p < q) { before = 1; }`;

const rank = (descending: boolean): GpuKernel =>
  gpuKernel(
    'order',
    `rank ${descending}`,
    { input: 'Array', n: 'Integer' },
    `${integer('row', 'divide(this.thread.x, n)')}
    ${integer('q', 'this.thread.x - row * n')}
    ${integer('first', 'row * n')}
    const b = input[this.thread.x];
    let count = 0;
    for (let p = 0; p < n; p++) {
      const a = input[first + p];
      ${compare(descending)}
      count = count + before;
    }
    return count;`,
  );

/** The place of each element in the order of its row. */
export const ranks = { ascending: /* @__PURE__ */ rank(false), descending: /* @__PURE__ */ rank(true) };

/** The first k positions of [rows, n], from the places of the elements. */
export const inverse = gpuKernel(
  'order',
  'inverse',
  { place: 'Array', n: 'Integer', k: 'Integer' },
  `${integer('row', 'divide(this.thread.x, k)')}
    ${integer('sought', 'this.thread.x - row * k')}
    ${integer('first', 'row * n')}
    for (let i = 0; i < n; i++) { if (place[first + i] === sought) { return i; } }
    return 0;`,
);

/** 0 … m - 1 in each row of [rows, m]. */
export const positions = gpuKernel(
  'order',
  'positions',
  { m: 'Integer' },
  `${integer('row', 'divide(this.thread.x, m)')}
    return this.thread.x - row * m;`,
);

const bitonicStep = (descending: boolean): GpuKernel =>
  gpuKernel(
    'order',
    `bitonic ${descending}`,
    { input: 'Array', order: 'Array', n: 'Integer', m: 'Integer', size: 'Integer', stride: 'Integer' },
    `${integer('row', 'divide(this.thread.x, m)')}
    ${integer('at', 'this.thread.x - row * m')}
    ${integer('lower', 'divide(at, stride)')}
    ${integer('block', 'divide(at, size)')}
    ${integer('half', 'divide(lower, 2)')}
    ${integer('other', 'this.thread.x + stride')}
    let flip = 0;
    if (lower - half * 2 === 1) { other = this.thread.x - stride; flip = 1; }
    half = divide(block, 2);
    if (block - half * 2 === 1) { flip = 1 - flip; }
    const p = order[this.thread.x];
    const q = order[other];
    let first = 0;
    if (q >= n) { if (p < q) { first = 1; } }
    if (p < n && q < n) {
      const a = input[row * n + p];
      const b = input[row * n + q];
      ${compare(descending)}
      first = before;
    }
    if (first + flip === 1) { return p; }
    return q;`,
  );

/** Compares pairs of positions that are `stride` apart, in blocks of `size` that are sorted to alternate sides. */
export const bitonic = { ascending: /* @__PURE__ */ bitonicStep(false), descending: /* @__PURE__ */ bitonicStep(true) };

/** The position of the first of the ascending numbers of each row of x [rows, n] that is above each number of t [rows, k]. */
export const search = gpuKernel(
  'search',
  '',
  { input: 'Array', sought: 'Array', n: 'Integer', k: 'Integer' },
  `${integer('row', 'divide(this.thread.x, k)')}
    ${integer('low', 'row - row')}
    ${integer('high', 'n - 1')}
    ${integer('middle', 'row - row')}
    const t = sought[this.thread.x];
    for (let i = 0; i < 25; i++) {
      if (low < high) {
        middle = divide(low + high, 2);
        if (input[row * n + middle] > t) { high = middle; } else { low = middle + 1; }
      }
    }
    return low;`,
);
