/**
 * 0 if all n numbers are finite, else NaN: the sum of x 0, which is NaN for NaN and for infinities. Looked at in stretches,
 * so that what is found early ends it.
 */
export function finite(x: usize, n: i32): f32 {
  const zero = f32x4.splat(0);
  let i = 0;
  while (n - i >= 16) {
    let a = zero, b = zero, c = zero, d = zero;
    const end = i + min((n - i) & ~15, 4096);
    for (; i < end; i += 16) {
      const p = x + (<usize>i << 2);
      a = f32x4.add(a, f32x4.mul(v128.load(p), zero));
      b = f32x4.add(b, f32x4.mul(v128.load(p, 16), zero));
      c = f32x4.add(c, f32x4.mul(v128.load(p, 32), zero));
      d = f32x4.add(d, f32x4.mul(v128.load(p, 48), zero));
    }
    // Equal to itself in every lane, or there is a NaN.
    const sum = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
    if (!i32x4.all_true(f32x4.eq(sum, sum))) return NaN;
  }
  let rest: f32 = 0;
  for (; i < n; i++) rest += load<f32>(x + (<usize>i << 2)) * 0;
  return rest;
}
