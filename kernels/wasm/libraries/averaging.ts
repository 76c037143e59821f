// The moving average of weights.
import { factor, lerp } from '../flush';

/** One update of an average in place: average += weight (p - average). */
export function averaging(average: usize, p: usize, n: i32, weight: f64): void {
  const bytes = (<usize>n) << 2;
  const way = factor(weight);
  let o: usize = 0;
  do {
    // Blocks are padded to 16 bytes, so the last vector may run into the padding.
    v128.store(average + o, lerp(v128.load(average + o), v128.load(p + o), weight, way));
    o += 16;
  } while (o < bytes);
}
