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
    const [top, rest] = expRest(x, row, cols);
    const logSum = Math.log1p(rest);
    const sum = 1 + rest;
    for (let i = 0; i < cols; i++) out[row + i] = log ? x[row + i] - top - logSum : Math.exp(x[row + i] - top) / sum;
  }
}

/** The row's largest number, and the sum of e^(x - top) without one number that is equal to it: small digits stay. */
export function expRest(x: ArrayLike<number>, row: number, cols: number): [top: number, rest: number] {
  let top = -Infinity;
  for (let i = 0; i < cols; i++) top = Math.max(top, x[row + i]);
  let rest = 0;
  let left = false;
  for (let i = 0; i < cols; i++) {
    const below = x[row + i] - top;
    if (below === 0 && !left) left = true;
    else rest += Math.exp(below);
  }
  return [top, rest];
}
