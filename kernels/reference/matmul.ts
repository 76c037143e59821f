import { type Arithmetic, blockedSum } from './sums.js';

/** Steps of k in one chain of a product: kernels/wasm/chain.ts. */
export const CHAIN = 2048;

/**
 * C[m,n] = op(A) op(B) (+ bias[n]), negative results 0 with `relu`, with operands that start at the given offsets.
 *
 * An element is a chain of multiply-adds over k that starts at 0; with more than CHAIN steps, a sum of such chains in
 * float64, in sequence. Where C has one column and the rows of A lie in one piece, each chain is 16 lanes as in sums.ts.
 */
export function matmul(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  out: { [i: number]: number },
  at: { a: number; b: number; out: number },
  size: { m: number; n: number; k: number },
  transA: boolean,
  transB: boolean,
  bias: ArrayLike<number> | null,
  relu: boolean,
  { round, multiplyAdd }: Arithmetic,
): void {
  const { m, n, k } = size;
  const [ai, ap] = transA ? [1, m] : [k, 1];
  const [bp, bj] = transB ? [1, k] : [n, 1];
  const lanes = n === 1 && (m === 1 || !transA);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const rowA = at.a + i * ai;
      const columnB = at.b + j * bj;
      let sum = 0;
      if (lanes) {
        sum = blockedSum(k, CHAIN, round, (lane, p) => multiplyAdd(a[rowA + p * ap], b[columnB + p * bp], lane));
      } else {
        for (let begin = 0; begin < k; begin += CHAIN) {
          let chain = 0;
          const end = Math.min(k, begin + CHAIN);
          for (let p = begin; p < end; p++) chain = multiplyAdd(a[rowA + p * ap], b[columnB + p * bp], chain);
          sum += chain;
        }
      }
      sum = round(sum);
      if (bias) sum = round(sum + bias[j]);
      out[at.out + i * n + j] = relu && sum < 0 ? 0 : sum;
    }
  }
}
