// RMSprop: one pass over a parameter and its averages, in the order of operations of torch.optim.RMSprop.
import { factor, flushed, lerp, NORMAL } from '../flush';

/**
 * One RMSprop update in place: g += weightDecay p; square = alpha square + (1 - alpha) g²; average += (1 - alpha)
 * (g - average); slope = g / (√(square - average²) + eps); buffer = momentum buffer + slope; p -= lr buffer. Without `average`
 * (0) nothing is taken from the square, and without `buffer` the slope takes its place.
 */
export function rmsprop(
  p: usize,
  g: usize,
  square: usize,
  average: usize,
  buffer: usize,
  n: i32,
  lr: f64,
  alpha: f64,
  eps: f64,
  weightDecay: f64,
  momentum: f64,
): void {
  const bytes = (<usize>n) << 2;
  const weight = 1 - alpha;
  const a = f32x4.splat(<f32>alpha),
    c = f32x4.splat(<f32>weight);
  const decay = f32x4.splat(<f32>weightDecay);
  const kept = f32x4.splat(<f32>momentum);
  const back = f32x4.splat(<f32>-lr);
  const epsilons = f32x4.splat(<f32>eps);
  const way = factor(weight);
  const normal = f32x4.splat(NORMAL);
  let o: usize = 0;
  do {
    // Blocks are padded to 16 bytes, so the last vector may run into the padding.
    const param = v128.load(p + o);
    let d = v128.load(g + o);
    if (weightDecay != 0) d = f32x4.add(d, f32x4.mul(decay, param));
    let v = flushed(f32x4.add(f32x4.mul(a, v128.load(square + o)), f32x4.mul(f32x4.mul(c, d), d)), normal);
    v128.store(square + o, v);
    if (average) {
      const m = flushed(lerp(v128.load(average + o), d, weight, way), normal);
      v128.store(average + o, m);
      v = f32x4.sub(v, f32x4.mul(m, m));
    }
    const below = f32x4.add(f32x4.sqrt(v), epsilons);
    let slope: v128;
    if (buffer) {
      const b = flushed(f32x4.add(f32x4.mul(kept, v128.load(buffer + o)), f32x4.div(d, below)), normal);
      v128.store(buffer + o, b);
      slope = f32x4.mul(back, b);
    } else slope = f32x4.div(f32x4.mul(back, d), below);
    v128.store(p + o, f32x4.add(param, slope));
    o += 16;
  } while (o < bytes);
}
