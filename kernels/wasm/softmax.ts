// Softmax and log-softmax of every row of a [rows, cols] matrix, shifted by the row's maximum.
import { log4 } from './math';
import { expSum, rowMax } from './rows';

export function softmax(x: usize, out: usize, rows: i32, cols: i32): void {
  const stride = <usize>cols << 2;
  for (let r = 0; r < rows; r++, x += stride, out += stride) {
    const total = expSum(x, out, cols, f32x4.splat(rowMax(x, cols)));
    const scale = f32x4.splat(<f32>(1.0 / total));
    let i = 0;
    for (; i <= cols - 4; i += 4) v128.store(out + (<usize>i << 2), f32x4.mul(v128.load(out + (<usize>i << 2)), scale));
    for (; i < cols; i++) store<f32>(out + (<usize>i << 2), load<f32>(out + (<usize>i << 2)) * f32x4.extract_lane(scale, 0));
  }
}

export function logSoftmax(x: usize, out: usize, rows: i32, cols: i32): void {
  const stride = <usize>cols << 2;
  for (let r = 0; r < rows; r++, x += stride, out += stride) {
    const top = rowMax(x, cols);
    const logSum = f32x4.extract_lane(log4(f32x4.splat(<f32>expSum(x, out, cols, f32x4.splat(top)))), 0);
    for (let i = 0; i < cols; i++) store<f32>(out + (<usize>i << 2), load<f32>(x + (<usize>i << 2)) - top - logSum);
  }
}
