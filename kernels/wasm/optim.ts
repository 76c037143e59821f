/**
 * One SGD update in place (PyTorch's rule): d = g + weightDecay p; velocity = momentum velocity + (1 - dampening) d, or
 * d on the first step; p -= lr (nesterov ? d + momentum velocity : velocity). Without momentum `velocity` is not read.
 */
export function sgd(
  p: usize, g: usize, velocity: usize, n: i32,
  lr: f32, momentum: f32, dampening: f32, weightDecay: f32, nesterov: i32, firstStep: i32,
): void {
  const vlr = f32x4.splat(lr);
  const vm = f32x4.splat(momentum);
  const vd = f32x4.splat(<f32>1 - dampening);
  const vw = f32x4.splat(weightDecay);
  const normal = f32x4.splat(1.17549435e-38);
  const bytes = <usize>n << 2;
  let o: usize = 0;
  do {
    // Blocks are padded to 16 bytes, so the last vector may run into the padding.
    const param = v128.load(p + o);
    let d = v128.load(g + o);
    if (weightDecay != 0) d = f32x4.add(d, f32x4.mul(vw, param));
    if (momentum != 0) {
      let v = firstStep ? d : f32x4.add(f32x4.mul(vm, v128.load(velocity + o)), f32x4.mul(vd, d));
      // The velocity of a parameter whose gradient stays 0 decays into the subnormal numbers, with which processors
      // compute a hundred times slower: it ends at 0 instead.
      v = v128.andnot(v, f32x4.lt(f32x4.abs(v), normal));
      v128.store(velocity + o, v);
      d = nesterov ? f32x4.add(d, f32x4.mul(vm, v)) : v;
    }
    v128.store(p + o, f32x4.sub(param, f32x4.mul(vlr, d)));
    o += 16;
  } while (o < bytes);
}
