// Uniform numbers of Philox4x32-10, the same bits as src/random.ts: four counters at a time.

// @ts-expect-error: decorator
@inline
const M0: u32 = 0xd2511f53;
// @ts-expect-error: decorator
@inline
const M1: u32 = 0xcd9e8d57;
// @ts-expect-error: decorator
@inline
const W0: u32 = 0x9e3779b9;
// @ts-expect-error: decorator
@inline
const W1: u32 = 0xbb67ae85;

/** Numbers in [0, 1) of the words; with keep >= 0 `value` where they are below it, else 0. */
// @ts-expect-error: decorator
@inline
function numbers(words: v128, keep: f32, value: f32): v128 {
  const u = f32x4.mul(f32x4.convert_i32x4_u(i32x4.shr_u(words, 8)), f32x4.splat(5.9604644775390625e-8));
  return keep < 0 ? u : v128.and(f32x4.lt(u, f32x4.splat(keep)), f32x4.splat(value));
}

/**
 * Writes four numbers for each of `units` counters, from (c0, c1) on, with the key (k0, k1). `first` is four times the number of
 * counters before those of this call.
 */
export function uniform(
  first: u32,
  out: usize,
  units: i32,
  k0: u32,
  k1: u32,
  c0: u32,
  c1: u32,
  keep: f32,
  value: f32,
): void {
  let counter = (((<u64>c1) << 32) | c0) + (first >> 2);
  for (let n = 0; n < units; n += 4) {
    const low = i32x4.splat(<u32>counter);
    let a = i32x4.add(low, i32x4(0, 1, 2, 3));
    // What goes beyond 32 bits is carried.
    let b = i32x4.sub(i32x4.splat(<u32>(counter >> 32)), i32x4.lt_u(a, low));
    let c = i32x4.splat(0),
      d = i32x4.splat(0);
    let key0 = k0,
      key1 = k1;
    for (let round = 0; round < 10; round++) {
      const p0 = i64x2.extmul_low_i32x4_u(a, i32x4.splat(M0)),
        p1 = i64x2.extmul_high_i32x4_u(a, i32x4.splat(M0));
      const q0 = i64x2.extmul_low_i32x4_u(c, i32x4.splat(M1)),
        q1 = i64x2.extmul_high_i32x4_u(c, i32x4.splat(M1));
      a = v128.xor(v128.xor(v128.shuffle<i32>(q0, q1, 1, 3, 5, 7), b), i32x4.splat(key0));
      b = v128.shuffle<i32>(q0, q1, 0, 2, 4, 6);
      c = v128.xor(v128.xor(v128.shuffle<i32>(p0, p1, 1, 3, 5, 7), d), i32x4.splat(key1));
      d = v128.shuffle<i32>(p0, p1, 0, 2, 4, 6);
      key0 += W0;
      key1 += W1;
    }
    const ab0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5),
      ab1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
    const cd0 = v128.shuffle<i32>(c, d, 0, 4, 1, 5),
      cd1 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
    const at = out + ((<usize>n) << 4);
    const left = units - n;
    // Blocks are padded to 16 bytes, so the last vector may run into the padding.
    v128.store(at, numbers(v128.shuffle<i32>(ab0, cd0, 0, 1, 4, 5), keep, value));
    if (left > 1) v128.store(at, numbers(v128.shuffle<i32>(ab0, cd0, 2, 3, 6, 7), keep, value), 16);
    if (left > 2) v128.store(at, numbers(v128.shuffle<i32>(ab1, cd1, 0, 1, 4, 5), keep, value), 32);
    if (left > 3) v128.store(at, numbers(v128.shuffle<i32>(ab1, cd1, 2, 3, 6, 7), keep, value), 48);
    counter += 4;
  }
}
