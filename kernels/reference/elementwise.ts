/** out[i] = f(x[i]). */
export function map(f: (x: number) => number, x: ArrayLike<number>, out: { [i: number]: number }, n: number): void {
  for (let i = 0; i < n; i++) out[i] = f(x[i]);
}

/** out = f(a, b) over nested loops, `out` filled in order; strides count elements. */
export function zip(
  f: (a: number, b: number) => number,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  out: { [i: number]: number },
  sizes: readonly number[],
  strideA: readonly number[],
  strideB: readonly number[],
): void {
  let at = 0;
  const walk = (depth: number, ia: number, ib: number): void => {
    const n = sizes[depth];
    const sa = strideA[depth];
    const sb = strideB[depth];
    if (depth === sizes.length - 1) for (let i = 0; i < n; i++) out[at++] = f(a[ia + i * sa], b[ib + i * sb]);
    else for (let i = 0; i < n; i++) walk(depth + 1, ia + i * sa, ib + i * sb);
  };
  walk(0, 0, 0);
}
