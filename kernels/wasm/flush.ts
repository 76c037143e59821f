// What the kernels of optimizers share.
import { fma4 } from './math';

/** The smallest normal number. */
// @ts-ignore: decorator
@inline export const NORMAL: f32 = 1.17549435e-38;

/**
 * Numbers below the normal ones become 0; `normal` is NORMAL four times. The averages of a parameter whose gradient stays 0
 * decay into the subnormal numbers, with which processors compute a hundred times slower.
 */
// @ts-ignore: decorator
@inline export function flushed(v: v128, normal: v128): v128 {
  return v128.andnot(v, f32x4.lt(v128.and(v, i32x4.splat(0x7fffffff)), normal));
}

/** What `lerp` takes for the weight of b: the factor of the way from the nearer end. */
// @ts-ignore: decorator
@inline export function factor(weight: f64): v128 {
  return f32x4.splat(<f32>(weight < 0.5 ? weight : weight - 1));
}

/** a + weight (b - a), computed from the nearer end, so that a weight of 1 gives b. */
// @ts-ignore: decorator
@inline export function lerp(a: v128, b: v128, weight: f64, factor: v128): v128 {
  return fma4(factor, f32x4.sub(b, a), weight < 0.5 ? a : b);
}
