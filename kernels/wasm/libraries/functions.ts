// Element-wise functions of Tensor methods beyond those that every program needs. Accuracy: docs/architecture.md. Coefficients were
// fitted for the least relative error, by Lawson's algorithm. Blocks are padded to 16 bytes, and threads begin at multiples of
// four elements: the last vector of a map may run into the padding.
import { expMinusOne, fma4, log4, relu4, SHIFT } from '../math';

// @ts-ignore: decorator
@inline function c(x: f32): v128 { return f32x4.splat(x); }
// @ts-ignore: decorator
@inline function mad(a: v128, b: v128, d: f32): v128 { return fma4(a, b, c(d)); }
// @ts-ignore: decorator
@inline function sign(v: v128): v128 { return v128.and(v, c(-0.0)); }

/** Bits of 1 / (2 π). */
// @ts-ignore: decorator
@inline function turnBits(i: i32): u64 {
  return i == 0 ? 0x28be60db9391054a : i == 1 ? 0x7f09d5f47d4d3770 : i == 2 ? 0x36d8a5664f10e410 : 0x7f9458eaf7aef158;
}
/**
 * x; above 2^23 less full turns, by the product of its digits and those of 1 / (2 π), of which whole turns fall off. After Payne
 * and Hanek, Radian reduction for trigonometric functions, 1983.
 */
function unwound(x: f32): f64 {
  if (!(x > 8388608)) return x;
  const bits = reinterpret<i32>(x);
  const e = (bits >> 23) - 150; // x is m 2^e
  if (e > 104) return NaN;
  const m = <u64>((bits & 0x7fffff) | 0x800000);
  const b = turnBits((e >> 6) + 1);
  const high = (turnBits(e >> 6) << e) | ((b >> 1) >> (63 - (e & 63)));
  const low = (b << e) | ((turnBits((e >> 6) + 2) >> 1) >> (63 - (e & 63)));
  return <f64><i64>(m * high + ((m * (low >> 32)) >> 32)) * 3.4061215800865545e-19;
}
// @ts-ignore: decorator
@inline function two(x: v128): v128 {
  return f64x2.replace_lane(f64x2.splat(unwound(f32x4.extract_lane(x, 0))), 1, unwound(f32x4.extract_lane(x, 1)));
}
// @ts-ignore: decorator
@inline function quarters(x: v128): v128 { return f64x2.nearest(f64x2.mul(x, f64x2.splat(0.6366197723675814))); }
/** x - n π/2; the first part of π/2 has 30 bits, so that its product is exact. */
// @ts-ignore: decorator
@inline function rest(x: v128, n: v128): v128 {
  const r = f64x2.sub(f64x2.sub(x, f64x2.mul(n, f64x2.splat(1.570796325802803))), f64x2.mul(n, f64x2.splat(9.920935796805404e-10)));
  return f32x4.demote_f64x2_zero(r);
}
/** The sine of v and `turn` right angles. */
// @ts-ignore: decorator
@inline function sin4(v: v128, turn: i32): v128 {
  const x = f32x4.abs(v);
  const upper = v128.shuffle<f32>(x, x, 2, 3, 2, 3);
  let a = f64x2.promote_low_f32x4(x), b = f64x2.promote_low_f32x4(upper);
  if (v128.any_true(f32x4.gt(x, c(8388608)))) {
    a = two(x);
    b = two(upper);
  }
  const na = quarters(a), nb = quarters(b);
  const r = v128.shuffle<f32>(rest(a, na), rest(b, nb), 0, 1, 4, 5);
  const n = v128.shuffle<f32>(i32x4.trunc_sat_f64x2_s_zero(na), i32x4.trunc_sat_f64x2_s_zero(nb), 0, 1, 4, 5);
  const q = i32x4.add(n, i32x4.splat(turn));
  const z = f32x4.mul(r, r);
  const s = fma4(f32x4.mul(r, z), mad(mad(c(-1.95166557639948e-4), z, 8.332173542754404e-3), z, -1.6666654873468506e-1), r);
  const p = mad(mad(c(2.4437730017545173e-5), z, -1.3887361449403941e-3), z, 4.166664674775759e-2);
  const k = fma4(f32x4.mul(z, z), p, fma4(z, c(-0.5), c(1)));
  const y = v128.bitselect(k, s, i32x4.shr_s(i32x4.shl(q, 31), 31));
  const flip = v128.and(i32x4.shl(q, 30), c(-0.0));
  return v128.xor(y, turn ? flip : v128.xor(flip, sign(v)));
}

