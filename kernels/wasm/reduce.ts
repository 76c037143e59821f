// Reductions of [outer, length, inner] over `length`. Sums keep the order of sums.ts; the order of a largest or smallest
// number does not matter.
import { BLOCK, fold, narrow, storeUpTo4, upTo4 } from './sums';

// @ts-ignore: decorator
@inline function rowSum(x: usize, length: i32): f64 {
  if (length < 4) {
    let sum: f32 = 0;
    for (const end = x + (<usize>length << 2); x < end; x += 4) sum += load<f32>(x);
    return sum;
  }
  if (length < 16) {
    let b = f32x4.splat(0), d = b, e = b;
    if (length > 4) {
      b = upTo4(x + 16, length - 4);
      if (length > 8) {
        d = upTo4(x + 32, length - 8);
        e = upTo4(x + 48, length - 12);
      }
    }
    return fold(upTo4(x, length), b, d, e);
  }
  let total: f64 = 0;
  for (let i = 0; i < length; ) {
    const stop = min(length, i + BLOCK);
    let a = f32x4.splat(0), b = a, d = a, e = a;
    for (; i <= stop - 16; i += 16, x += 64) {
      a = f32x4.add(a, v128.load(x));
      b = f32x4.add(b, v128.load(x, 16));
      d = f32x4.add(d, v128.load(x, 32));
      e = f32x4.add(e, v128.load(x, 48));
    }
    const left = stop - i;
    if (left > 0) {
      a = f32x4.add(a, upTo4(x, left));
      if (left > 4) {
        b = f32x4.add(b, upTo4(x + 16, left - 4));
        if (left > 8) {
          d = f32x4.add(d, upTo4(x + 32, left - 8));
          e = f32x4.add(e, upTo4(x + 48, left - 12));
        }
      }
      i = stop;
    }
    total += fold(a, b, d, e);
  }
  return total;
}

/** The lanes q, q + 4, q + 8 and q + 12 of four columns where each has one element at most. */
// @ts-ignore: decorator
@inline function quarter(p: usize, left: i32, s4: usize): v128 {
  if (left <= 0) return f32x4.splat(0);
  let a = v128.load(p);
  if (left <= 4) return a;
  a = f32x4.add(a, v128.load(p + s4));
  if (left <= 8) return a;
  p += s4 << 1;
  const d = v128.load(p);
  return f32x4.add(a, left <= 12 ? d : f32x4.add(d, v128.load(p + s4)));
}
/** Four columns of up to 16 elements. A sum of negative zeros begins with 0, as a lane does. */
// @ts-ignore: decorator
@inline function shortColumns(x: usize, rows: i32, stride: usize): v128 {
  if (rows <= 4) {
    let sum = f32x4.add(f32x4.splat(0), v128.load(x));
    if (rows > 1) sum = f32x4.add(sum, v128.load(x + stride));
    x += stride << 1;
    if (rows <= 2) return sum;
    return f32x4.add(sum, rows > 3 ? f32x4.add(v128.load(x), v128.load(x + stride)) : v128.load(x));
  }
  const s4 = stride << 2;
  const left = f32x4.add(quarter(x, rows, s4), quarter(x + stride, rows - 1, s4));
  x += stride << 1;
  const right = f32x4.add(quarter(x, rows - 2, s4), quarter(x + stride, rows - 3, s4));
  return f32x4.add(f32x4.add(left, right), f32x4.splat(0));
}

/**
 * One block of four columns: the lanes 0 to 7 side by side, then the others. Lanes that are 4 apart are added first, then
 * those that are 8 apart.
 */
