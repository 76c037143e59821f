// C[m,n] = op(A) op(B) (+ bias[n]), row-major, op transposing where its flag is set.
//
// Goto's scheme: B in panels of NR columns and A in panels of MR rows are packed, KC deep, so that the micro-kernel
// reads both sequentially; a 4x8 tile of C stays in registers. Products with a vector are done unpacked, as they move
// as many bytes as they compute.
import { transpose4x4 } from './layout';
import { fma4 } from './math';

// @ts-ignore: decorator
@inline const MR = 4;
// @ts-ignore: decorator
@inline const NR = 8;
// @ts-ignore: decorator
@inline const KC = 256;
// @ts-ignore: decorator
@inline const MC = 128;
// @ts-ignore: decorator
@inline const NC = 1024;

/** Bytes of scratch space that `gemm` needs: packed A, packed B, and one tile for the edges. */
export function gemm_scratch(): i32 { return (MC * KC + KC * NC + MR * NR) * 4; }

/** Packs op(B)[k0 .. k0+kc, j0 .. j0+nc] into panels [ceil(nc / NR)][kc][NR], padded with zeros. */
function packB(b: usize, dst: usize, ldb: i32, trans: i32, k0: i32, kc: i32, j0: i32, nc: i32): void {
  const ld = <usize>ldb << 2;
  for (let j = 0; j < nc; j += NR) {
    const w = min(NR, nc - j);
    if (!trans) {
      let src = b + <usize>k0 * ld + (<usize>(j0 + j) << 2);
      if (w == NR) {
        for (let p = 0; p < kc; p++, src += ld, dst += 32) {
          v128.store(dst, v128.load(src));
          v128.store(dst, v128.load(src, 16), 16);
        }
      } else {
        for (let p = 0; p < kc; p++, src += ld, dst += 32) {
          for (let q = 0; q < NR; q++) store<f32>(dst + (<usize>q << 2), q < w ? load<f32>(src + (<usize>q << 2)) : <f32>0);
        }
      }
    } else {
      const src = b + <usize>(j0 + j) * ld + (<usize>k0 << 2);
      let p = 0;
      if (w == NR) {
        for (; p <= kc - 4; p += 4, dst += 128) {
          transpose4x4(src + (<usize>p << 2), ld, dst, 32);
          transpose4x4(src + 4 * ld + (<usize>p << 2), ld, dst + 16, 32);
        }
      }
      for (; p < kc; p++, dst += 32) {
        for (let q = 0; q < NR; q++) {
          store<f32>(dst + (<usize>q << 2), q < w ? load<f32>(src + <usize>q * ld + (<usize>p << 2)) : <f32>0);
        }
      }
    }
  }
}

/** Packs op(A)[i0 .. i0+mc, k0 .. k0+kc] into panels [ceil(mc / MR)][kc][MR], padded with zeros. */
function packA(a: usize, dst: usize, lda: i32, trans: i32, i0: i32, mc: i32, k0: i32, kc: i32): void {
  const ld = <usize>lda << 2;
  for (let i = 0; i < mc; i += MR) {
    const h = min(MR, mc - i);
    if (trans) {
      let src = a + <usize>k0 * ld + (<usize>(i0 + i) << 2);
      for (let p = 0; p < kc; p++, src += ld, dst += 16) {
        if (h == MR) v128.store(dst, v128.load(src));
        else for (let q = 0; q < MR; q++) store<f32>(dst + (<usize>q << 2), q < h ? load<f32>(src + (<usize>q << 2)) : <f32>0);
      }
    } else {
      const src = a + <usize>(i0 + i) * ld + (<usize>k0 << 2);
      let p = 0;
      if (h == MR) for (; p <= kc - 4; p += 4, dst += 64) transpose4x4(src + (<usize>p << 2), ld, dst, 16);
      for (; p < kc; p++, dst += 16) {
        for (let q = 0; q < MR; q++) {
          store<f32>(dst + (<usize>q << 2), q < h ? load<f32>(src + <usize>q * ld + (<usize>p << 2)) : <f32>0);
        }
      }
    }
  }
}

