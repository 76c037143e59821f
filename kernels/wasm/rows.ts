// What softmax and cross-entropy share: one row of n numbers.
import { exp4 } from './math';

/** The largest number, NaN left out: it comes back with the sum of the exponentials. */
// @ts-ignore: decorator
@inline export function rowMax(x: usize, n: i32): f32 {
  let v = f32x4.splat(-Infinity), w = v;
  let i = 0;
  for (; i <= n - 8; i += 8) {
    v = f32x4.pmax(v, v128.load(x + (<usize>i << 2)));
    w = f32x4.pmax(w, v128.load(x + (<usize>i << 2), 16));
  }
  for (; i <= n - 4; i += 4) v = f32x4.pmax(v, v128.load(x + (<usize>i << 2)));
  v = f32x4.pmax(v, w);
  let m = max(max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)), max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)));
  for (; i < n; i++) {
    const e = load<f32>(x + (<usize>i << 2));
    if (e > m) m = e;
  }
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
