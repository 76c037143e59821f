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

/** Indices into the middle of [outer, length, inner], which pick [outer, count, inner]. */
interface Plan {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
  readonly count: number;
  readonly shared: boolean;
}

/** Calls `visit` for every number that is picked, in row-major order, with its place and the place of where it comes from. */
function picks(
  index: ArrayLike<number>,
  { outer, length, inner, count, shared }: Plan,
  visit: (to: number, from: number) => void,
): void {
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < count; k++) {
      for (let i = 0; i < inner; i++) {
        const to = (o * count + k) * inner + i;
        visit(to, (o * length + index[shared ? k : to]) * inner + i);
      }
    }
  }
}

/** out[o, k, i] = x[o, at, i] with at = index[k] if it is shared, else index[o, k, i]. */
export function gather(x: ArrayLike<number>, index: ArrayLike<number>, out: { [i: number]: number }, plan: Plan): void {
  picks(index, plan, (to, from) => {
    out[to] = x[from];
  });
}

/** out[o, at, i] += x[o, k, i] for `out` filled with 0. */
export function scatter(
  x: ArrayLike<number>,
  index: ArrayLike<number>,
  out: { [i: number]: number },
  plan: Plan,
): void {
  picks(index, plan, (from, to) => {
    out[to] += x[from];
  });
}
