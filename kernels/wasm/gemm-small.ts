// Products that are not worth packing: small ones, and those with a vector, which move as many bytes as they compute.
// But for gemm_matvec they sum each element in the order of gemm.ts, so that a row of a product has the same bits whatever
// rows are computed beside it. Where there are several chains, `totals` is room for their float64 sums.
import { CHAIN, finish, KC } from './chain';
import { gemm_edges } from './gemm';
import { transpose4x4 } from './layout';
import { fma4, relu4 } from './math';
import { fold, lanesBelow, storeUpTo4, total4, upTo4 } from './sums';

// What ends a chain runs once for many steps, and is called at many places: inlined, it would be half of this file's code.

/** Ends a chain of the first w of four columns: stores them if it was the last, or else adds it to the totals. */
function endChain(c: usize, v: v128, w: i32, totals: usize, first: bool, last: bool, bias: usize, relu: i32): void {
  if (totals) v = total4(totals, v, first);
  if (last) finish(c, v, w, bias, relu);
}
/** The same for the first w of 8 columns; inlined, since it ends short chains as well. */
// @ts-ignore: decorator
@inline function endRow(c: usize, lo: v128, hi: v128, w: i32, totals: usize, first: bool, last: bool, bias: usize, relu: i32): void {
  if (totals) {
    lo = total4(totals, lo, first);
    hi = total4(totals + 32, hi, first);
    if (!last) return;
  }
  if (bias) {
    lo = f32x4.add(lo, v128.load(bias));
    hi = f32x4.add(hi, v128.load(bias, 16));
  }
  if (relu) {
    lo = relu4(lo);
    hi = relu4(hi);
  }
  if (w < 4) storeUpTo4(c, lo, w);
  else {
    v128.store(c, lo);
    storeUpTo4(c + 16, hi, w - 4);
  }
}

/**
 * A small product on one thread, without packing A: tiles of 4x8 that read A by its strides, and B as it lies or, where it
 * is transposed, from a copy.
 */
export function gemm_small(
  a: usize, b: usize, c: usize, m: i32, n: i32, k: i32, transA: i32, transB: i32, bias: usize, relu: i32, scratch: usize,
): void {
  const down: usize = transA ? 4 : <usize>k << 2;
  const along: usize = transA ? <usize>m << 2 : 4;
  const ldc = <usize>n << 2;
  let ldb = ldc;
  if (transB) {
    ldb = <usize>(n + 7 & ~7) << 2;
    const row = <usize>k << 2;
    for (let j = 0; j < n; j++) {
      let from = b + <usize>j * row;
      let to = scratch + (<usize>j << 2);
      let p = 0;
      if (j + 4 <= n) {
        for (; p <= k - 4; p += 4, from += 16, to += 4 * ldb) transpose4x4(from, row, to, ldb);
        for (; p < k; p++, from += 4, to += ldb) {
          for (let q: usize = 0; q < 4; q++) store<f32>(to + (q << 2), load<f32>(from + q * row));
        }
        j += 3;
      } else {
        for (; p < k; p++, from += 4, to += ldb) store<f32>(to, load<f32>(from));
      }
    }
    b = scratch;
  }
  const totals = k > CHAIN ? gemm_edges(scratch) : 0;
  for (let j = 0; j < n; j += 8) {
    const w = min(8, n - j);
    let a0 = a;
    let to = c + (<usize>j << 2);
    const pBias = bias ? bias + (<usize>j << 2) : 0;
    for (let i = 0; i < m; i += 4) {
      // Rows that are missing are computed from the first one, and dropped.
      const h = m - i;
      let p0 = a0, p1 = h > 1 ? a0 + down : a0, p2 = h > 2 ? a0 + 2 * down : a0, p3 = h > 3 ? a0 + 3 * down : a0;
      let pb = b + (<usize>j << 2);
      for (let k0 = 0; k0 < k; k0 += CHAIN) {
        const end = a0 + <usize>min(k, k0 + CHAIN) * along;
        const first = k0 == 0;
        const last = k0 + CHAIN >= k;
        let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
        if (h == 1) {
          for (; p0 < end; p0 += along, pb += ldb) {
            const s = v128.load_splat<f32>(p0);
            c00 = fma4(s, v128.load(pb), c00);
            c01 = fma4(s, v128.load(pb, 16), c01);
          }
        } else for (; p0 < end; p0 += along, p1 += along, p2 += along, p3 += along, pb += ldb) {
          const b0 = v128.load(pb);
          const b1 = v128.load(pb, 16);
          let s = v128.load_splat<f32>(p0);
          c00 = fma4(s, b0, c00);
          c01 = fma4(s, b1, c01);
          s = v128.load_splat<f32>(p1);
          c10 = fma4(s, b0, c10);
          c11 = fma4(s, b1, c11);
          s = v128.load_splat<f32>(p2);
          c20 = fma4(s, b0, c20);
          c21 = fma4(s, b1, c21);
          s = v128.load_splat<f32>(p3);
          c30 = fma4(s, b0, c30);
          c31 = fma4(s, b1, c31);
        }
        endRow(to, c00, c01, w, totals, first, last, pBias, relu);
        if (h > 1) endRow(to + ldc, c10, c11, w, totals ? totals + 64 : 0, first, last, pBias, relu);
        if (h > 2) endRow(to + 2 * ldc, c20, c21, w, totals ? totals + 128 : 0, first, last, pBias, relu);
        if (h > 3) endRow(to + 3 * ldc, c30, c31, w, totals ? totals + 192 : 0, first, last, pBias, relu);
      }
      to += 4 * ldc;
      a0 += 4 * down;
    }
  }
}

