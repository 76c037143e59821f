// exp, log, tanh and the logistic function on four float32 lanes, each within 4 ulp of the exact value over the whole
// range, subnormals included. Range reductions after Cody and Waite; minimax coefficients are those of the Cephes
// Mathematical Library (S. Moshier), single precision.

// @ts-ignore: decorator
@inline function c(x: f32): v128 { return f32x4.splat(x); }
/** a b + d, in one rounding where the build has relaxed SIMD and the processor a fused multiply-add. */
// @ts-ignore: decorator
@inline export function fma4(a: v128, b: v128, d: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_madd(a, b, d) : f32x4.add(f32x4.mul(a, b), d);
}
// @ts-ignore: decorator
@inline function mad(a: v128, b: v128, d: f32): v128 { return fma4(a, b, c(d)); }
// @ts-ignore: decorator
@inline function exp2i(n: v128): v128 { return i32x4.shl(i32x4.add(n, i32x4.splat(127)), 23); }

/** 1.5 * 2^23: a small number added to it is rounded to a whole one, which its low bits hold. */
// @ts-ignore: decorator
@inline export const SHIFT: f32 = 12582912.0;

/** e^r - 1 for |r| <= ln 2 / 2, where x = n ln 2 + r and `shifted` is n + SHIFT. */
// @ts-ignore: decorator
@inline export function expRestMinusOne(x: v128, shifted: v128): v128 {
  const n = f32x4.sub(shifted, c(SHIFT));
  return expMinusOne(fma4(n, c(2.12194440e-4), fma4(n, c(-0.693359375), x)));
}
/** e^r - 1 for |r| <= ln 2 / 2. */
// @ts-ignore: decorator
@inline export function expMinusOne(r: v128): v128 {
  let p = mad(c(1.9875691500e-4), r, 1.3981999507e-3);
  p = mad(p, r, 8.3334519073e-3);
  p = mad(p, r, 4.1665795894e-2);
  p = mad(p, r, 1.6666665459e-1);
  p = mad(p, r, 5.0000001201e-1);
  return fma4(p, f32x4.mul(r, r), r);
}
// @ts-ignore: decorator
@inline function expRest(x: v128, shifted: v128): v128 { return f32x4.add(expRestMinusOne(x, shifted), c(1.0)); }

/** exp where 0, Infinity, subnormal results or NaN come out: 2^n in two factors. */
// Inlined, although it is rare: a call makes V8 keep the constants of the loop in memory, which takes 5 times longer.
// @ts-ignore: decorator
@inline function expFar(v: v128): v128 {
  // Beyond these bounds the result is 0 or Infinity already; min and max carry NaN through.
  const x = f32x4.max(f32x4.min(v, c(89.0)), c(-104.0));
  const shifted = fma4(x, c(1.44269504088896341), c(SHIFT));
  const i = i32x4.sub(shifted, c(SHIFT));
  const half = i32x4.shr_s(i, 1);
  const y = f32x4.mul(f32x4.mul(expRest(x, shifted), exp2i(half)), exp2i(i32x4.sub(i, half)));
  return v128.bitselect(y, v, f32x4.eq(v, v));
}

// @ts-ignore: decorator
@inline export function exp4(v: v128): v128 {
  if (!i32x4.all_true(f32x4.le(f32x4.abs(v), c(87.0)))) return expFar(v);
  const shifted = fma4(v, c(1.44269504088896341), c(SHIFT));
  return i32x4.add(expRest(v, shifted), i32x4.shl(shifted, 23));
}

/** exp of numbers that are not above 0, without a branch: what would be less than half the least normal number is 0. */
// @ts-ignore: decorator
@inline export function expDown4(v: v128): v128 {
  const x = f32x4.pmax(v, c(-88.0)); // 2^-127 is 0 where an exponent is put together
  const shifted = fma4(x, c(1.44269504088896341), c(SHIFT));
  const power = i32x4.add(i32x4.shl(shifted, 23), c(1.0));
  return fma4(expRestMinusOne(x, shifted), power, power);
}

// @ts-ignore: decorator
@inline export function log4(v: v128): v128 {
  const tiny = f32x4.lt(v, c(1.17549435e-38));
  const x = v128.bitselect(f32x4.mul(v, c(8388608.0)), v, tiny);
  let e = i32x4.sub(i32x4.shr_u(x, 23), i32x4.splat(126));
  let m = v128.or(v128.and(x, i32x4.splat(0x007fffff)), c(0.5));
  const low = f32x4.lt(m, c(0.707106781186547524));
  e = i32x4.add(e, low); // a true lane is -1
  m = f32x4.sub(f32x4.add(m, v128.and(m, low)), c(1.0));
  const ef = f32x4.sub(f32x4.convert_i32x4_s(e), v128.and(c(23.0), tiny));
  const z = f32x4.mul(m, m);
  let p = mad(c(7.0376836292e-2), m, -1.1514610310e-1);
  p = mad(p, m, 1.1676998740e-1);
  p = mad(p, m, -1.2420140846e-1);
  p = mad(p, m, 1.4249322787e-1);
  p = mad(p, m, -1.6668057665e-1);
  p = mad(p, m, 2.0000714765e-1);
  p = mad(p, m, -2.4999993993e-1);
  p = mad(p, m, 3.3333331174e-1);
  let y = f32x4.mul(f32x4.mul(p, m), z);
  y = f32x4.add(y, f32x4.mul(ef, c(-2.12194440e-4)));
  y = f32x4.sub(y, f32x4.mul(c(0.5), z));
  y = f32x4.add(f32x4.add(m, y), f32x4.mul(ef, c(0.693359375)));
  // log(0) = -Infinity, log(Infinity) = Infinity, log(negative) = NaN, log(NaN) = NaN.
  y = v128.bitselect(c(-Infinity), y, f32x4.eq(v, c(0)));
  y = v128.bitselect(v, y, f32x4.eq(v, c(Infinity)));
  return v128.bitselect(y, c(NaN), f32x4.ge(v, c(0)));
}

/** log(1 + x) for finite x >= 0 or NaN: that of the rounded sum, and what the rounding left out. */
export function log1p(x: f32): f32 {
  const u = <f32>1 + x;
  return f32x4.extract_lane(log4(f32x4.splat(u)), 0) + (x - (u - <f32>1)) / u;
}

/** max(x, 0), -0 for -0 and NaN for NaN: one instruction, where f32x4.max takes several. */
// @ts-ignore: decorator
@inline export function relu4(x: v128): v128 { return f32x4.pmax(x, c(0)); }

/** With m = e^(2|x|) - 1, tanh |x| = m / (m + 2), which keeps all digits for small x as well. */
// @ts-ignore: decorator
@inline export function tanh4(v: v128): v128 {
  const x = f32x4.pmin(f32x4.add(f32x4.abs(v), f32x4.abs(v)), c(20.0));
  const shifted = fma4(x, c(1.44269504088896341), c(SHIFT));
  const power = i32x4.add(i32x4.shl(shifted, 23), c(1.0)); // 2^n
  const m = fma4(expRestMinusOne(x, shifted), power, f32x4.sub(power, c(1.0)));
  return v128.or(f32x4.div(m, f32x4.add(m, c(2.0))), v128.and(v, c(-0.0)));
}

// @ts-ignore: decorator
@inline export function sigmoid4(v: v128): v128 {
  // With e = exp(-|x|) neither branch overflows or cancels.
  const e = exp4(v128.or(v, c(-0.0)));
  const numerator = v128.bitselect(c(1.0), e, f32x4.ge(v, c(0)));
  return f32x4.div(numerator, f32x4.add(e, c(1.0)));
}
