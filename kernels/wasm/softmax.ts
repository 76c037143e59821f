// Softmax and log-softmax of every row of a [rows, cols] matrix, shifted by the row's maximum.
import { log1p } from './math';
import { expRest, expSum, rowMax, scaleRow } from './rows';
import { storeUpTo4 } from './sums';

export function softmax(x: usize, out: usize, rows: i32, cols: i32): void {
  const stride = <usize>cols << 2;
  for (let r = 0; r < rows; r++, x += stride, out += stride) {
    const total = expSum(x, out, cols, rowMax(x, cols));
    scaleRow(out, cols, <f32>(1.0 / total));
  }
}

/** The logarithm of the sum is that of 1 + rest: the largest number has 1, and a small rest keeps its digits. */
export function logSoftmax(x: usize, out: usize, rows: i32, cols: i32): void {
  const stride = <usize>cols << 2;
  for (let r = 0; r < rows; r++, x += stride, out += stride) {
    const top = rowMax(x, cols);
    const logSum = f32x4.splat(log1p(<f32>expRest(x, cols, top)));
    const shift = f32x4.splat(top);
    for (let i = 0; i < cols; i += 4) {
      const o = <usize>i << 2;
      storeUpTo4(out + o, f32x4.sub(f32x4.sub(v128.load(x + o), shift), logSum), cols - i);
    }
  }
}
