// What softmax and cross-entropy share: one row of n numbers. What lies behind a row is read, and left out.
import { expDown4 } from './math';
import { BLOCK, fold, lanesBelow, loadUpTo4, storeUpTo4 } from './sums';

/** The largest number, NaN left out: it comes back with the sum of the exponentials. */
// @ts-ignore: decorator
@inline export function rowMax(x: usize, n: i32): f32 {
  let v = f32x4.splat(-Infinity), w = v;
  for (; n >= 8; n -= 8, x += 32) {
    v = f32x4.pmax(v, v128.load(x));
    w = f32x4.pmax(w, v128.load(x, 16));
  }
  for (; n > 0; n -= 4, x += 16) v = f32x4.pmax(v, v128.bitselect(v128.load(x), f32x4.splat(-Infinity), lanesBelow(n)));
  v = f32x4.pmax(v, w);
  return max(max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)), max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)));
}

/** exp of the first `left` of four numbers at x, less the shift; zeros for the others. */
function expUpTo4(x: usize, shift: v128, left: i32): v128 {
  const there = lanesBelow(left);
  return v128.and(expDown4(v128.and(f32x4.sub(v128.load(x), shift), there)), there);
}

// @ts-ignore: decorator
@inline function expTo(x: usize, out: usize, shift: v128): v128 {
  const v = expDown4(f32x4.sub(v128.load(x), shift));
  v128.store(out, v);
  return v;
}

/** Multiplies a row that was stored a moment ago. */
// @ts-ignore: decorator
@inline export function scaleRow(p: usize, n: i32, factor: f32): void {
  const s = f32x4.splat(factor);
  for (; n >= 4; n -= 4, p += 16) v128.store(p, f32x4.mul(v128.load(p), s));
  if (n > 0) storeUpTo4(p, f32x4.mul(loadUpTo4(p, n), s), n);
}

/** exp(x - top) of a row into `out`; returns its sum, in the order of sums.ts. */
export function expSum(x: usize, out: usize, n: i32, top: f32): f64 {
  const shift = f32x4.splat(top);
  let total: f64 = 0;
  while (n > 0) {
    let a = f32x4.splat(0), b = a, d = a, e = a;
    let left = min(n, BLOCK);
    n -= left;
    for (; left >= 16; left -= 16, x += 64, out += 64) {
      a = f32x4.add(a, expTo(x, out, shift));
      b = f32x4.add(b, expTo(x + 16, out + 16, shift));
      d = f32x4.add(d, expTo(x + 32, out + 32, shift));
      e = f32x4.add(e, expTo(x + 48, out + 48, shift));
    }
    // The accumulators take turns. After an odd number of turns fold gets them as if there had been one more; whether two
    // more are missing makes no difference to it.
    const odd = (left + 3) & 4;
    for (; left > 0; left -= 4, x += 16, out += 16) {
      let v = f32x4.splat(0);
      if (left >= 4) v = expTo(x, out, shift);
      else {
        v = expUpTo4(x, shift, left);
        storeUpTo4(out, v, left);
      }
      v = f32x4.add(a, v);
      a = b;
      b = d;
      d = e;
      e = v;
    }
    total += odd ? fold(b, d, e, a) : fold(a, b, d, e);
  }
  return total;
}

/** exp(x - shift), but 0 where x is the shift. */
// @ts-ignore: decorator
@inline function expBelow(x: v128, shift: v128): v128 {
  const y = f32x4.sub(x, shift);
  return v128.andnot(expDown4(y), f32x4.eq(y, f32x4.splat(0)));
}
/**
 * The sum of exp(x - top) without one number that is equal to top: small numbers keep their digits, which its 1 would cover.
 * The others that are equal to top are counted.
 */
export function expRest(x: usize, n: i32, top: f32): f64 {
  const shift = f32x4.splat(top);
  let total: f64 = 0;
  let tops = i32x4.splat(0);
  while (n > 0) {
    let a = f32x4.splat(0), b = a, d = a, e = a;
    let left = min(n, BLOCK);
    n -= left;
    for (; left >= 16; left -= 16, x += 64) {
      let v = v128.load(x);
      a = f32x4.add(a, expBelow(v, shift));
      tops = i32x4.sub(tops, f32x4.eq(v, shift));
      v = v128.load(x, 16);
      b = f32x4.add(b, expBelow(v, shift));
      tops = i32x4.sub(tops, f32x4.eq(v, shift));
      v = v128.load(x, 32);
      d = f32x4.add(d, expBelow(v, shift));
      tops = i32x4.sub(tops, f32x4.eq(v, shift));
      v = v128.load(x, 48);
      e = f32x4.add(e, expBelow(v, shift));
      tops = i32x4.sub(tops, f32x4.eq(v, shift));
    }
    const odd = (left + 3) & 4;
    for (; left > 0; left -= 4, x += 16) {
      let v = v128.load(x);
      let hit = f32x4.eq(v, shift);
      v = expBelow(v, shift);
      if (left < 4) {
        hit = v128.and(hit, lanesBelow(left));
        v = v128.and(v, lanesBelow(left));
      }
      tops = i32x4.sub(tops, hit);
      v = f32x4.add(a, v);
      a = b;
      b = d;
      d = e;
      e = v;
    }
    total += odd ? fold(b, d, e, a) : fold(a, b, d, e);
  }
  const count = i32x4.extract_lane(tops, 0) + i32x4.extract_lane(tops, 1) + i32x4.extract_lane(tops, 2) + i32x4.extract_lane(tops, 3);
  return count > 1 ? total + <f64>(count - 1) : total;
}
