/** How the middle dimension of [outer, length, inner] is folded. */
export interface Fold {
  readonly init: number;
  readonly combine: (acc: number, x: number) => number;
  readonly finish: (acc: number, n: number) => number;
  readonly result: 'value' | 'index';
}

/** Accumulates in double precision; an index is where the accumulator last changed, or first became NaN. */
export function reduce(
  fold: Fold,
  x: ArrayLike<number>,
  out: { [i: number]: number },
  outer: number,
  length: number,
  inner: number,
): void {
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < inner; j++) {
      let acc = fold.init;
      let index = 0;
      for (let i = 0; i < length; i++) {
        const next = fold.combine(acc, x[(o * length + i) * inner + j]);
        if (next !== acc && !Number.isNaN(acc)) index = i;
        acc = next;
      }
      out[o * inner + j] = fold.result === 'index' ? index : fold.finish(acc, length);
    }
  }
}