// Those that take the exponential come last, those of the normal distribution from ERF to GELU_GRAD.
// @ts-ignore: decorator
@inline const GE = 0;
// @ts-ignore: decorator
@inline const LE = 1;
// @ts-ignore: decorator
@inline const NE = 2;
// @ts-ignore: decorator
@inline const FLOOR = 3;
// @ts-ignore: decorator
@inline const CEIL = 4;
// @ts-ignore: decorator
@inline const ROUND = 5;
// @ts-ignore: decorator
@inline const SIGN = 6;
// @ts-ignore: decorator
@inline const SQUARE = 7;
// @ts-ignore: decorator
@inline const RSQRT = 8;
// @ts-ignore: decorator
@inline const LOG1P = 11;
// @ts-ignore: decorator
@inline const SOFTPLUS = 12;
// @ts-ignore: decorator
@inline const EXPM1 = 13;
// @ts-ignore: decorator
@inline const ERF = 14;
// @ts-ignore: decorator
@inline const GELU = 15;
// @ts-ignore: decorator
@inline const GELU_GRAD = 16;
// @ts-ignore: decorator
@inline const SILU = 17;
// @ts-ignore: decorator
@inline const SILU_GRAD = 18;
// @ts-ignore: decorator
@inline const GELU_TANH = 19;
// @ts-ignore: decorator
@inline const GELU_TANH_GRAD = 20;

/** 1 where the lanes of the mask are true. */
// @ts-ignore: decorator
@inline function one(mask: v128): v128 { return v128.and(mask, c(1)); }