/** Columns of a long product with a vector that are computed at once; the totals have room for so many. */
// @ts-ignore: decorator
@inline const WIDE = 1024;
/** Bytes of totals for one chunk of gemm_vecmat or gemm_vecmatT. */
export function gemm_vectorTotals(): i32 { return WIDE * 8; }

/** What a chain of four columns begins with: 0, or what it came to. */
// @ts-ignore: decorator
@inline function begin(out: usize, fresh: bool): v128 { return fresh ? f32x4.splat(0) : v128.load(out); }

/** Stores the first w of four columns: what their chain came to, or their end. */
function put(out: usize, v: v128, w: i32, totals: usize, settle: bool, first: bool, last: bool, bias: usize, relu: i32): void {
  if (settle) v = total4(totals, v, first);
  if (last) finish(out, v, w, bias, relu);
  else storeUpTo4(out, v, w);
}

/** out[j] = act(sum over p of v[p] M[p, j] + bias[j]) for n columns of M, whose rows are ld apart. */
export function gemm_vecmat(v: usize, mat: usize, out: usize, n: i32, ld: i32, k: i32, bias: usize, relu: i32, totals: usize): void {
  const long = k > CHAIN;
  const most = long ? WIDE : n;
  for (let j = 0; j < n; j += most) {
    const o = <usize>j << 2;
    vecmat(v, mat + o, out + o, min(most, n - j), <usize>ld << 2, k, bias ? bias + o : 0, relu, totals, long);
  }
}

