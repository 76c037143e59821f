// C[m,n] = act(op(A) op(B) + bias[n]), row-major, op transposing where its flag is set.
//
// Goto's scheme: A in panels of MR rows and B in panels of NR columns are packed, so that the micro-kernel reads both
// sequentially; a 3x12 tile of C stays in registers for KC steps of k. Nine accumulators hide the latency of two fused
// multiply-adds a cycle and leave V8 enough of the 16 registers. A tile begins with what C holds, so that an element is one
// chain of multiply-adds over k whatever is computed beside it: threads and tiles do not change a bit. Chains end after CHAIN
// steps; longer products are sums of chains in float64 (`gemm_settle`).
import { CHAIN, finish, KC } from './chain';
import { transpose4x4 } from './layout';
import { fma4, relu4 } from './math';
import { total4 } from './sums';

// @ts-ignore: decorator
@inline const MR = 3;
// @ts-ignore: decorator
@inline const NR = 12;
/** Rows of A that stay in the second-level cache. */
// @ts-ignore: decorator
@inline const MC = 96;
/** Columns of B that are packed at once. */
// @ts-ignore: decorator
@inline const NC = 1032;
/** Rows of A that are packed at once. */
// @ts-ignore: decorator
@inline const MO = 768;
/** Elements that are computed at once where there are several chains: so many float64 totals are kept. */
// @ts-ignore: decorator
@inline const AREA = 300000;
/** Steps of k that are packed at once; a chain is a multiple. */
// @ts-ignore: decorator
@inline const KO = 512;
/** Bytes of room for one tile. */
// @ts-ignore: decorator
@inline const EDGE = 256;
/** Bytes of packed panels, and of totals. */
// @ts-ignore: decorator
@inline const PACKED = (MO + NC) * KO * 4;
// @ts-ignore: decorator
@inline const TOTALS = AREA * 8 + 64;

// What happens to a finished tile.
// @ts-ignore: decorator
@inline const ACCUMULATE = 1;
// @ts-ignore: decorator
@inline const BIAS = 2;
// @ts-ignore: decorator
@inline const RELU = 4;
/** For gemm_settle: these were the last steps of k. */
// @ts-ignore: decorator
@inline const LAST = 8;

/** Bytes of scratch space: packed A, packed B, totals, tiles at the edges for as many chunks as work at once. */
export function gemm_scratch(chunks: i32): i32 { return PACKED + TOTALS + chunks * EDGE + 64; }
/** How many of m rows, n columns, k steps are packed at once. */
export function gemm_rows(m: i32, n: i32, k: i32): i32 {
  return part(m, k > CHAIN ? min(MO, AREA / gemm_cols(n) / MC * MC) : MO, MC);
}
export function gemm_cols(n: i32): i32 { return part(n, NC, NR); }
export function gemm_depth(k: i32): i32 { return min(k, KO); }
/** The units of work of `gemm_pack` for a block of m rows, n columns. */
export function gemm_packUnits(m: i32, n: i32): i32 { return (n + NR - 1) / NR + (m + MR - 1) / MR; }
/** The units of work of `gemm_tiles`. */
export function gemm_tileUnits(m: i32, n: i32): i32 { return ((n + NR - 1) / NR) * ((m + MC - 1) / MC); }

/** The size of equal parts of `total`, none above `most`, in whole units. */
// @ts-ignore: decorator
@inline function part(total: i32, most: i32, unit: i32): i32 {
  const parts = (total + most - 1) / most;
  return (((total + parts - 1) / parts + unit - 1) / unit) * unit;
}

// @ts-ignore: decorator
@inline function packedB(scratch: usize): usize { return scratch + ((MO * KO) << 2); }
export function gemm_edges(scratch: usize): usize { return scratch + PACKED + TOTALS; }
export function gemm_totals(scratch: usize): usize { return scratch + PACKED; }

