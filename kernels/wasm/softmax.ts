// Softmax and log-softmax of every row of a [rows, cols] matrix, shifted by the row's maximum.
import { exp4, log4 } from './math';

// @ts-ignore: decorator
@inline export function rowMax(x: usize, n: i32): f32 {
  let v = f32x4.splat(-Infinity);
  let i = 0;
  for (; i <= n - 4; i += 4) v = f32x4.max(v, v128.load(x + (<usize>i << 2)));
  let m = max(max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)), max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)));
  for (; i < n; i++) m = max(m, load<f32>(x + (<usize>i << 2)));
  return m;
}

/** exp(x - shift) of a row into `out`, unless that is 0; returns its sum. */
// @ts-ignore: decorator
@inline export function expSum(x: usize, out: usize, n: i32, shift: v128): f64 {
  let s = f32x4.splat(0);
  let i = 0;
  for (; i <= n - 4; i += 4) {
    const e = exp4(f32x4.sub(v128.load(x + (<usize>i << 2)), shift));
    if (out) v128.store(out + (<usize>i << 2), e);
    s = f32x4.add(s, e);
  }
  let total = <f64>f32x4.extract_lane(s, 0) + <f64>f32x4.extract_lane(s, 1) + <f64>f32x4.extract_lane(s, 2) + <f64>f32x4.extract_lane(s, 3);
  for (; i < n; i++) {
    const e = f32x4.extract_lane(exp4(f32x4.sub(v128.load_splat<f32>(x + (<usize>i << 2)), shift)), 0);
    if (out) store<f32>(out + (<usize>i << 2), e);
    total += <f64>e;
  }
  return total;
}

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
