/** Softmax or its logarithm over the rows of [rows, cols], shifted by each row's maximum. */
export function softmax(
  x: ArrayLike<number>,
  out: { [i: number]: number },
  rows: number,
  cols: number,
  log: boolean,
): void {
  for (let r = 0; r < rows; r++) {
    const row = r * cols;
    let top = -Infinity;
    for (let i = 0; i < cols; i++) top = Math.max(top, x[row + i]);
    let sum = 0;
    for (let i = 0; i < cols; i++) sum += Math.exp(x[row + i] - top);
    const logSum = Math.log(sum);
    for (let i = 0; i < cols; i++) out[row + i] = log ? x[row + i] - top - logSum : Math.exp(x[row + i] - top) / sum;
  }
}
