// Element-wise kernels. `map` and `zip` are inlined with a constant operation code, so that each export is a loop of
// its own without branches.
import { exp4, log4, relu4, sigmoid4, tanh4 } from './math';

// @ts-ignore: decorator
@inline const NEG = 0;
// @ts-ignore: decorator
@inline const EXP = 1;
// @ts-ignore: decorator
@inline const LOG = 2;
// @ts-ignore: decorator
@inline const SQRT = 3;
// @ts-ignore: decorator
@inline const ABS = 4;
// @ts-ignore: decorator
@inline const RELU = 5;
// @ts-ignore: decorator
@inline const SIGMOID = 6;
// @ts-ignore: decorator
@inline const TANH = 7;

// @ts-ignore: decorator
@inline function unary(op: i32, x: v128): v128 {
  if (op == NEG) return f32x4.neg(x);
  if (op == EXP) return exp4(x);
  if (op == LOG) return log4(x);
  if (op == SQRT) return f32x4.sqrt(x);
  if (op == ABS) return f32x4.abs(x);
  if (op == RELU) return relu4(x);
  if (op == SIGMOID) return sigmoid4(x);
  return tanh4(x);
}

// @ts-ignore: decorator
@inline function map(op: i32, x: usize, out: usize, n: i32): void {
  const end = out + (<usize>(n & ~3) << 2);
  const stop = out + (<usize>n << 2);
  for (; out < end; out += 16, x += 16) v128.store(out, unary(op, v128.load(x)));
  for (; out < stop; out += 4, x += 4) v128.store_lane<f32>(out, unary(op, v128.load_zero<f32>(x)), 0);
}

export function unary_neg(x: usize, out: usize, n: i32): void { map(NEG, x, out, n); }
export function unary_exp(x: usize, out: usize, n: i32): void { map(EXP, x, out, n); }
export function unary_log(x: usize, out: usize, n: i32): void { map(LOG, x, out, n); }
export function unary_sqrt(x: usize, out: usize, n: i32): void { map(SQRT, x, out, n); }
export function unary_abs(x: usize, out: usize, n: i32): void { map(ABS, x, out, n); }
export function unary_relu(x: usize, out: usize, n: i32): void { map(RELU, x, out, n); }
export function unary_sigmoid(x: usize, out: usize, n: i32): void { map(SIGMOID, x, out, n); }
export function unary_tanh(x: usize, out: usize, n: i32): void { map(TANH, x, out, n); }

// @ts-ignore: decorator
@inline const ADD = 0;
// @ts-ignore: decorator
@inline const SUB = 1;
// @ts-ignore: decorator
@inline const MUL = 2;
// @ts-ignore: decorator
@inline const DIV = 3;
// @ts-ignore: decorator
@inline const MAXIMUM = 4;
// @ts-ignore: decorator
@inline const MINIMUM = 5;
// @ts-ignore: decorator
@inline const EQ = 6;
// @ts-ignore: decorator
@inline const GT = 7;
// @ts-ignore: decorator
@inline const LT = 8;
// @ts-ignore: decorator
@inline const SQUARED_DIFFERENCE = 9;
// @ts-ignore: decorator
@inline const RELU_GRAD = 10;

// @ts-ignore: decorator
@inline function binary(op: i32, a: v128, b: v128): v128 {
  if (op == ADD) return f32x4.add(a, b);
  if (op == SUB) return f32x4.sub(a, b);
  if (op == MUL) return f32x4.mul(a, b);
  if (op == DIV) return f32x4.div(a, b);
  if (op == MAXIMUM) return f32x4.max(a, b);
  if (op == MINIMUM) return f32x4.min(a, b);
  if (op == EQ) return v128.and(f32x4.eq(a, b), f32x4.splat(1));
  if (op == GT) return v128.and(f32x4.gt(a, b), f32x4.splat(1));
  if (op == LT) return v128.and(f32x4.lt(a, b), f32x4.splat(1));
  if (op == RELU_GRAD) return v128.andnot(a, f32x4.le(b, f32x4.splat(0)));
  const d = f32x4.sub(a, b);
  return f32x4.mul(d, d);
}

/** Two nested loops; an inner stride is 1, or 0 for an operand that is broadcast along the inner loop. */
// @ts-ignore: decorator
@inline function zip(
  op: i32, a: usize, b: usize, out: usize, outer: i32, inner: i32,
  aOuter: i32, aInner: i32, bOuter: i32, bInner: i32,
): void {
  for (let o = 0; o < outer; o++) {
    let pa = a + (<usize>(o * aOuter) << 2);
    let pb = b + (<usize>(o * bOuter) << 2);
    const end = out + (<usize>(inner & ~3) << 2);
    const stop = out + (<usize>inner << 2);
    if (aInner & bInner) {
      for (; out < end; out += 16, pa += 16, pb += 16) v128.store(out, binary(op, v128.load(pa), v128.load(pb)));
    } else if (aInner) {
      const vb = v128.load_splat<f32>(pb);
      for (; out < end; out += 16, pa += 16) v128.store(out, binary(op, v128.load(pa), vb));
    } else {
      const va = v128.load_splat<f32>(pa);
      const step = <usize>bInner << 4;
      for (; out < end; out += 16, pb += step) {
        v128.store(out, binary(op, va, bInner ? v128.load(pb) : v128.load_splat<f32>(pb)));
      }
    }
    for (; out < stop; out += 4, pa += <usize>aInner << 2, pb += <usize>bInner << 2) {
      v128.store_lane<f32>(out, binary(op, v128.load_zero<f32>(pa), v128.load_zero<f32>(pb)), 0);
    }
  }
}

export function binary_add(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(ADD, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_sub(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(SUB, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_mul(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(MUL, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_div(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(DIV, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_maximum(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(MAXIMUM, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_minimum(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(MINIMUM, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_eq(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(EQ, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_gt(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(GT, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_lt(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(LT, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_squaredDifference(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(SQUARED_DIFFERENCE, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
export function binary_reluGrad(a: usize, b: usize, out: usize, outer: i32, inner: i32, aOuter: i32, aInner: i32, bOuter: i32, bInner: i32): void {
  zip(RELU_GRAD, a, b, out, outer, inner, aOuter, aInner, bOuter, bInner);
}