/** Some steps of 32 columns. */
// @ts-ignore: decorator
@inline function vecmat32(
  v: usize, end: usize, m: usize, to: usize, stride: usize, t: usize, fresh: bool, settle: bool, first: bool, last: bool, bias: usize, relu: i32,
): void {
  let a = begin(to, fresh), b = begin(to + 16, fresh), c = begin(to + 32, fresh), d = begin(to + 48, fresh);
  let e = begin(to + 64, fresh), f = begin(to + 80, fresh), g = begin(to + 96, fresh), h = begin(to + 112, fresh);
  for (; v < end; v += 4, m += stride) {
    const s = v128.load_splat<f32>(v);
    a = fma4(s, v128.load(m), a);
    b = fma4(s, v128.load(m, 16), b);
    c = fma4(s, v128.load(m, 32), c);
    d = fma4(s, v128.load(m, 48), d);
    e = fma4(s, v128.load(m, 64), e);
    f = fma4(s, v128.load(m, 80), f);
    g = fma4(s, v128.load(m, 96), g);
    h = fma4(s, v128.load(m, 112), h);
  }
  if (!(last || settle)) {
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
    v128.store(to, e, 64);
    v128.store(to, f, 80);
    v128.store(to, g, 96);
    v128.store(to, h, 112);
    return;
  }
  put(to, a, 4, t, settle, first, last, bias, relu);
  put(to + 16, b, 4, t + 32, settle, first, last, bias ? bias + 16 : 0, relu);
  put(to + 32, c, 4, t + 64, settle, first, last, bias ? bias + 32 : 0, relu);
  put(to + 48, d, 4, t + 96, settle, first, last, bias ? bias + 48 : 0, relu);
  put(to + 64, e, 4, t + 128, settle, first, last, bias ? bias + 64 : 0, relu);
  put(to + 80, f, 4, t + 160, settle, first, last, bias ? bias + 80 : 0, relu);
  put(to + 96, g, 4, t + 192, settle, first, last, bias ? bias + 96 : 0, relu);
  put(to + 112, h, 4, t + 224, settle, first, last, bias ? bias + 112 : 0, relu);
}

// @ts-ignore: decorator
@inline function vecmat(
  v: usize, mat: usize, out: usize, n: i32, stride: usize, k: i32, bias: usize, relu: i32, totals: usize, long: bool,
): void {
  // Blocks of k keep the pages of M at hand for the next columns, if there are any.
  const step = n > 32 ? KC : CHAIN;
  for (let k0 = 0; k0 < k; k0 += step) {
    const kc = min(step, k - k0);
    const end = v + (<usize>kc << 2);
    const fresh = k0 % CHAIN == 0;
    const last = k0 + kc == k;
    const settle = long && (last || (k0 + kc) % CHAIN == 0);
    const first = k0 < CHAIN;
    let t = totals;
    let pBias = bias;
    let j = 0;
    let to = out;
    for (; j <= n - 32; j += 32, to += 128, t += 256) {
      vecmat32(v, end, mat + (<usize>j << 2), to, stride, t, fresh, settle, first, last, pBias, relu);
      if (pBias) pBias += 128;
    }
    for (; j < n; j += 4, to += 16, t += 32) {
      let m = mat + (<usize>j << 2);
      let a = begin(to, fresh);
      for (let p = v; p < end; p += 4, m += stride) a = fma4(v128.load_splat<f32>(p), v128.load(m), a);
      put(to, a, n - j, t, settle, first, last, pBias, relu);
      if (pBias) pBias += 16;
    }
    v = end;
    mat += <usize>step * stride;
  }
}

/** acc + sum over q of v[q] M[r, q], q in 0..3, for the four rows at r0 … r3, in the order of q. */
// @ts-ignore: decorator
@inline function fourByFour(r0: usize, r1: usize, r2: usize, r3: usize, s0: v128, s1: v128, s2: v128, s3: v128, acc: v128): v128 {
  const v0 = v128.load(r0);
  const v1 = v128.load(r1);
  const v2 = v128.load(r2);
  const v3 = v128.load(r3);
  const a = v128.shuffle<f32>(v0, v1, 0, 4, 1, 5);
  const b = v128.shuffle<f32>(v0, v1, 2, 6, 3, 7);
  const c = v128.shuffle<f32>(v2, v3, 0, 4, 1, 5);
  const d = v128.shuffle<f32>(v2, v3, 2, 6, 3, 7);
  acc = fma4(s0, v128.shuffle<i64>(a, c, 0, 2), acc);
  acc = fma4(s1, v128.shuffle<i64>(a, c, 1, 3), acc);
  acc = fma4(s2, v128.shuffle<i64>(b, d, 0, 2), acc);
  return fma4(s3, v128.shuffle<i64>(b, d, 1, 3), acc);
}

