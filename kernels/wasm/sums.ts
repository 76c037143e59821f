// The order of all sums. kernels/reference/sums.ts says the same in plain loops, and test/summation.test.ts compares bits.
//
// A sum over n elements is taken in blocks of BLOCK. Within a block element i belongs to lane i mod 16, and a lane is a
// chain of float32 additions that starts at 0. The lanes are folded in float32: those that are 4 apart, then those that are
// 8 apart, then neighbours. What the blocks gave is added up in float64, in sequence, and rounded once. Nothing of that
// depends on the width of a vector, on how the elements lie in memory, or on threads.

/** Elements of a sum whose lanes are float32 chains: 32 additions for each lane. */
// @ts-ignore: decorator
@inline export const BLOCK = 512;

/** Lanes 0-3, 4-7, 8-11 and 12-15, folded to one number. */
// @ts-ignore: decorator
@inline export function fold(a: v128, b: v128, d: v128, e: v128): f64 {
  let s = f32x4.add(f32x4.add(a, b), f32x4.add(d, e));
  s = f32x4.add(s, v128.shuffle<f32>(s, s, 1, 0, 3, 2));
  return <f64>(f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 2));
}

/** True in the lanes below `left`. */
// @ts-ignore: decorator
@inline export function lanesBelow(left: i32): v128 {
  return i32x4.gt_s(i32x4.splat(left), i32x4(0, 1, 2, 3));
}

/** The first `left` of four numbers, zeros for the others, which may be read. */
// @ts-ignore: decorator
@inline export function upTo4(p: usize, left: i32): v128 {
  return v128.and(v128.load(p), lanesBelow(left));
}

/** Adds four float32 to the four float64 at `totals`, or puts them there; returns these totals in float32. */
export function total4(totals: usize, v: v128, first: bool): v128 {
  let lo = f64x2.promote_low_f32x4(v);
  let hi = f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1));
  if (!first) {
    lo = f64x2.add(v128.load(totals), lo);
    hi = f64x2.add(v128.load(totals, 16), hi);
  }
  v128.store(totals, lo);
  v128.store(totals, hi, 16);
  return narrow(lo, hi);
}

/** Four float64 as float32. */
// @ts-ignore: decorator
@inline export function narrow(lo: v128, hi: v128): v128 {
  return v128.shuffle<i64>(f32x4.demote_f64x2_zero(lo), f32x4.demote_f64x2_zero(hi), 0, 2);
}

/** Stores the first w of four numbers. */
// @ts-ignore: decorator
@inline export function storeUpTo4(p: usize, v: v128, w: i32): void {
  if (w >= 4) {
    v128.store(p, v);
    return;
  }
  if (w & 2) {
    v128.store_lane<i64>(p, v, 0);
    if (w & 1) v128.store_lane<f32>(p, v, 2, 8);
  } else if (w & 1) v128.store_lane<f32>(p, v, 0);
}

/** The first w of four numbers as storeUpTo4 stored them a moment ago, which the processor has not yet joined to a vector. */
// @ts-ignore: decorator
@inline export function loadUpTo4(p: usize, w: i32): v128 {
  if (w >= 4) return v128.load(p);
  if (w == 1) return v128.load_zero<f32>(p);
  const v = v128.load_zero<i64>(p);
  return w == 2 ? v : v128.load_lane<f32>(p, v, 2, 8);
}
