// Reductions of [outer, length, inner] over `length`. Sums are taken in blocks: short float32 chains whose results are
// added up in float64 (rows) or in a second float32 level (columns), so that the error does not grow with the length.

// @ts-ignore: decorator
@inline const SUM = 0;
// @ts-ignore: decorator
@inline const MAX = 1;
// @ts-ignore: decorator
@inline const MIN = 2;

// @ts-ignore: decorator
@inline function join(op: i32, a: v128, b: v128): v128 {
  if (op == SUM) return f32x4.add(a, b);
  if (op == MAX) return f32x4.max(a, b);
  return f32x4.min(a, b);
}
// @ts-ignore: decorator
@inline function first(op: i32): f32 {
  return op == SUM ? <f32>0 : op == MAX ? -Infinity : Infinity;
}
// @ts-ignore: decorator
@inline function joinScalar(op: i32, a: f64, b: f64): f64 {
  if (op == SUM) return a + b;
  if (op == MAX) return max(a, b);
  return min(a, b);
}
// @ts-ignore: decorator
@inline function lanes(op: i32, v: v128): f64 {
  return joinScalar(op,
    joinScalar(op, <f64>f32x4.extract_lane(v, 0), <f64>f32x4.extract_lane(v, 1)),
    joinScalar(op, <f64>f32x4.extract_lane(v, 2), <f64>f32x4.extract_lane(v, 3)));
}

// @ts-ignore: decorator
@inline function row(op: i32, x: usize, length: i32): f64 {
  let total = <f64>first(op);
  let i = 0;
  while (length - i >= 16) {
    let a = f32x4.splat(first(op)), b = a, d = a, e = a;
    const end = i + min((length - i) & ~15, 1024);
    for (; i < end; i += 16) {
      const p = x + (<usize>i << 2);
      a = join(op, a, v128.load(p));
      b = join(op, b, v128.load(p, 16));
      d = join(op, d, v128.load(p, 32));
      e = join(op, e, v128.load(p, 48));
    }
    total = joinScalar(op, total, lanes(op, join(op, join(op, a, b), join(op, d, e))));
  }
  for (; i < length; i++) total = joinScalar(op, total, <f64>load<f32>(x + (<usize>i << 2)));
  return total;
}

// @ts-ignore: decorator
@inline function column(op: i32, x: usize, length: i32, inner: i32): v128 {
  let total = f32x4.splat(first(op));
  const stride = <usize>inner << 2;
  for (let i = 0; i < length; ) {
    let part = f32x4.splat(first(op));
    const end = min(i + 64, length);
    for (; i < end; i++, x += stride) part = join(op, part, v128.load(x));
    total = join(op, total, part);
  }
  return total;
}

// @ts-ignore: decorator
@inline function reduce(op: i32, x: usize, out: usize, outer: i32, length: i32, inner: i32, divisor: f64): void {
  if (inner == 1) {
    for (let o = 0; o < outer; o++, out += 4, x += <usize>length << 2) store<f32>(out, <f32>(row(op, x, length) / divisor));
    return;
  }
  const d = f32x4.splat(<f32>divisor);
  for (let o = 0; o < outer; o++, x += <usize>(length * inner) << 2) {
    let j = 0;
    for (; j <= inner - 4; j += 4, out += 16) v128.store(out, f32x4.div(column(op, x + (<usize>j << 2), length, inner), d));
    for (; j < inner; j++, out += 4) {
      let total = <f64>first(op);
      let p = x + (<usize>j << 2);
      for (let i = 0; i < length; i++, p += <usize>inner << 2) total = joinScalar(op, total, <f64>load<f32>(p));
      store<f32>(out, <f32>(total / divisor));
    }
  }
}

export function reduce_sum(x: usize, out: usize, outer: i32, length: i32, inner: i32): void { reduce(SUM, x, out, outer, length, inner, 1); }
export function reduce_mean(x: usize, out: usize, outer: i32, length: i32, inner: i32): void { reduce(SUM, x, out, outer, length, inner, length); }
export function reduce_max(x: usize, out: usize, outer: i32, length: i32, inner: i32): void { reduce(MAX, x, out, outer, length, inner, 1); }
export function reduce_min(x: usize, out: usize, outer: i32, length: i32, inner: i32): void { reduce(MIN, x, out, outer, length, inner, 1); }
