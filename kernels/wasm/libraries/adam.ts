// Adam and AdamW: one pass over a parameter and its averages.

// @ts-expect-error: decorator
@inline
const NORMAL: f32 = 1.17549435e-38;

/** Numbers below the normal ones end at 0: processors compute with them a hundred times slower. */
// @ts-expect-error: decorator
@inline
function flushed(v: v128): v128 {
  return v128.andnot(v, f32x4.lt(f32x4.abs(v), f32x4.splat(NORMAL)));
}

/**
 * One Adam update in place: g += weightDecay p; average = beta1 average + (1 - beta1) g; square = beta2 square + (1 - beta2) g²;
 * p = keep p - step average / (√square / root + eps), where keep is 1 - lr weightDecay for AdamW, else 1, step the learning
 * rate corrected for the bias of the average, and root the square root of that for the squares. With `largest` the largest
 * square so far takes the place of square (AMSGrad); 0 stands for none.
 */
export function adam(
  p: usize,
  g: usize,
  average: usize,
  square: usize,
  largest: usize,
  n: i32,
  step: f32,
  beta1: f32,
  beta2: f32,
  eps: f32,
  weightDecay: f32,
  keep: f32,
  root: f32,
): void {
  const bytes = (<usize>n) << 2;
  const one = f32x4.splat(1);
  const b1 = f32x4.splat(beta1),
    c1 = f32x4.sub(one, b1);
  const b2 = f32x4.splat(beta2),
    c2 = f32x4.sub(one, b2);
  for (let o: usize = 0; o < bytes; o += 16) {
    // Blocks are padded to 16 bytes, so the last vector may run into the padding.
    const param = v128.load(p + o);
    let d = v128.load(g + o);
    if (weightDecay != 0) d = f32x4.add(d, f32x4.mul(f32x4.splat(weightDecay), param));
    const m = flushed(f32x4.add(f32x4.mul(b1, v128.load(average + o)), f32x4.mul(c1, d)));
    let v = flushed(f32x4.add(f32x4.mul(b2, v128.load(square + o)), f32x4.mul(f32x4.mul(c2, d), d)));
    v128.store(average + o, m);
    v128.store(square + o, v);
    if (largest) {
      v = f32x4.max(v, v128.load(largest + o));
      v128.store(largest + o, v);
    }
    const slope = f32x4.div(m, f32x4.add(f32x4.div(f32x4.sqrt(v), f32x4.splat(root)), f32x4.splat(eps)));
    v128.store(p + o, f32x4.sub(f32x4.mul(f32x4.splat(keep), param), f32x4.mul(f32x4.splat(step), slope)));
  }
}