function columnBlock(x: usize, rows: i32, stride: usize): v128 {
  const s2 = stride << 1, s4 = stride << 2;
  let t0 = f32x4.splat(0), t1 = t0, t2 = t0, t3 = t0;
  for (let half = 0; half < 2; half++, x += stride << 3) {
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let p = x;
    let left = rows - (half << 3);
    for (; left >= 8; left -= 16, p += stride << 4) {
      let q = p;
      a0 = f32x4.add(a0, v128.load(q));
      a1 = f32x4.add(a1, v128.load(q + stride));
      q += s2;
      a2 = f32x4.add(a2, v128.load(q));
      a3 = f32x4.add(a3, v128.load(q + stride));
      q = p + s4;
      b0 = f32x4.add(b0, v128.load(q));
      b1 = f32x4.add(b1, v128.load(q + stride));
      q += s2;
      b2 = f32x4.add(b2, v128.load(q));
      b3 = f32x4.add(b3, v128.load(q + stride));
    }
    if (left > 0) a0 = f32x4.add(a0, v128.load(p));
    if (left > 1) a1 = f32x4.add(a1, v128.load(p + stride));
    if (left > 2) a2 = f32x4.add(a2, v128.load(p + s2));
    if (left > 3) a3 = f32x4.add(a3, v128.load(p + s2 + stride));
    p += s4;
    if (left > 4) b0 = f32x4.add(b0, v128.load(p));
    if (left > 5) b1 = f32x4.add(b1, v128.load(p + stride));
    if (left > 6) b2 = f32x4.add(b2, v128.load(p + s2));
    t0 = f32x4.add(t0, f32x4.add(a0, b0));
    t1 = f32x4.add(t1, f32x4.add(a1, b1));
    t2 = f32x4.add(t2, f32x4.add(a2, b2));
    t3 = f32x4.add(t3, f32x4.add(a3, b3));
  }
  return f32x4.add(f32x4.add(t0, t1), f32x4.add(t2, t3));
}

// @ts-ignore: decorator
@inline function lower(v: v128): v128 { return f64x2.promote_low_f32x4(v); }
// @ts-ignore: decorator
@inline function upper(v: v128): v128 { return f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1)); }
// @ts-ignore: decorator
@inline function put(out: usize, lo: v128, hi: v128, divisor: v128, w: i32): void {
  storeUpTo4(out, narrow(f64x2.div(lo, divisor), f64x2.div(hi, divisor)), w);
}

/** Up to 16 columns, block by block: narrow rows lie on the same lines of the cache. */
function columns(x: usize, out: usize, length: i32, stride: usize, divisor: v128, w: i32): void {
  let l0 = f64x2.splat(0), l1 = l0, l2 = l0, l3 = l0, h0 = l0, h1 = l0, h2 = l0, h3 = l0;
  for (let i = 0; i < length; i += BLOCK, x += <usize>BLOCK * stride) {
    const rows = min(BLOCK, length - i);
    let v = columnBlock(x, rows, stride);
    l0 = f64x2.add(l0, lower(v));
    h0 = f64x2.add(h0, upper(v));
    if (w <= 4) continue;
    v = columnBlock(x + 16, rows, stride);
    l1 = f64x2.add(l1, lower(v));
    h1 = f64x2.add(h1, upper(v));
    if (w <= 8) continue;
    v = columnBlock(x + 32, rows, stride);
    l2 = f64x2.add(l2, lower(v));
    h2 = f64x2.add(h2, upper(v));
    if (w <= 12) continue;
    v = columnBlock(x + 48, rows, stride);
    l3 = f64x2.add(l3, lower(v));
    h3 = f64x2.add(h3, upper(v));
  }
  put(out, l0, h0, divisor, w);
  if (w > 4) put(out + 16, l1, h1, divisor, w - 4);
  if (w > 8) put(out + 32, l2, h2, divisor, w - 8);
  if (w > 12) put(out + 48, l3, h3, divisor, w - 12);
}

/**
 * Sixteen columns, which are a line of the cache: each is read once. Two lanes, r and r + 4, are summed side by side; their
 * sums are folded like the bits of a counter, as soon as two of a kind are there.
 */
