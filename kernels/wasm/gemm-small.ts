// Products that are not worth packing: small ones, and those with a vector, which move as many bytes as they compute.
// But for gemm_matvec they sum each element over the blocks of KC steps of k and in the order of gemm.ts, so that a row of
// a product has the same bits whatever rows are computed beside it.
import { transpose4x4 } from './layout';
import { fma4, KC, relu4 } from './math';

// @ts-ignore: decorator
@inline function storeLanes(c: usize, v: v128, w: i32): void {
  if (w & 2) {
    v128.store_lane<i64>(c, v, 0);
    if (w & 1) v128.store_lane<f32>(c, v, 2, 8);
  } else if (w & 1) v128.store_lane<f32>(c, v, 0);
}
/** Adds one block of k to the first w of 8 columns, finishes them if it was the last, and stores them. */
// @ts-ignore: decorator
@inline function storeRow(c: usize, lo: v128, hi: v128, w: i32, first: bool, last: bool, bias: usize, relu: i32): void {
  if (!first) {
    lo = f32x4.add(v128.load(c), lo);
    hi = f32x4.add(v128.load(c, 16), hi);
  }
  if (!last) { bias = 0; relu = 0; }
  if (bias) {
    lo = f32x4.add(lo, v128.load(bias));
    hi = f32x4.add(hi, v128.load(bias, 16));
  }
  if (relu) {
    lo = relu4(lo);
    hi = relu4(hi);
  }
  if (w < 4) storeLanes(c, lo, w);
  else {
    v128.store(c, lo);
    if (w == 8) v128.store(c, hi, 16);
    else storeLanes(c + 16, hi, w - 4);
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
      for (let k0 = 0; k0 < k; k0 += KC) {
        const end = a0 + <usize>min(k, k0 + KC) * along;
        const first = k0 == 0;
        const last = k0 + KC >= k;
        let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
        for (; p0 < end; p0 += along, p1 += along, p2 += along, p3 += along, pb += ldb) {
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
        storeRow(to, c00, c01, w, first, last, pBias, relu);
        if (h > 1) storeRow(to + ldc, c10, c11, w, first, last, pBias, relu);
        if (h > 2) storeRow(to + 2 * ldc, c20, c21, w, first, last, pBias, relu);
        if (h > 3) storeRow(to + 3 * ldc, c30, c31, w, first, last, pBias, relu);
      }
      to += 4 * ldc;
      a0 += 4 * down;
    }
  }
}

/** out[j] = act(sum over p of v[p] M[p, j] + bias[j]) for n columns of M, whose rows are ld apart. */
export function gemm_vecmat(v: usize, mat: usize, out: usize, n: i32, ld: i32, k: i32, bias: usize, relu: i32): void {
  const stride = <usize>ld << 2;
  for (let k0 = 0; k0 < k; k0 += KC) {
    const end = v + (<usize>min(KC, k - k0) << 2);
    const first = k0 == 0;
    const last = k0 + KC >= k;
    let j = 0;
    for (; j <= n - 32; j += 32) {
      let m = mat + (<usize>j << 2);
      let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
      for (let p = v; p < end; p += 4, m += stride) {
        const s = v128.load_splat<f32>(p);
        a = fma4(s, v128.load(m), a);
        b = fma4(s, v128.load(m, 16), b);
        c = fma4(s, v128.load(m, 32), c);
        d = fma4(s, v128.load(m, 48), d);
        e = fma4(s, v128.load(m, 64), e);
        f = fma4(s, v128.load(m, 80), f);
        g = fma4(s, v128.load(m, 96), g);
        h = fma4(s, v128.load(m, 112), h);
      }
      finish(out, a, j, 4, first, last, bias, relu);
      finish(out, b, j + 4, 4, first, last, bias, relu);
      finish(out, c, j + 8, 4, first, last, bias, relu);
      finish(out, d, j + 12, 4, first, last, bias, relu);
      finish(out, e, j + 16, 4, first, last, bias, relu);
      finish(out, f, j + 20, 4, first, last, bias, relu);
      finish(out, g, j + 24, 4, first, last, bias, relu);
      finish(out, h, j + 28, 4, first, last, bias, relu);
    }
    for (; j < n; j += 4) {
      let m = mat + (<usize>j << 2);
      let a = f32x4.splat(0);
      for (let p = v; p < end; p += 4, m += stride) a = fma4(v128.load_splat<f32>(p), v128.load(m), a);
      finish(out, a, j, min(4, n - j), first, last, bias, relu);
    }
    v = end;
    mat += KC * stride;
  }
}

