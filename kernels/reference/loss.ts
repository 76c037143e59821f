// Losses of a whole batch in one pass, and their gradients.

type Values = ArrayLike<number>;
type Out = { [i: number]: number };

/** out[0] = scale Σ (a - b)². */
export function squaredError(a: Values, b: Values, out: Out, scale: number): void {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  out[0] = sum * scale;
}

/** out = 2 scale g[0] (a - b). */
export function squaredErrorGrad(a: Values, b: Values, g: Values, out: Out, scale: number): void {
  for (let i = 0; i < a.length; i++) out[i] = 2 * scale * g[0] * (a[i] - b[i]);
}

/** The row's maximum and the sum of e^(x - maximum). */
function logSumExp(x: Values, row: number, cols: number): [top: number, sum: number] {
  let top = -Infinity;
  for (let i = 0; i < cols; i++) top = Math.max(top, x[row + i]);
  let sum = 0;
  for (let i = 0; i < cols; i++) sum += Math.exp(x[row + i] - top);
  return [top, sum];
}

/** out[r] = -log softmax(x)[r, index[r]]. */
export function crossEntropy(x: Values, index: Values, out: Out, rows: number, cols: number): void {
  for (let r = 0; r < rows; r++) {
    const [top, sum] = logSumExp(x, r * cols, cols);
    out[r] = Math.log(sum) + top - x[r * cols + index[r]];
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
    const [top, sum] = logSumExp(x, r * cols, cols);
    for (let i = 0; i < cols; i++) {
      const p = Math.exp(x[r * cols + i] - top) / sum;
      out[r * cols + i] = g[0] * scale * (p - (i === index[r] ? 1 : 0));
    }
  }
}