function columns16(x: usize, out: usize, length: i32, stride: usize, divisor: v128): void {
  let l0 = f64x2.splat(0), l1 = l0, l2 = l0, l3 = l0, h0 = l0, h1 = l0, h2 = l0, h3 = l0;
  const group = stride << 4;
  const s4 = stride << 2;
  for (let i = 0; i < length; i += BLOCK, x += <usize>BLOCK * stride) {
    const rows = min(BLOCK, length - i);
    let p0 = f32x4.splat(0), p1 = p0, p2 = p0, p3 = p0; // of two lanes
    let q0 = p0, q1 = p0, q2 = p0, q3 = p0; // of four
    let t0 = p0, t1 = p0, t2 = p0, t3 = p0; // of eight
    for (let g = 0; g < 8; g++) {
      const r = (g >> 1) + ((g & 1) << 3);
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      let left = rows - r;
      let p = x + <usize>r * stride;
      for (; left > 4; left -= 16, p += group) {
        a0 = f32x4.add(a0, v128.load(p));
        a1 = f32x4.add(a1, v128.load(p, 16));
        a2 = f32x4.add(a2, v128.load(p, 32));
        a3 = f32x4.add(a3, v128.load(p, 48));
        const o = p + s4;
        b0 = f32x4.add(b0, v128.load(o));
        b1 = f32x4.add(b1, v128.load(o, 16));
        b2 = f32x4.add(b2, v128.load(o, 32));
        b3 = f32x4.add(b3, v128.load(o, 48));
      }
      if (left > 0) {
        a0 = f32x4.add(a0, v128.load(p));
        a1 = f32x4.add(a1, v128.load(p, 16));
        a2 = f32x4.add(a2, v128.load(p, 32));
        a3 = f32x4.add(a3, v128.load(p, 48));
      }
      a0 = f32x4.add(a0, b0);
      a1 = f32x4.add(a1, b1);
      a2 = f32x4.add(a2, b2);
      a3 = f32x4.add(a3, b3);
      if (!(g & 1)) {
        p0 = a0; p1 = a1; p2 = a2; p3 = a3;
        continue;
      }
      a0 = f32x4.add(p0, a0);
      a1 = f32x4.add(p1, a1);
      a2 = f32x4.add(p2, a2);
      a3 = f32x4.add(p3, a3);
      if (!(g & 2)) {
        q0 = a0; q1 = a1; q2 = a2; q3 = a3;
        continue;
      }
      t0 = f32x4.add(t0, f32x4.add(q0, a0));
      t1 = f32x4.add(t1, f32x4.add(q1, a1));
      t2 = f32x4.add(t2, f32x4.add(q2, a2));
      t3 = f32x4.add(t3, f32x4.add(q3, a3));
    }
    l0 = f64x2.add(l0, lower(t0));
    h0 = f64x2.add(h0, upper(t0));
    l1 = f64x2.add(l1, lower(t1));
    h1 = f64x2.add(h1, upper(t1));
    l2 = f64x2.add(l2, lower(t2));
    h2 = f64x2.add(h2, upper(t2));
    l3 = f64x2.add(l3, lower(t3));
    h3 = f64x2.add(h3, upper(t3));
  }
  put(out, l0, h0, divisor, 4);
  put(out + 16, l1, h1, divisor, 4);
  put(out + 32, l2, h2, divisor, 4);
  put(out + 48, l3, h3, divisor, 4);
}

function sum(x: usize, out: usize, outer: i32, length: i32, inner: i32, divisor: f64): void {
  const stride = <usize>inner << 2;
  if (inner == 1) {
    for (let o = 0; o < outer; o++, out += 4, x += <usize>length << 2) store<f32>(out, <f32>(rowSum(x, length) / divisor));
    return;
  }
  const d = f64x2.splat(divisor);
  for (let o = 0; o < outer; o++, x += <usize>length * stride, out += stride) {
    if (length <= 16) {
      for (let j = 0; j < inner; j += 4) {
        const v = length > 0 ? shortColumns(x + (<usize>j << 2), length, stride) : f32x4.splat(0);
        put(out + (<usize>j << 2), lower(v), upper(v), d, inner - j);
      }
      continue;
    }
    let j = 0;
    for (; j <= inner - 16; j += 16) columns16(x + (<usize>j << 2), out + (<usize>j << 2), length, stride, d);
    if (j < inner) columns(x + (<usize>j << 2), out + (<usize>j << 2), length, stride, d, inner - j);
  }
}

export function reduce_sum(x: usize, out: usize, outer: i32, length: i32, inner: i32): void { sum(x, out, outer, length, inner, 1); }
export function reduce_mean(x: usize, out: usize, outer: i32, length: i32, inner: i32): void { sum(x, out, outer, length, inner, length); }

// @ts-ignore: decorator
@inline const MAX = 1;
// @ts-ignore: decorator
@inline const MIN = 2;

