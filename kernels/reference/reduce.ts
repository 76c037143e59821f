import { BLOCK, blocked } from './sums.js';

/** How the middle dimension of [outer, length, inner] is folded. */
export interface Fold {
  readonly init: number;
  readonly combine: (acc: number, x: number) => number;
  readonly finish: (acc: number, n: number) => number;
  readonly result: 'value' | 'index';
}

/** A value is joined in the order of sums.ts; an index is where the accumulator last changed, or first became NaN. */
export function reduce(
  fold: Fold,
  x: ArrayLike<number>,
  out: { [i: number]: number },
  outer: number,
  length: number,
  inner: number,
  round: (x: number) => number = Math.fround,
): void {
  const { init, combine, finish, result } = fold;
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < inner; j++) {
      const first = o * length * inner + j;
      const extend = (lane: number, i: number) => round(combine(lane, x[first + i * inner]));
      out[o * inner + j] =
        result === 'index'
          ? position(fold, x, first, length, inner)
          : finish(blocked(length, BLOCK, init, combine, round, extend), length);
    }
  }
}

function position({ init, combine }: Fold, x: ArrayLike<number>, first: number, length: number, step: number): number {
  let acc = init;
  let index = 0;
  for (let i = 0; i < length; i++) {
    const next = combine(acc, x[first + i * step]);
    if (next !== acc && !Number.isNaN(acc)) index = i;
    acc = next;
  }
  return index;
}
