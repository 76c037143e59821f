// Adam and AdamW: one pass over a parameter and its averages, in the order of operations of torch.optim.Adam.
import { factor, flushed, lerp, NORMAL } from '../flush';
import { fma4 } from '../math';

// What most steps do not need is left out of their loop: `plain` is constant where this is inlined. A loop that tests at its
// end lets V8 keep the constants in registers.
// @ts-ignore: decorator
@inline function updated(
  plain: bool,
  p: usize,
  g: usize,
  average: usize,
  square: usize,
  largest: usize,
  n: i32,
  step: f64,
  beta1: f64,
  beta2: f64,
  eps: f64,
  weightDecay: f64,
  keep: f64,
  root: f64,
): void {
  const bytes = (<usize>n) << 2;
  const weight = plain ? 0 : 1 - beta1;
  const b2 = f32x4.splat(<f32>beta2),
    c2 = f32x4.splat(<f32>(1 - beta2));
  const decay = f32x4.splat(<f32>weightDecay);
  const kept = f32x4.splat(<f32>keep);
  const back = f32x4.splat(<f32>-step);
  const roots = f32x4.splat(<f32>(1 / root));
  const epsilons = f32x4.splat(<f32>eps);
  const way = factor(1 - beta1);
  const normal = f32x4.splat(NORMAL);
  let o: usize = 0;
  do {
    // Blocks are padded to 16 bytes, so the last vector may run into the padding.
    const param = v128.load(p + o);
    let d = v128.load(g + o);
    if (!plain && weightDecay != 0) d = f32x4.add(d, f32x4.mul(decay, param));
    const m = flushed(lerp(v128.load(average + o), d, weight, way), normal);
    let v = fma4(f32x4.mul(c2, d), d, f32x4.mul(b2, v128.load(square + o)));
    v = v128.andnot(v, f32x4.lt(v, normal)); // v is not below 0
    v128.store(average + o, m);
    v128.store(square + o, v);
    if (!plain && largest) {
      v = f32x4.max(v, v128.load(largest + o));
      v128.store(largest + o, v);
    }
    const slope = f32x4.div(f32x4.mul(back, m), fma4(f32x4.sqrt(v), roots, epsilons));
    v128.store(p + o, fma4(kept, param, slope));
    o += 16;
  } while (o < bytes);
}

/**
 * One Adam update in place: g += weightDecay p; average += (1 - beta1) (g - average); square = beta2 square + (1 - beta2) g²;
 * p = keep p - step average / (√square / root + eps), where keep is 1 - lr weightDecay for AdamW, else 1, step the learning
 * rate corrected for the bias of the average, and root the square root of that for the squares. With `largest` the largest
 * square so far takes the place of square (AMSGrad); 0 stands for none. The numbers are float64, as 1 - beta2 has no digits
 * to lose.
 */
export function adam(
  p: usize,
  g: usize,
  average: usize,
  square: usize,
  largest: usize,
  n: i32,
  step: f64,
  beta1: f64,
  beta2: f64,
  eps: f64,
  weightDecay: f64,
  keep: f64,
  root: f64,
): void {
  if (largest || weightDecay != 0 || beta1 <= 0.5) updated(false, p, g, average, square, largest, n, step, beta1, beta2, eps, weightDecay, keep, root);
  else updated(true, p, g, average, square, largest, n, step, beta1, beta2, eps, weightDecay, keep, root);
}
