import type { MatmulPlan } from '../backend.js';
import type { Pool } from './pool.js';
import type { Kernels } from './wasm.js';

/** Up to this many multiplications a product is computed without packing. */
const SMALL = 300_000;
const ACCUMULATE = 1;
const BIAS = 2;
const RELU = 4;
const LAST = 8;
/** Steps of k in one chain: kernels/wasm/chain.ts. */
const CHAIN = 2048;

// The increments of the kernels' arguments for every unit of work; see kernels/wasm/gemm.ts.
const PACK_STEPS = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const TILE_STEPS = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const TILE_CHUNKS = [0, 0, 0, 0, 0, 0, 0, 0, 1];

/** One product; addresses in bytes, `bias` 0 where there is none. */
export function gemm(
  kernels: Kernels,
  pool: Pool,
  plan: MatmulPlan,
  a: number,
  b: number,
  c: number,
  bias: number,
  scratch: number,
): void {
  const { m, n, k } = plan;
  const transA = plan.transA ? 1 : 0;
  const transB = plan.transB ? 1 : 0;
  const relu = plan.relu ? 1 : 0;
  // A vector and its transpose have the same layout.
  if (n === 1 && (m === 1 || !transA)) rowProducts(pool, a, b, c, m, k, bias, relu);
  else if (m === 1 && transB) turnedProducts(kernels, pool, a, b, c, n, k, bias, relu, scratch);
  else if (m === 1) columnProducts(kernels, pool, a, b, c, n, k, bias, relu, scratch);
  else if (n === 1 && bias === 0) columnProducts(kernels, pool, b, a, c, m, k, 0, relu, scratch);
  else if (m * n * k <= SMALL) kernels.gemm_small!(a, b, c, m, n, k, transA, transB, bias, relu, scratch);
  else if (pool.threads === 1) kernels.gemm!(a, b, c, m, n, k, transA, transB, bias, relu, scratch);
  else tiles(kernels, pool, plan, a, b, c, bias, scratch);
}

/** A product in packed tiles, on all threads. */
function tiles(
  kernels: Kernels,
  pool: Pool,
  plan: MatmulPlan,
  a: number,
  b: number,
  c: number,
  bias: number,
  scratch: number,
): void {
  const { m, n, k } = plan;
  const transA = plan.transA ? 1 : 0;
  const transB = plan.transB ? 1 : 0;
  const relu = plan.relu ? 1 : 0;
  const lda = transA ? m : k;
  const ldb = transB ? k : n;
  const rows = kernels.gemm_rows!(m, n, k);
  const cols = kernels.gemm_cols!(n);
  const depth = kernels.gemm_depth!(k);
  const long = k > CHAIN;
  for (let j = 0; j < n; j += cols) {
    const nc = Math.min(cols, n - j);
    for (let i = 0; i < m; i += rows) {
      const mc = Math.min(rows, m - i);
      for (let p = 0; p < k; p += depth) {
        const kc = Math.min(depth, k - p);
        const pa = a + (transA ? p * lda + i : i * lda + p) * 4;
        const pb = b + (transB ? j * ldb + p : p * ldb + j) * 4;
        pool.run({
          kernel: 'gemm_pack',
          args: [pa, pb, scratch, lda, ldb, transA, transB, mc, nc, kc, 0, 0],
          perUnit: PACK_STEPS,
          counted: 11,
          units: kernels.gemm_packUnits!(mc, nc),
          grain: 1,
          cost: 5 * kc,
        });
        const last = p + kc === k;
        const ends = last ? (bias === 0 ? 0 : BIAS) | (relu ? RELU : 0) : 0;
        const flags = (p % CHAIN === 0 ? 0 : ACCUMULATE) | (long ? 0 : ends);
        const to = c + (i * n + j) * 4;
        const pBias = bias === 0 ? 0 : bias + j * 4;
        const units = kernels.gemm_tileUnits!(mc, nc);
        pool.run({
          kernel: 'gemm_tiles',
          args: [scratch, to, n, mc, nc, kc, flags, pBias, 0, 0, 0],
          perUnit: TILE_STEPS,
          perChunk: TILE_CHUNKS,
          counted: 10,
          units,
          grain: 1,
          cost: (0.08 * mc * nc * kc) / units,
        });
        if (long && (last || (p + kc) % CHAIN === 0)) {
          const what = (p < CHAIN ? 0 : ACCUMULATE) | (last ? LAST : 0) | ends;
          pool.run({
            kernel: 'gemm_settle',
            args: [to, kernels.gemm_totals!(scratch), n, nc, mc, what, pBias],
            perUnit: [n * 4, Math.ceil(nc / 4) * 32],
            counted: 4,
            units: mc,
            grain: 1,
            cost: 0.5 * nc,
          });
        }
      }
    }
  }
}

/** out[i] = M[i] · v for rows of M. */
function rowProducts(
  pool: Pool,
  mat: number,
  v: number,
  out: number,
  rows: number,
  k: number,
  bias: number,
  relu: number,
): void {
  pool.run({
    kernel: 'gemm_matvec',
    args: [mat, v, out, rows, k, bias, relu],
    perUnit: [k * 4, 0, 4, 0, 0, 0, 0],
    counted: 3,
    units: rows,
    grain: 16,
    cost: k / 6,
  });
}

/** out[j] = v · M[j] for rows of M, summed in the order of columnProducts. */
function turnedProducts(
  kernels: Kernels,
  pool: Pool,
  v: number,
  mat: number,
  out: number,
  n: number,
  k: number,
  bias: number,
  relu: number,
  totals: number,
): void {
  pool.run({
    kernel: 'gemm_vecmatT',
    args: [v, mat, out, n, k, bias, relu, totals],
    perUnit: [0, k * 4, 4, 0, 0, bias === 0 ? 0 : 4, 0],
    perChunk: [0, 0, 0, 0, 0, 0, 0, kernels.gemm_vectorTotals!()],
    counted: 3,
    units: n,
    grain: 16,
    cost: k / 6,
  });
}

/** out[j] = v · M[:, j] for columns of M [k, n]. */
function columnProducts(
  kernels: Kernels,
  pool: Pool,
  v: number,
  mat: number,
  out: number,
  n: number,
  k: number,
  bias: number,
  relu: number,
  totals: number,
): void {
  pool.run({
    kernel: 'gemm_vecmat',
    args: [v, mat, out, n, n, k, bias, relu, totals],
    perUnit: [0, 4, 4, 0, 0, 0, bias === 0 ? 0 : 4, 0],
    perChunk: [0, 0, 0, 0, 0, 0, 0, 0, kernels.gemm_vectorTotals!()],
    counted: 3,
    units: n,
    grain: 32,
    cost: k / 6,
  });
}