/** Adds one block of k to the columns j to j + w - 1, finishes them if it was the last, and stores them. */
// @ts-ignore: decorator
@inline function finish(out: usize, v: v128, j: i32, w: i32, first: bool, last: bool, bias: usize, relu: i32): void {
  const o = <usize>j << 2;
  if (!first) v = f32x4.add(v128.load(out + o), v);
  if (last) {
    if (bias) v = f32x4.add(v, v128.load(bias + o));
    if (relu) v = relu4(v);
  }
  if (w == 4) v128.store(out + o, v);
  else storeLanes(out + o, v, w);
}
// @ts-ignore: decorator
@inline function scalar(t: f32, bias: usize, relu: i32): f32 {
  if (bias) t += load<f32>(bias);
  return relu ? max<f32>(t, 0) : t;
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
// @ts-ignore: decorator
@inline function column(r: usize, ld: usize): v128 {
  let v = v128.load_zero<f32>(r);
  v = f32x4.replace_lane(v, 1, load<f32>(r + ld));
  v = f32x4.replace_lane(v, 2, load<f32>(r + 2 * ld));
  return f32x4.replace_lane(v, 3, load<f32>(r + 3 * ld));
}

/** out[j] = act(sum over p of v[p] M[j, p] + bias[j]) for n rows of M: gemm_vecmat of the transpose, turned in registers. */
export function gemm_vecmatT(v: usize, mat: usize, out: usize, n: i32, k: i32, bias: usize, relu: i32): void {
  const ld = <usize>k << 2;
  for (let k0 = 0; k0 < k; k0 += KC) {
    const kc = min(KC, k - k0);
    const end4 = v + (<usize>(kc & ~3) << 2);
    const end = v + (<usize>kc << 2);
    const first = k0 == 0;
    const last = k0 + KC >= k;
    let j = 0;
    for (; j <= n - 16; j += 16) {
      let r = mat + <usize>j * ld;
      const r4 = 4 * ld, r8 = 8 * ld, r12 = 12 * ld;
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
        a = fma4(s, column(r, ld), a);
        b = fma4(s, column(r + r4, ld), b);
        c = fma4(s, column(r + r8, ld), c);
        d = fma4(s, column(r + r12, ld), d);
      }
      finish(out, a, j, 4, first, last, bias, relu);
      finish(out, b, j + 4, 4, first, last, bias, relu);
      finish(out, c, j + 8, 4, first, last, bias, relu);
      finish(out, d, j + 12, 4, first, last, bias, relu);
    }
    for (; j < n; j += 4) {
      // Rows that are missing are read from the first one, and dropped.
      const w = min(4, n - j);
      let r = mat + <usize>j * ld;
      const r1 = w > 1 ? ld : 0, r2 = w > 2 ? 2 * ld : 0, r3 = w > 3 ? 3 * ld : 0;
      let a = f32x4.splat(0);
      let p = v;
      for (; p < end4; p += 16, r += 16) {
        const s0 = v128.load_splat<f32>(p), s1 = v128.load_splat<f32>(p, 4), s2 = v128.load_splat<f32>(p, 8), s3 = v128.load_splat<f32>(p, 12);
        a = fourByFour(r, r + r1, r + r2, r + r3, s0, s1, s2, s3, a);
      }
      for (; p < end; p += 4, r += 4) {
        let m = v128.load_zero<f32>(r);
        m = f32x4.replace_lane(m, 1, load<f32>(r + r1));
        m = f32x4.replace_lane(m, 2, load<f32>(r + r2));
        m = f32x4.replace_lane(m, 3, load<f32>(r + r3));
        a = fma4(v128.load_splat<f32>(p), m, a);
      }
      finish(out, a, j, w, first, last, bias, relu);
    }
    v = end;
    mat += KC * 4;
  }
}

/** out[i] = act(sum over p of M[i, p] v[p] + bias[0]) for `rows` rows of M. */
export function gemm_matvec(mat: usize, v: usize, out: usize, rows: i32, k: i32, bias: usize, relu: i32): void {
  const ld = <usize>k << 2;
  const k16 = <usize>(k & ~15) << 2;
  for (let i = 0; i < rows; i++, mat += ld, out += 4) {
    let a = f32x4.splat(0), b = a, c = a, d = a;
    let o: usize = 0;
    for (; o < k16; o += 64) {
      a = fma4(v128.load(mat + o), v128.load(v + o), a);
      b = fma4(v128.load(mat + o, 16), v128.load(v + o, 16), b);
      c = fma4(v128.load(mat + o, 32), v128.load(v + o, 32), c);
      d = fma4(v128.load(mat + o, 48), v128.load(v + o, 48), d);
    }
    let t: f32 = 0;
    if (k16) {
      a = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
      t = (f32x4.extract_lane(a, 0) + f32x4.extract_lane(a, 1)) + (f32x4.extract_lane(a, 2) + f32x4.extract_lane(a, 3));
    }
    for (; o < ld; o += 4) t += load<f32>(mat + o) * load<f32>(v + o);
    store<f32>(out, scalar(t, bias, relu));
  }
}