/** acc + s times four numbers, each r1 … r3 behind r. Called for the at most three last steps. */
function column(r: usize, r1: usize, r2: usize, r3: usize, s: v128, acc: v128): v128 {
  let v = v128.load_zero<f32>(r);
  v = f32x4.replace_lane(v, 1, load<f32>(r + r1));
  v = f32x4.replace_lane(v, 2, load<f32>(r + r2));
  return fma4(s, f32x4.replace_lane(v, 3, load<f32>(r + r3)), acc);
}

/** out[j] = act(sum over p of v[p] M[j, p] + bias[j]) for n rows of M: gemm_vecmat of the transpose, turned in registers. */
export function gemm_vecmatT(v: usize, mat: usize, out: usize, n: i32, k: i32, bias: usize, relu: i32, totals: usize): void {
  const long = k > CHAIN;
  const most = long ? WIDE : n;
  for (let j = 0; j < n; j += most) {
    const o = <usize>j << 2;
    vecmatT(v, mat + o * <usize>k, out + o, min(most, n - j), k, bias ? bias + o : 0, relu, long ? totals : 0);
  }
}

// @ts-ignore: decorator
@inline function vecmatT(v: usize, mat: usize, out: usize, n: i32, k: i32, bias: usize, relu: i32, totals: usize): void {
  const ld = <usize>k << 2;
  for (let k0 = 0; k0 < k; k0 += CHAIN) {
    const kc = min(CHAIN, k - k0);
    const end4 = v + (<usize>(kc & ~3) << 2);
    const end = v + (<usize>kc << 2);
    const first = k0 == 0;
    const last = k0 + CHAIN >= k;
    let pBias = last ? bias : 0;
    let t = totals;
    let to = out;
    let j = 0;
    for (; j <= n - 16; j += 16, to += 64) {
      let r = mat + <usize>j * ld;
      const r4 = ld << 2, r8 = ld << 3, r12 = r4 + r8;
      let a = f32x4.splat(0), b = a, c = a, d = a;
      let p = v;
      for (; p < end4; p += 16, r += 16) {
        const s0 = v128.load_splat<f32>(p), s1 = v128.load_splat<f32>(p, 4), s2 = v128.load_splat<f32>(p, 8), s3 = v128.load_splat<f32>(p, 12);
        a = fourByFour(r, r + ld, r + 2 * ld, r + 3 * ld, s0, s1, s2, s3, a);
        let q = r + r4;
        b = fourByFour(q, q + ld, q + 2 * ld, q + 3 * ld, s0, s1, s2, s3, b);
        q = r + r8;
        c = fourByFour(q, q + ld, q + 2 * ld, q + 3 * ld, s0, s1, s2, s3, c);
        q = r + r12;
        d = fourByFour(q, q + ld, q + 2 * ld, q + 3 * ld, s0, s1, s2, s3, d);
      }
      for (; p < end; p += 4, r += 4) {
        const s = v128.load_splat<f32>(p);
        const r2 = ld << 1, r3 = ld * 3;
        a = column(r, ld, r2, r3, s, a);
        b = column(r + r4, ld, r2, r3, s, b);
        c = column(r + r8, ld, r2, r3, s, c);
        d = column(r + r12, ld, r2, r3, s, d);
      }
      endChain(to, a, 4, t, first, last, pBias, relu);
      endChain(to + 16, b, 4, t ? t + 32 : 0, first, last, pBias ? pBias + 16 : 0, relu);
      endChain(to + 32, c, 4, t ? t + 64 : 0, first, last, pBias ? pBias + 32 : 0, relu);
      endChain(to + 48, d, 4, t ? t + 96 : 0, first, last, pBias ? pBias + 48 : 0, relu);
      if (t) t += 128;
      if (pBias) pBias += 64;
    }
    for (; j < n; j += 4, to += 16) {
      // Rows that are missing are read from the first one, and dropped.
      const w = min(4, n - j);
      let r = mat + <usize>j * ld;
      const r1 = w > 1 ? ld : 0, r2 = w > 2 ? ld << 1 : 0, r3 = w > 3 ? ld * 3 : 0;
      let a = f32x4.splat(0);
      let p = v;
      for (; p < end4; p += 16, r += 16) {
        const s0 = v128.load_splat<f32>(p), s1 = v128.load_splat<f32>(p, 4), s2 = v128.load_splat<f32>(p, 8), s3 = v128.load_splat<f32>(p, 12);
        a = fourByFour(r, r + r1, r + r2, r + r3, s0, s1, s2, s3, a);
      }
      for (; p < end; p += 4, r += 4) a = column(r, r1, r2, r3, v128.load_splat<f32>(p), a);
      endChain(to, a, w, t, first, last, pBias, relu);
      if (t) t += 32;
      if (pBias) pBias += 16;
    }
    v = end;
    mat += CHAIN * 4;
  }
}

