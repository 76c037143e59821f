/** Fills `out` in order with x read through the given strides (elements; 0 repeats). */
export function copy(
  x: ArrayLike<number>,
  out: { [i: number]: number },
  shape: readonly number[],
  strides: readonly number[],
): void {
  let at = 0;
  const walk = (depth: number, from: number): void => {
    if (depth === shape.length) out[at++] = x[from];
    else if (depth === shape.length - 1)
      for (let i = 0; i < shape[depth]; i++) out[at++] = x[from + i * strides[depth]];
    else for (let i = 0; i < shape[depth]; i++) walk(depth + 1, from + i * strides[depth]);
  };
  walk(0, 0);
}

/** out[r] = x[r, index[r]]. */
export function pick(
  x: ArrayLike<number>,
  index: ArrayLike<number>,
  out: { [i: number]: number },
  rows: number,
  cols: number,
): void {
  for (let r = 0; r < rows; r++) out[r] = x[r * cols + index[r]];
}

/** out[r, index[r]] = x[r], 0 elsewhere. */
export function place(
  x: ArrayLike<number>,
  index: ArrayLike<number>,
  out: { [i: number]: number },
  rows: number,
  cols: number,
): void {
  for (let i = 0; i < rows * cols; i++) out[i] = 0;
  for (let r = 0; r < rows; r++) out[r * cols + index[r]] = x[r];
}
