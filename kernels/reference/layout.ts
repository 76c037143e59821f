/** Calls `visit` with the place of every element of a strided layout, in row-major order; all counts are in elements. */
function places(
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  visit: (place: number) => void,
): void {
  const walk = (depth: number, from: number): void => {
    if (depth === shape.length) visit(from);
    else for (let i = 0; i < shape[depth]; i++) walk(depth + 1, from + i * strides[depth]);
  };
  walk(0, offset);
}

/** Fills `out` in order with the elements of x at the places of a strided layout (a stride of 0 repeats). */
export function copy(
  x: ArrayLike<number>,
  out: { [i: number]: number },
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
): void {
  let at = 0;
  places(shape, strides, offset, (place) => {
    out[at++] = x[place];
  });
}

/** The inverse: writes x in order to the places of a strided layout in `out`. */
export function put(
  x: ArrayLike<number>,
  out: { [i: number]: number },
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
): void {
  let at = 0;
  places(shape, strides, offset, (place) => {
    out[place] = x[at++];
  });
}

/** out[r] = x[r, index[r]]. */
export function gather(
  x: ArrayLike<number>,
  index: ArrayLike<number>,
  out: { [i: number]: number },
  rows: number,
  cols: number,
): void {
  for (let r = 0; r < rows; r++) out[r] = x[r * cols + index[r]];
}

/** out[r, index[r]] = x[r], 0 elsewhere. */
export function scatter(
  x: ArrayLike<number>,
  index: ArrayLike<number>,
  out: { [i: number]: number },
  rows: number,
  cols: number,
): void {
  for (let i = 0; i < rows * cols; i++) out[i] = 0;
  for (let r = 0; r < rows; r++) out[r * cols + index[r]] = x[r];
}