/** One panel of NR columns from column j, [k][NR]; missing columns are zeros. */
function panelB(b: usize, dst: usize, ld: usize, trans: i32, k: i32, w: i32): void {
  let p = 0;
  if (w == NR) {
    if (!trans) {
      for (; p < k; p++, b += ld, dst += NR * 4) {
        v128.store(dst, v128.load(b));
        v128.store(dst, v128.load(b, 16), 16);
        v128.store(dst, v128.load(b, 32), 32);
      }
      return;
    }
    for (; p <= k - 4; p += 4, b += 16, dst += NR * 16) {
      transpose4x4(b, ld, dst, NR * 4);
      transpose4x4(b + 4 * ld, ld, dst + 16, NR * 4);
      transpose4x4(b + 8 * ld, ld, dst + 32, NR * 4);
    }
  }
  const across: usize = trans ? ld : 4;
  const down: usize = trans ? 4 : ld;
  for (; p < k; p++, b += down, dst += NR * 4) {
    for (let q = 0; q < NR; q++) store<f32>(dst + (<usize>q << 2), q < w ? load<f32>(b + <usize>q * across) : <f32>0);
  }
}

/** One panel of MR rows, [k][MR]; missing rows are zeros. */
function panelA(a: usize, dst: usize, ld: usize, trans: i32, k: i32, h: i32): void {
  let p = 0;
  if (h == MR) {
    if (trans) {
      // The fourth lane is overwritten by the next store.
      for (; p < k - 1; p++, a += ld, dst += MR * 4) v128.store(dst, v128.load(a));
    } else {
      for (; p <= k - 4; p += 4, a += 16, dst += MR * 16) {
        const r0 = v128.load(a);
        const r1 = v128.load(a + ld);
        const r2 = v128.load(a + 2 * ld);
        const lo = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
        const hi = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
        v128.store(dst, v128.shuffle<f32>(lo, r2, 0, 1, 4, 2));
        v128.store(dst, v128.shuffle<f32>(v128.shuffle<f32>(lo, r2, 3, 5, 3, 5), hi, 0, 1, 4, 5), 16);
        v128.store(dst, v128.shuffle<f32>(hi, r2, 6, 2, 3, 7), 32);
      }
    }
  }
  const across: usize = trans ? 4 : ld;
  const down: usize = trans ? ld : 4;
  for (; p < k; p++, a += down, dst += MR * 4) {
    for (let q = 0; q < MR; q++) store<f32>(dst + (<usize>q << 2), q < h ? load<f32>(a + <usize>q * across) : <f32>0);
  }
}

/**
 * Packs `count` panels from `begin` on, first those of B, then those of A. `a` and `b` point at the block's first element.
 * Blocks of KC steps follow each other; within one the panels do.
 */
export function gemm_pack(
  a: usize, b: usize, scratch: usize, lda: i32, ldb: i32, transA: i32, transB: i32, m: i32, n: i32, k: i32, begin: i32, count: i32,
): void {
  const panelsB = (n + NR - 1) / NR;
  const panelsA = (m + MR - 1) / MR;
  const la = <usize>lda << 2;
  const lb = <usize>ldb << 2;
  for (let u = begin; u < begin + count; u++) {
    const isB = u < panelsB;
    const i = isB ? u : u - panelsB;
    for (let k0 = 0; k0 < k; k0 += KC) {
      const kc = min(KC, k - k0);
      if (isB) {
        const src = b + (transB ? <usize>(i * NR) * lb + (<usize>k0 << 2) : <usize>k0 * lb + (<usize>(i * NR) << 2));
        panelB(src, packedB(scratch) + (<usize>((k0 * panelsB + i * kc) * NR) << 2), lb, transB, kc, min(NR, n - i * NR));
      } else {
        const src = a + (transA ? <usize>k0 * la + (<usize>(i * MR) << 2) : <usize>(i * MR) * la + (<usize>k0 << 2));
        panelA(src, scratch + (<usize>((k0 * panelsA + i * kc) * MR) << 2), la, transA, kc, min(MR, m - i * MR));
      }
    }
  }
}

