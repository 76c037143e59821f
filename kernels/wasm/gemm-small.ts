// Products that are not worth packing: small ones, and those with a vector, which move as many bytes as they compute.
import { fma4, relu4 } from './math';

// @ts-ignore: decorator
@inline function storeLanes(c: usize, v: v128, w: i32): void {
  if (w & 2) {
    v128.store_lane<i64>(c, v, 0);
    if (w & 1) v128.store_lane<f32>(c, v, 2, 8);
  } else if (w & 1) v128.store_lane<f32>(c, v, 0);
}
/** Finishes and stores the first w of 8 columns. */
// @ts-ignore: decorator
@inline function storeRow(c: usize, lo: v128, hi: v128, w: i32, bias: usize, relu: i32): void {
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
    for (let j = 0; j < n; j++) {
      let to = scratch + (<usize>j << 2);
      for (let p = 0; p < k; p++, b += 4, to += ldb) store<f32>(to, load<f32>(b));
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
      const end = a0 + <usize>k * along;
      let p0 = a0, p1 = h > 1 ? a0 + down : a0, p2 = h > 2 ? a0 + 2 * down : a0, p3 = h > 3 ? a0 + 3 * down : a0;
      let pb = b + (<usize>j << 2);
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
      storeRow(to, c00, c01, w, pBias, relu);
      to += ldc;
      if (h > 1) storeRow(to, c10, c11, w, pBias, relu);
      to += ldc;
      if (h > 2) storeRow(to, c20, c21, w, pBias, relu);
      to += ldc;
      if (h > 3) storeRow(to, c30, c31, w, pBias, relu);
      to += ldc;
      a0 += 4 * down;
    }
  }
}

/** out[j] = act(sum over p of v[p] M[p, j] + bias[j]) for n columns of M, whose rows are ld apart. */
export function gemm_vecmat(v: usize, mat: usize, out: usize, n: i32, ld: i32, k: i32, bias: usize, relu: i32): void {
  const stride = <usize>ld << 2;
  let j = 0;
  for (; j <= n - 32; j += 32) {
    let m = mat + (<usize>j << 2);
    let a = f32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
    for (let p = 0; p < k; p++, m += stride) {
      const s = v128.load_splat<f32>(v + (<usize>p << 2));
      a = fma4(s, v128.load(m), a);
      b = fma4(s, v128.load(m, 16), b);
      c = fma4(s, v128.load(m, 32), c);
      d = fma4(s, v128.load(m, 48), d);
      e = fma4(s, v128.load(m, 64), e);
      f = fma4(s, v128.load(m, 80), f);
      g = fma4(s, v128.load(m, 96), g);
      h = fma4(s, v128.load(m, 112), h);
    }
    finish(out, a, j, bias, relu);
    finish(out, b, j + 4, bias, relu);
    finish(out, c, j + 8, bias, relu);
    finish(out, d, j + 12, bias, relu);
    finish(out, e, j + 16, bias, relu);
    finish(out, f, j + 20, bias, relu);
    finish(out, g, j + 24, bias, relu);
    finish(out, h, j + 28, bias, relu);
  }
  for (; j < n; j += 4) {
    let m = mat + (<usize>j << 2);
    let a = f32x4.splat(0);
    for (let p = 0; p < k; p++, m += stride) a = fma4(v128.load_splat<f32>(v + (<usize>p << 2)), v128.load(m), a);
    if (j <= n - 4) {
      finish(out, a, j, bias, relu);
    } else {
      const rest = n - j;
      store<f32>(out + (<usize>j << 2), scalar(f32x4.extract_lane(a, 0), bias, j, relu));
      if (rest > 1) store<f32>(out + (<usize>j << 2), scalar(f32x4.extract_lane(a, 1), bias, j + 1, relu), 4);
      if (rest > 2) store<f32>(out + (<usize>j << 2), scalar(f32x4.extract_lane(a, 2), bias, j + 2, relu), 8);
    }
  }
}

// @ts-ignore: decorator
@inline function finish(out: usize, v: v128, j: i32, bias: usize, relu: i32): void {
  const o = <usize>j << 2;
  if (bias) v = f32x4.add(v, v128.load(bias + o));
  if (relu) v = relu4(v);
  v128.store(out + o, v);
}
// @ts-ignore: decorator
@inline function scalar(t: f32, bias: usize, j: i32, relu: i32): f32 {
  if (bias) t += load<f32>(bias + (<usize>j << 2));
  return relu ? max<f32>(t, 0) : t;
}

/** out[i] = act(sum over p of M[i, p] v[p] + bias[i biasStep]) for `rows` rows of M. */
export function gemm_matvec(mat: usize, v: usize, out: usize, rows: i32, k: i32, bias: usize, biasStep: i32, relu: i32): void {
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
    store<f32>(out, scalar(t, bias, i * biasStep, relu));
  }
}
