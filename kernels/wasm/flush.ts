// What optimizers do about subnormal numbers.

/**
 * Numbers below the normal ones become 0. The averages of a parameter whose gradient stays 0 decay into the subnormal
 * numbers, with which processors compute a hundred times slower.
 */
// @ts-ignore: decorator
@inline export function flushed(v: v128): v128 {
  return v128.andnot(v, f32x4.lt(f32x4.abs(v), f32x4.splat(1.17549435e-38)));
}

/** a + weight (b - a), computed from the nearer end, so that a weight of 1 gives b. `weight` is that of b. */
// @ts-ignore: decorator
@inline export function lerp(a: v128, b: v128, weight: f64): v128 {
  const way = f32x4.sub(b, a);
  return weight < 0.5
    ? f32x4.add(a, f32x4.mul(f32x4.splat(<f32>weight), way))
    : f32x4.add(b, f32x4.mul(f32x4.splat(<f32>(weight - 1)), way));
}