// @ts-ignore: decorator
@inline function put(c: usize, v: v128, flags: i32, bias: usize): void {
  if (flags) {
    if (flags & BIAS) v = f32x4.add(v, v128.load(bias));
    if (flags & RELU) v = relu4(v);
  }
  v128.store(c, v);
}

/** One 3x12 tile: a packed panel of A times a packed panel of B. */
function tile(a: usize, b: usize, c: usize, ldc: usize, kc: i32, flags: i32, bias: usize): void {
  let c00 = f32x4.splat(0), c01 = c00, c02 = c00, c10 = c00, c11 = c00, c12 = c00, c20 = c00, c21 = c00, c22 = c00;
  if (flags & ACCUMULATE) {
    let p = c;
    c00 = v128.load(p);
    c01 = v128.load(p, 16);
    c02 = v128.load(p, 32);
    p += ldc;
    c10 = v128.load(p);
    c11 = v128.load(p, 16);
    c12 = v128.load(p, 32);
    p += ldc;
    c20 = v128.load(p);
    c21 = v128.load(p, 16);
    c22 = v128.load(p, 32);
  }
  const end = a + <usize>kc * (MR * 4);
  for (; a < end; a += MR * 4, b += NR * 4) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const b2 = v128.load(b, 32);
    let s = v128.load_splat<f32>(a);
    c00 = fma4(s, b0, c00);
    c01 = fma4(s, b1, c01);
    c02 = fma4(s, b2, c02);
    s = v128.load_splat<f32>(a, 4);
    c10 = fma4(s, b0, c10);
    c11 = fma4(s, b1, c11);
    c12 = fma4(s, b2, c12);
    s = v128.load_splat<f32>(a, 8);
    c20 = fma4(s, b0, c20);
    c21 = fma4(s, b1, c21);
    c22 = fma4(s, b2, c22);
  }
  put(c, c00, flags, bias);
  put(c + 16, c01, flags, bias + 16);
  put(c + 32, c02, flags, bias + 32);
  c += ldc;
  put(c, c10, flags, bias);
  put(c + 16, c11, flags, bias + 16);
  put(c + 32, c12, flags, bias + 32);
  c += ldc;
  put(c, c20, flags, bias);
  put(c + 16, c21, flags, bias + 16);
  put(c + 32, c22, flags, bias + 32);
}

// @ts-ignore: decorator
@inline function copyTile(src: usize, srcStride: usize, dst: usize, dstStride: usize, h: i32, w: i32): void {
  for (let r = 0; r < h; r++, src += srcStride, dst += dstStride) {
    let q: usize = 0;
    for (; q + 16 <= <usize>w << 2; q += 16) v128.store(dst + q, v128.load(src + q));
    for (; q < <usize>w << 2; q += 4) store<f32>(dst + q, load<f32>(src + q));
  }
}

/** A tile that sticks out of C is computed beside it. */
function edgeTile(a: usize, b: usize, c: usize, ldc: usize, kc: i32, flags: i32, bias: usize, edge: usize, h: i32, w: i32): void {
  if (flags & ACCUMULATE) copyTile(c, ldc, edge, NR * 4, h, w);
  tile(a, b, edge, NR * 4, kc, flags, bias);
  copyTile(edge, NR * 4, c, ldc, h, w);
}

/**
 * Multiplies what `gemm_pack` packed. Units of work are panels of B, times blocks of MC rows. `flags` tells what to do when
 * the k steps of this block are summed; `slot` numbers chunks that run at the same time.
 */