// @ts-ignore: decorator
@inline function put(c: usize, lo: v128, hi: v128, fresh: bool): void {
  if (fresh) {
    v128.store(c, lo);
    v128.store(c, hi, 16);
  } else {
    v128.store(c, f32x4.add(v128.load(c), lo));
    v128.store(c, f32x4.add(v128.load(c, 16), hi), 16);
  }
}

/** One 4x8 tile: C = or += packed A panel times packed B panel. */
function tile(a: usize, b: usize, c: usize, ldc: usize, kc: i32, fresh: bool): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  const end = a + (<usize>kc << 4);
  for (; a < end; a += 16, b += 32) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let s = v128.load_splat<f32>(a);
    c00 = fma4(s, b0, c00);
    c01 = fma4(s, b1, c01);
    s = v128.load_splat<f32>(a, 4);
    c10 = fma4(s, b0, c10);
    c11 = fma4(s, b1, c11);
    s = v128.load_splat<f32>(a, 8);
    c20 = fma4(s, b0, c20);
    c21 = fma4(s, b1, c21);
    s = v128.load_splat<f32>(a, 12);
    c30 = fma4(s, b0, c30);
    c31 = fma4(s, b1, c31);
  }
  put(c, c00, c01, fresh);
  put(c + ldc, c10, c11, fresh);
  put(c + 2 * ldc, c20, c21, fresh);
  put(c + 3 * ldc, c30, c31, fresh);
}

/** out[j] = sum over p of v[p] M[p, j], M being [k, n]. */
function vecmat(v: usize, mat: usize, out: usize, n: i32, k: i32): void {
  memory.fill(out, 0, <usize>n << 2);
  const ld = <usize>n << 2;
  for (let p = 0; p < k; p += 4) {
    const rows = min(4, k - p);
    const m0 = mat + <usize>p * ld;
    const s0 = v128.load_splat<f32>(v + (<usize>p << 2));
    const s1 = rows > 1 ? v128.load_splat<f32>(v + (<usize>p << 2), 4) : f32x4.splat(0);
    const s2 = rows > 2 ? v128.load_splat<f32>(v + (<usize>p << 2), 8) : f32x4.splat(0);
    const s3 = rows > 3 ? v128.load_splat<f32>(v + (<usize>p << 2), 12) : f32x4.splat(0);
    // A missing row is read from the first one and dropped: 0 times Infinity would be NaN.
    const m1 = rows > 1 ? m0 + ld : 0, m2 = rows > 2 ? m0 + 2 * ld : 0, m3 = rows > 3 ? m0 + 3 * ld : 0;
    let j = 0;
    if (rows == 4) {
      for (; j <= n - 4; j += 4) {
        const o = <usize>j << 2;
        const lo = fma4(s1, v128.load(m1 + o), f32x4.mul(s0, v128.load(m0 + o)));
        const hi = fma4(s3, v128.load(m3 + o), f32x4.mul(s2, v128.load(m2 + o)));
        v128.store(out + o, f32x4.add(v128.load(out + o), f32x4.add(lo, hi)));
      }
    }
    for (; j < n; j++) {
      const o = <usize>j << 2;
      let t = f32x4.extract_lane(s0, 0) * load<f32>(m0 + o);
      if (m1) t += f32x4.extract_lane(s1, 0) * load<f32>(m1 + o);
      if (m2) t += f32x4.extract_lane(s2, 0) * load<f32>(m2 + o);
      if (m3) t += f32x4.extract_lane(s3, 0) * load<f32>(m3 + o);
      store<f32>(out + o, load<f32>(out + o) + t);
    }
  }
}