/** f(x), or f(g, x) for a comparison and a gradient. */
// @ts-ignore: decorator
@inline function evaluate(op: i32, g: v128, x: v128): v128 {
  if (op < LOG1P) {
    if (op == GE) return one(f32x4.ge(g, x));
    if (op == LE) return one(f32x4.le(g, x));
    if (op == NE) return one(f32x4.ne(g, x));
    if (op == FLOOR) return f32x4.floor(x);
    if (op == CEIL) return f32x4.ceil(x);
    if (op == ROUND) return f32x4.nearest(x);
    if (op == SIGN) return f32x4.sub(one(f32x4.gt(x, c(0))), one(f32x4.lt(x, c(0))));
    if (op == SQUARE) return f32x4.mul(x, x);
    return f32x4.div(c(1), f32x4.sqrt(x));
  }
  const a = f32x4.abs(x);
  if (op > LOG1P) {
    // The exponential of s + d.
    let s: v128;
    let d = c(0);
    let u = x; // of the logistic function, with its derivative
    let du = c(1);
    const normal = op >= ERF && op <= GELU_GRAD;
    let z = a;
    if (normal) {
      // e^(-z²/2); the square is the sum of an exact one and a small rest.
      if (op == ERF) z = f32x4.mul(a, c(1.4142135623730951));
      const t = f32x4.pmin(z, c(13.2));
      const h = v128.and(t, i32x4.splat(-4096));
      s = f32x4.mul(f32x4.mul(h, c(-0.5)), h);
      d = f32x4.mul(f32x4.mul(f32x4.sub(t, h), c(-0.5)), f32x4.add(t, h));
    } else if (op == EXPM1) {
      s = f32x4.pmax(f32x4.pmin(x, c(89)), c(-30));
    } else {
      if (op >= GELU_TANH) {
        const w = f32x4.mul(x, x);
        u = f32x4.mul(x, mad(w, c(0.07135481282553484), 1.5957691216057308));
        du = mad(w, c(0.21406443847660452), 1.5957691216057308);
      }
      s = f32x4.pmax(v128.or(u, c(-0.0)), c(-88)); // 2^-127 is 0 where an exponent is put together
    }
    const shifted = fma4(s, c(1.44269504088896341), c(SHIFT));
    const n = f32x4.sub(shifted, c(SHIFT));
    const r = fma4(n, c(2.12194440e-4), fma4(n, c(-0.693359375), s));
    const m = expMinusOne(f32x4.add(r, d));
    const bits = i32x4.shl(shifted, 23);
    if (op == EXPM1) {
      // With half of 2^n, which does not overflow before the result does.
      const half = i32x4.add(bits, c(0.5));
      const y = fma4(m, half, f32x4.sub(half, c(0.5)));
      return v128.or(f32x4.add(y, y), sign(x));
    }
    const power = i32x4.add(bits, c(1));
    let e = fma4(m, power, power);
    const negative = i32x4.shr_s(x, 31);
    if (normal) {
      e = v128.andnot(e, f32x4.gt(z, c(13.2)));
      // What the distribution has above z: its ratio to the exponential is a polynomial of 1 / (1 + 0.35 z).
      const t = f32x4.div(c(1), mad(z, c(0.35), 1));
      let p = mad(c(-2.911503054201603e-2), t, 1.4381848275661469e-1);
      p = mad(p, t, -2.553911507129669e-1);
      p = mad(p, t, 1.5879671275615692e-1);
      p = mad(p, t, -2.284352108836174e-2);
      p = mad(p, t, 1.0539218783378601e-1);
      p = mad(p, t, 1.1986307799816132e-1);
      p = mad(p, t, 1.3985756039619446e-1);
      p = mad(p, t, 1.3962166011333466e-1);
      const q = f32x4.mul(f32x4.mul(p, t), e);
      if (op == ERF) {
        const w = f32x4.mul(x, x);
        let p = mad(c(-5.631422391161323e-4), w, 4.917551297694445e-3);
        p = mad(p, w, -2.671131119132042e-2);
        p = mad(p, w, 1.1280179768800735e-1);
        p = mad(p, w, -3.7612324953079224e-1);
        p = mad(p, w, 1.1283791065216064);
        const y = v128.bitselect(f32x4.mul(p, a), f32x4.sub(c(1), f32x4.add(q, q)), f32x4.lt(a, c(1)));
        return v128.or(y, sign(x));
      }
      // In the lower tail to a relative error of 1e-6.
      const phi = v128.bitselect(q, f32x4.sub(c(1), q), negative);
      if (op == GELU) return f32x4.mul(x, phi);
      return f32x4.mul(g, fma4(f32x4.mul(x, c(0.3989422804014327)), e, phi));
    }
    if (op != SOFTPLUS) {
      // Results below the normal numbers may be 0.
      const part = f32x4.div(c(1), f32x4.add(e, c(1)));
      const rest = f32x4.mul(e, part);
      const logistic = v128.bitselect(rest, part, negative);
      if (op == SILU || op == GELU_TANH) return f32x4.mul(x, logistic);
      // 1 - logistic, with all digits
      return f32x4.mul(f32x4.mul(g, logistic), fma4(f32x4.mul(x, du), v128.bitselect(part, rest, negative), c(1)));
    }
    // ln(1 + e) is 2 artanh of e / (2 + e), a polynomial of its square.
    const q = f32x4.div(e, f32x4.add(e, c(2)));
    const w = f32x4.mul(q, q);
    let p = mad(c(0.28179025650024414), w, 0.2796046733856201);
    p = mad(p, w, 0.400249183177948);
    p = mad(p, w, 0.6666631698608398);
    p = mad(p, w, 2);
    return fma4(p, q, relu4(x));
  }
  // ln(1 + x) is that of the rounded sum, and what the rounding left out.
  const sum = f32x4.add(x, c(1));
  const left = f32x4.div(f32x4.sub(x, f32x4.sub(sum, c(1))), sum);
  return v128.or(f32x4.add(log4(sum), v128.and(left, f32x4.eq(left, left))), sign(x));
}

