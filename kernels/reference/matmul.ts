/** C[m,n] = op(A) op(B) (+ bias[n]), negative results 0 with `relu`, with operands that start at the given offsets; sums in double precision. */
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
): void {
  const { m, n, k } = size;
  const [ai, ap] = transA ? [1, m] : [k, 1];
  const [bp, bj] = transB ? [1, k] : [n, 1];
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a[at.a + i * ai + p * ap] * b[at.b + p * bp + j * bj];
      if (bias) sum += bias[j];
      out[at.out + i * n + j] = relu ? Math.max(sum, 0) : sum;
    }
  }
}
