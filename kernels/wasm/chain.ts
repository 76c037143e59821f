// What all products share.
import { relu4 } from './math';
import { storeUpTo4 } from './sums';

/** An element of a product is one chain of multiply-adds over so many steps of k; longer ones are sums of chains in float64. */
// @ts-ignore: decorator
@inline export const CHAIN = 2048;
/** Steps of k for which a tile stays in registers and a panel of B in the first-level cache. */
// @ts-ignore: decorator
@inline export const KC = 256;

/** Stores the first w of four sums with bias, where there is one, and relu. */
// @ts-ignore: decorator
@inline export function finish(c: usize, v: v128, w: i32, bias: usize, relu: i32): void {
  if (bias) v = f32x4.add(v, v128.load(bias));
  if (relu) v = relu4(v);
  storeUpTo4(c, v, w);
}