/** Two nested loops; an inner stride is 1, or 0 for an operand that is broadcast along the inner loop. */
// @ts-ignore: decorator
@inline function zip(
  op: i32, a: usize, b: usize, out: usize, outer: i32, inner: i32,
  aOuter: i32, aInner: i32, bOuter: i32, bInner: i32,
): void {
  for (; outer > 0; outer--) {
    let pa = a, pb = b;
    let left = inner;
    do {
      const wide = left > 3;
      const n = wide ? 4 : 1;
      const va = wide & aInner ? v128.load(pa) : v128.load32_splat(pa);
      const vb = wide & bInner ? v128.load(pb) : v128.load32_splat(pb);
      const y = evaluate(op, va, vb);
      if (wide) v128.store(out, y);
      else v128.store_lane<f32>(out, y, 0);
      left -= n;
      out += n << 2;
      pa += (n * aInner) << 2;
      pb += (n * bInner) << 2;
    } while (left > 0);
    a += aOuter << 2;
    b += bOuter << 2;
  }
}
// @ts-ignore: decorator
@inline function map(op: i32, x: usize, out: usize, n: i32): void {
  const stop = out + (<usize>n << 2);
  do {
    v128.store(out, evaluate(op, c(0), v128.load(x)));
    out += 16;
    x += 16;
  } while (out < stop);
}
/** Sine and cosine are one loop. */
function wave(turn: i32, x: usize, out: usize, n: i32): void {
  const stop = out + (<usize>n << 2);
  do {
    v128.store(out, sin4(v128.load(x), turn));
    out += 16;
    x += 16;
  } while (out < stop);
}

export function binary_ge(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(GE, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_le(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(LE, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_ne(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(NE, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function unary_floor(x: usize, out: usize, n: i32): void { map(FLOOR, x, out, n); }
export function unary_ceil(x: usize, out: usize, n: i32): void { map(CEIL, x, out, n); }
export function unary_round(x: usize, out: usize, n: i32): void { map(ROUND, x, out, n); }
export function unary_sign(x: usize, out: usize, n: i32): void { map(SIGN, x, out, n); }
export function unary_square(x: usize, out: usize, n: i32): void { map(SQUARE, x, out, n); }
export function unary_rsqrt(x: usize, out: usize, n: i32): void { map(RSQRT, x, out, n); }
export function unary_sin(x: usize, out: usize, n: i32): void { wave(0, x, out, n); }
export function unary_cos(x: usize, out: usize, n: i32): void { wave(1, x, out, n); }
export function unary_log1p(x: usize, out: usize, n: i32): void { map(LOG1P, x, out, n); }
export function unary_softplus(x: usize, out: usize, n: i32): void { map(SOFTPLUS, x, out, n); }
export function unary_expm1(x: usize, out: usize, n: i32): void { map(EXPM1, x, out, n); }
export function unary_erf(x: usize, out: usize, n: i32): void { map(ERF, x, out, n); }
export function unary_gelu(x: usize, out: usize, n: i32): void { map(GELU, x, out, n); }
export function binary_geluGrad(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(GELU_GRAD, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function unary_silu(x: usize, out: usize, n: i32): void { map(SILU, x, out, n); }
export function binary_siluGrad(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(SILU_GRAD, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function unary_geluTanh(x: usize, out: usize, n: i32): void { map(GELU_TANH, x, out, n); }
export function binary_geluTanhGrad(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(GELU_TANH_GRAD, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}

/** a where c is not 0, else b; a step is 1, or 0 for one number. */
export function where(m: usize, a: usize, b: usize, out: usize, n: i32, mStep: i32, aStep: i32, bStep: i32): void {
  for (; n > 0; ) {
    const wide = n > 3;
    const k = wide ? 4 : 1;
    const vm = wide & mStep ? v128.load(m) : v128.load32_splat(m);
    const va = wide & aStep ? v128.load(a) : v128.load32_splat(a);
    const vb = wide & bStep ? v128.load(b) : v128.load32_splat(b);
    const y = v128.bitselect(va, vb, f32x4.ne(vm, c(0)));
    if (wide) v128.store(out, y);
    else v128.store_lane<f32>(out, y, 0);
    n -= k;
    out += k << 2;
    m += (k * mStep) << 2;
    a += (k * aStep) << 2;
    b += (k * bStep) << 2;
  }
}