export function gemm_tiles(
  scratch: usize, c: usize, ldc: i32, m: i32, n: i32, k: i32, flags: i32, bias: usize, slot: i32, begin: i32, count: i32,
): void {
  const panelsB = (n + NR - 1) / NR;
  const panelsA = (m + MR - 1) / MR;
  const stride = <usize>ldc << 2;
  const edge = gemm_edges(scratch) + <usize>(slot * EDGE);
  const end = begin + count;
  while (begin < end) {
    const block = begin / panelsB;
    const j0 = begin - block * panelsB;
    const j1 = min(panelsB, j0 + end - begin);
    const i0 = block * MC;
    const i1 = min(m, i0 + MC);
    for (let k0 = 0; k0 < k; k0 += KC) {
      const kc = min(KC, k - k0);
      const f = (k0 > 0 ? ACCUMULATE : flags & ACCUMULATE) | (k0 + kc == k ? flags & ~ACCUMULATE : 0);
      for (let j = j0; j < j1; j++) {
        const w = min(NR, n - j * NR);
        const pb = packedB(scratch) + (<usize>((k0 * panelsB + j * kc) * NR) << 2);
        const pBias = bias + (<usize>(j * NR) << 2);
        let pa = scratch + (<usize>((k0 * panelsA + (i0 / MR) * kc) * MR) << 2);
        let pc = c + <usize>i0 * stride + (<usize>(j * NR) << 2);
        for (let i = i0; i < i1; i += MR) {
          const h = min(MR, m - i);
          if (w == NR && h == MR) tile(pa, pb, pc, stride, kc, f, pBias);
          else edgeTile(pa, pb, pc, stride, kc, f, pBias, edge, h, w);
          pa += <usize>kc * (MR * 4);
          pc += stride * MR;
        }
      }
    }
    begin += j1 - j0;
  }
}

/**
 * Adds the chains that end in C to the totals of `rows` rows; after the last, C gets the totals. Totals have room for whole
 * vectors in each row.
 */
export function gemm_settle(c: usize, totals: usize, ldc: i32, n: i32, rows: i32, flags: i32, bias: usize): void {
  const first = !(flags & ACCUMULATE);
  for (let i = 0; i < rows; i++, c += <usize>ldc << 2) {
    for (let j = 0; j < n; j += 4, totals += 32) {
      const o = <usize>j << 2;
      const v = total4(totals, v128.load(c + o), first);
      if (flags & LAST) finish(c + o, v, n - j, bias ? bias + o : 0, flags & RELU);
    }
  }
}

/** The whole product on one thread. `bias` is 0 where there is none. */
export function gemm(
  a: usize, b: usize, c: usize, m: i32, n: i32, k: i32, transA: i32, transB: i32, bias: usize, relu: i32, scratch: usize,
): void {
  const lda = transA ? m : k;
  const ldb = transB ? k : n;
  const cols = gemm_cols(n);
  const rows = gemm_rows(m, n, k);
  const long = k > CHAIN;
  for (let j = 0; j < n; j += cols) {
    const nc = min(cols, n - j);
    for (let i = 0; i < m; i += rows) {
      const mc = min(rows, m - i);
      for (let p = 0; p < k; p += KO) {
        const kc = min(KO, k - p);
        const pa = a + (<usize>(transA ? p * lda + i : i * lda + p) << 2);
        const pb = b + (<usize>(transB ? j * ldb + p : p * ldb + j) << 2);
        gemm_pack(pa, pb, scratch, lda, ldb, transA, transB, mc, nc, kc, 0, gemm_packUnits(mc, nc));
        const last = p + kc == k;
        const ends = last ? (bias ? BIAS : 0) | (relu ? RELU : 0) : 0;
        const to = c + (<usize>(i * n + j) << 2);
        const flags = (p % CHAIN ? ACCUMULATE : 0) | (long ? 0 : ends);
        const pBias = bias ? bias + (<usize>j << 2) : 0;
        gemm_tiles(scratch, to, n, mc, nc, kc, flags, pBias, 0, 0, gemm_tileUnits(mc, nc));
        if (long && (last || (p + kc) % CHAIN == 0)) {
          gemm_settle(to, gemm_totals(scratch), n, nc, mc, (p >= CHAIN ? ACCUMULATE : 0) | (last ? LAST : 0) | ends, pBias);
        }
      }
    }
  }
}
