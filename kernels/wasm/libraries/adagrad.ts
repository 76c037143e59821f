// Adagrad: one pass over a parameter and its sum, in the order of operations of torch.optim.Adagrad.

/** One Adagrad update in place: g += weightDecay p; sum += g²; p -= lr g / (√sum + eps). */
export function adagrad(
  p: usize,
  g: usize,
  sum: usize,
  n: i32,
  lr: f64,
  eps: f64,
  weightDecay: f64,
): void {
  const bytes = (<usize>n) << 2;
  const decay = f32x4.splat(<f32>weightDecay);
  const back = f32x4.splat(<f32>-lr);
  const epsilons = f32x4.splat(<f32>eps);
  let o: usize = 0;
  do {
    // Blocks are padded to 16 bytes, so the last vector may run into the padding.
    const param = v128.load(p + o);
    let d = v128.load(g + o);
    if (weightDecay != 0) d = f32x4.add(d, f32x4.mul(decay, param));
    const s = f32x4.add(v128.load(sum + o), f32x4.mul(d, d));
    v128.store(sum + o, s);
    v128.store(p + o, f32x4.add(param, f32x4.div(f32x4.mul(back, d), f32x4.add(f32x4.sqrt(s), epsilons))));
    o += 16;
  } while (o < bytes);
}