/** out[i] = act(sum over p of M[i, p] v[p] + bias[0]) for `rows` rows of M: a sum in 16 lanes as those of sums.ts, in blocks of CHAIN. */
export function gemm_matvec(mat: usize, v: usize, out: usize, rows: i32, k: i32, bias: usize, relu: i32): void {
  const ld = <usize>k << 2;
  let i = 0;
  if (k <= 8) for (; i <= rows - 4; i += 4, mat += 4 * ld, out += 16) {
    // Four short rows at once, in the same order: lanes 0-3 of each are s0 … s3, to which lanes 4-7 are added.
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (let p = 0; p < k; p += 4) {
      const m = lanesBelow(k - p);
      const r = mat + (<usize>p << 2);
      const r0 = v128.and(v128.load(r), m), r1 = v128.and(v128.load(r + ld), m);
      const r2 = v128.and(v128.load(r + 2 * ld), m), r3 = v128.and(v128.load(r + 3 * ld), m);
      const q = v128.and(v128.load(v + (<usize>p << 2)), m);
      const a = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
      const b = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
      const c = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
      const d = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
      s0 = f32x4.add(s0, f32x4.mul(v128.shuffle<i64>(a, c, 0, 2), v128.shuffle<i32>(q, q, 0, 0, 0, 0)));
      s1 = f32x4.add(s1, f32x4.mul(v128.shuffle<i64>(a, c, 1, 3), v128.shuffle<i32>(q, q, 1, 1, 1, 1)));
      s2 = f32x4.add(s2, f32x4.mul(v128.shuffle<i64>(b, d, 0, 2), v128.shuffle<i32>(q, q, 2, 2, 2, 2)));
      s3 = f32x4.add(s3, f32x4.mul(v128.shuffle<i64>(b, d, 1, 3), v128.shuffle<i32>(q, q, 3, 3, 3, 3)));
    }
    s0 = f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3));
    if (bias) s0 = f32x4.add(s0, v128.load_splat<f32>(bias));
    if (relu) s0 = relu4(s0);
    v128.store(out, s0);
  }
  for (; i < rows; i++, mat += ld, out += 4) {
    let total: f64 = 0;
    let o: usize = 0;
    while (o < ld) {
      const end = min(ld, o + CHAIN * 4);
      const end16 = end & ~63;
      let a = f32x4.splat(0), b = a, c = a, d = a;
      for (; o < end16; o += 64) {
        a = fma4(v128.load(mat + o), v128.load(v + o), a);
        b = fma4(v128.load(mat + o, 16), v128.load(v + o, 16), b);
        c = fma4(v128.load(mat + o, 32), v128.load(v + o, 32), c);
        d = fma4(v128.load(mat + o, 48), v128.load(v + o, 48), d);
      }
      if (o < end) {
        const left = <i32>(end - o) >> 2;
        const p = mat + o, q = v + o;
        a = fma4(upTo4(p, left), upTo4(q, left), a);
        b = fma4(upTo4(p + 16, left - 4), upTo4(q + 16, left - 4), b);
        c = fma4(upTo4(p + 32, left - 8), upTo4(q + 32, left - 8), c);
        d = fma4(upTo4(p + 48, left - 12), upTo4(q + 48, left - 12), d);
        o = end;
      }
      total += fold(a, b, c, d);
    }
    let t = <f32>total;
    if (bias) t += load<f32>(bias);
    store<f32>(out, relu && t < 0 ? 0 : t);
  }
}
