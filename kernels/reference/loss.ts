// Losses of a whole batch in one pass, and their gradients.
import { expRest } from './softmax.js';
import { BLOCK, blockedSum } from './sums.js';

type Values = ArrayLike<number>;
type Out = { [i: number]: number };

/** out[0] = scale Σ (a - b)², in the order of sums.ts. */
export function squaredError(a: Values, b: Values, out: Out, scale: number, round: (x: number) => number): void {
  const square = (d: number) => round(d * d);
  out[0] = scale * blockedSum(a.length, BLOCK, round, (lane, i) => round(lane + square(round(a[i] - b[i]))));
}

/** out = 2 scale g[0] (a - b). */
export function squaredErrorGrad(a: Values, b: Values, g: Values, out: Out, scale: number): void {
  for (let i = 0; i < a.length; i++) out[i] = 2 * scale * g[0] * (a[i] - b[i]);
}

/** out[r] = -log softmax(x)[r, index[r]]; near 0 as exact as anywhere. */
export function crossEntropy(x: Values, index: Values, out: Out, rows: number, cols: number): void {
  for (let r = 0; r < rows; r++) {
    const [top, rest] = expRest(x, r * cols, cols);
    out[r] = Math.log1p(rest) + (top - x[r * cols + index[r]]);
  }
}

/** out = g[0] scale (softmax(x) - onehot(index)). */
export function crossEntropyGrad(
  x: Values,
  index: Values,
  g: Values,
  out: Out,
  rows: number,
  cols: number,
  scale: number,
): void {
  for (let r = 0; r < rows; r++) {
    const [top, rest] = expRest(x, r * cols, cols);
    for (let i = 0; i < cols; i++) {
      const p = Math.exp(x[r * cols + i] - top) / (1 + rest);
      out[r * cols + i] = g[0] * scale * (p - (i === index[r] ? 1 : 0));
    }
  }
}