// @ts-ignore: decorator
@inline function join(op: i32, a: v128, b: v128): v128 { return op == MAX ? f32x4.max(a, b) : f32x4.min(a, b); }
// @ts-ignore: decorator
@inline function joinScalar(op: i32, a: f64, b: f64): f64 { return op == MAX ? max(a, b) : min(a, b); }
// @ts-ignore: decorator
@inline function first(op: i32): f32 { return op == MAX ? -Infinity : Infinity; }

// @ts-ignore: decorator
@inline function row(op: i32, x: usize, length: i32): f32 {
  let most = <f64>first(op);
  let i = 0;
  if (length >= 16) {
    let a = f32x4.splat(first(op)), b = a, d = a, e = a;
    for (; i <= length - 16; i += 16) {
      const p = x + (<usize>i << 2);
      a = join(op, a, v128.load(p));
      b = join(op, b, v128.load(p, 16));
      d = join(op, d, v128.load(p, 32));
      e = join(op, e, v128.load(p, 48));
    }
    a = join(op, join(op, a, b), join(op, d, e));
    most = joinScalar(op,
      joinScalar(op, f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1)),
      joinScalar(op, f32x4.extract_lane(a, 2), f32x4.extract_lane(a, 3)));
  }
  for (; i < length; i++) most = joinScalar(op, most, load<f32>(x + (<usize>i << 2)));
  return <f32>most;
}

// @ts-ignore: decorator
@inline function extreme(op: i32, x: usize, out: usize, outer: i32, length: i32, inner: i32): void {
  if (inner == 1) {
    for (let o = 0; o < outer; o++, out += 4, x += <usize>length << 2) store<f32>(out, row(op, x, length));
    return;
  }
  const stride = <usize>inner << 2;
  for (let o = 0; o < outer; o++, x += <usize>length * stride, out += stride) {
    for (let j = 0; j < inner; j += 4) {
      let a = f32x4.splat(first(op)), b = a, d = a, e = a;
      let p = x + (<usize>j << 2);
      let i = 0;
      for (; i <= length - 4; i += 4, p += stride << 2) {
        const q = p + (stride << 1);
        a = join(op, a, v128.load(p));
        b = join(op, b, v128.load(p + stride));
        d = join(op, d, v128.load(q));
        e = join(op, e, v128.load(q + stride));
      }
      for (; i < length; i++, p += stride) a = join(op, a, v128.load(p));
      storeUpTo4(out + (<usize>j << 2), join(op, join(op, a, b), join(op, d, e)), inner - j);
    }
  }
}

export function reduce_max(x: usize, out: usize, outer: i32, length: i32, inner: i32): void { extreme(MAX, x, out, outer, length, inner); }
export function reduce_min(x: usize, out: usize, outer: i32, length: i32, inner: i32): void { extreme(MIN, x, out, outer, length, inner); }

/** Puts the first position of each number of `out` along the middle dimension in its place; NaN is found as NaN. */
function positions(x: usize, out: usize, outer: i32, length: i32, inner: i32): void {
  const stride = <usize>inner << 2;
  for (; outer > 0; outer--, x += <usize>(length - 1) * stride) {
    for (const end = x + stride; x < end; x += 4, out += 4) {
      const most = load<f32>(out);
      let i = 0;
      if (inner == 1 && most == most) {
        const wanted = f32x4.splat(most);
        while (i <= length - 4 && !v128.any_true(f32x4.eq(v128.load(x + (<usize>i << 2)), wanted))) i += 4;
      }
      for (let p = x + <usize>i * stride; i < length - 1; i++, p += stride) {
        const v = load<f32>(p);
        if (v == most || (v != v && most != most)) break;
      }
      store<f32>(out, <f32>i);
    }
  }
}
export function reduce_argmax(x: usize, out: usize, outer: i32, length: i32, inner: i32): void {
  reduce_max(x, out, outer, length, inner);
  positions(x, out, outer, length, inner);
}
export function reduce_argmin(x: usize, out: usize, outer: i32, length: i32, inner: i32): void {
  reduce_min(x, out, outer, length, inner);
  positions(x, out, outer, length, inner);
}