/** out[i] = sum over p of M[i, p] v[p], M being [rows, k]. */
function matvec(mat: usize, v: usize, out: usize, rows: i32, k: i32): void {
  const ld = <usize>k << 2;
  for (let i = 0; i < rows; i++, mat += ld, out += 4) {
    let a = f32x4.splat(0), b = a, c = a, d = a;
    let p = 0;
    for (; p <= k - 16; p += 16) {
      const o = <usize>p << 2;
      a = fma4(v128.load(mat + o), v128.load(v + o), a);
      b = fma4(v128.load(mat + o, 16), v128.load(v + o, 16), b);
      c = fma4(v128.load(mat + o, 32), v128.load(v + o, 32), c);
      d = fma4(v128.load(mat + o, 48), v128.load(v + o, 48), d);
    }
    a = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
    let t = (f32x4.extract_lane(a, 0) + f32x4.extract_lane(a, 1)) + (f32x4.extract_lane(a, 2) + f32x4.extract_lane(a, 3));
    for (; p < k; p++) t += load<f32>(mat + (<usize>p << 2)) * load<f32>(v + (<usize>p << 2));
    store<f32>(out, t);
  }
}

function addBias(c: usize, bias: usize, m: i32, n: i32): void {
  for (let i = 0; i < m; i++) {
    let j = 0;
    for (; j <= n - 4; j += 4, c += 16) v128.store(c, f32x4.add(v128.load(c), v128.load(bias + (<usize>j << 2))));
    for (; j < n; j++, c += 4) store<f32>(c, load<f32>(c) + load<f32>(bias + (<usize>j << 2)));
  }
}

/** `bias` is 0 where there is none; `scratch` has gemm_scratch() bytes. */
export function gemm(a: usize, b: usize, c: usize, m: i32, n: i32, k: i32, transA: i32, transB: i32, bias: usize, scratch: usize): void {
  if (m == 1) {
    if (transB) matvec(b, a, c, n, k);
    else vecmat(a, b, c, n, k);
  } else if (n == 1) {
    if (transA) vecmat(b, a, c, m, k);
    else matvec(a, b, c, m, k);
  } else {
    blocked(a, b, c, m, n, k, transA, transB, scratch);
  }
  if (bias) addBias(c, bias, m, n);
}

function blocked(a: usize, b: usize, c: usize, m: i32, n: i32, k: i32, transA: i32, transB: i32, scratch: usize): void {
  const lda = transA ? m : k;
  const ldb = transB ? k : n;
  const ldc = <usize>n << 2;
  const packedB = scratch + (<usize>(MC * KC) << 2);
  const edge = packedB + (<usize>(KC * NC) << 2);
  for (let j0 = 0; j0 < n; j0 += NC) {
    const nc = min(NC, n - j0);
    for (let k0 = 0; k0 < k; k0 += KC) {
      const kc = min(KC, k - k0);
      const fresh = k0 == 0;
      packB(b, packedB, ldb, transB, k0, kc, j0, nc);
      for (let i0 = 0; i0 < m; i0 += MC) {
        const mc = min(MC, m - i0);
        packA(a, scratch, lda, transA, i0, mc, k0, kc);
        for (let j = 0; j < nc; j += NR) {
          const w = min(NR, nc - j);
          const pb = packedB + (<usize>(j * kc) << 2);
          for (let i = 0; i < mc; i += MR) {
            const h = min(MR, mc - i);
            const pa = scratch + (<usize>(i * kc) << 2);
            const pc = c + <usize>(i0 + i) * ldc + (<usize>(j0 + j) << 2);
            if (w == NR && h == MR) tile(pa, pb, pc, ldc, kc, fresh);
            else {
              tile(pa, pb, edge, NR * 4, kc, true);
              for (let r = 0; r < h; r++) {
                for (let q = 0; q < w; q++) {
                  const t = pc + <usize>r * ldc + (<usize>q << 2);
                  const s = load<f32>(edge + (<usize>(r * NR + q) << 2));
                  store<f32>(t, fresh ? s : load<f32>(t) + s);
                }
              }
            }
          }
        }
      }
    }
  }
}
