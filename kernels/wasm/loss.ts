// Losses of a whole batch in one pass, and their gradients.
import { log1p } from './math';
import { expRest, expSum, rowMax, scaleRow } from './rows';
import { BLOCK, fold, upTo4 } from './sums';

/** out[0] = scale Σ (a - b)², summed in the order of sums.ts. */
export function squaredError(a: usize, b: usize, out: usize, n: i32, scale: f64): void {
  let total: f64 = 0;
  while (n > 0) {
    let left = min(n, BLOCK);
    n -= left;
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (; left >= 16; left -= 16, a += 64, b += 64) {
      s0 = addSquare(s0, v128.load(a), v128.load(b));
      s1 = addSquare(s1, v128.load(a, 16), v128.load(b, 16));
      s2 = addSquare(s2, v128.load(a, 32), v128.load(b, 32));
      s3 = addSquare(s3, v128.load(a, 48), v128.load(b, 48));
    }
    if (left > 0) {
      s0 = addSquare(s0, upTo4(a, left), upTo4(b, left));
      s1 = addSquare(s1, upTo4(a + 16, left - 4), upTo4(b + 16, left - 4));
      s2 = addSquare(s2, upTo4(a + 32, left - 8), upTo4(b + 32, left - 8));
      s3 = addSquare(s3, upTo4(a + 48, left - 12), upTo4(b + 48, left - 12));
    }
    total += fold(s0, s1, s2, s3);
  }
  store<f32>(out, <f32>(total * scale));
}
// @ts-ignore: decorator
@inline function addSquare(sum: v128, a: v128, b: v128): v128 {
  const d = f32x4.sub(a, b);
  return f32x4.add(sum, f32x4.mul(d, d));
}

/** out = 2 scale g[0] (a - b). Blocks are padded to whole vectors. */
export function squaredErrorGrad(a: usize, b: usize, g: usize, out: usize, n: i32, scale: f32): void {
  const s = f32x4.splat(2 * scale * load<f32>(g));
  const bytes = <usize>n << 2;
  for (let o: usize = 0; o < bytes; o += 16) v128.store(out + o, f32x4.mul(s, f32x4.sub(v128.load(a + o), v128.load(b + o))));
}

/** out[r] = -log softmax(x)[r, index[r]]; near 0 as exact as anywhere. */
export function crossEntropy(x: usize, index: usize, out: usize, rows: i32, cols: i32): void {
  for (let r = 0; r < rows; r++, x += <usize>cols << 2, index += 4, out += 4) {
    const top = rowMax(x, cols);
    const logSum = log1p(<f32>expRest(x, cols, top));
    store<f32>(out, logSum + (top - load<f32>(x + (<usize>load<f32>(index) << 2))));
  }
}

/** out = g[0] scale (softmax(x) - onehot(index)). */
export function crossEntropyGrad(x: usize, index: usize, g: usize, out: usize, rows: i32, cols: i32, scale: f32): void {
  const s = load<f32>(g) * scale;
  const stride = <usize>cols << 2;
  for (let r = 0; r < rows; r++, x += stride, out += stride, index += 4) {
    const total = expSum(x, out, cols, rowMax(x, cols));
    scaleRow(out, cols, <f32>(<f64>s / total));
    const hit = out + (<usize>load<f32>(index) << 2);
    store<f32>(hit, load<f32>(hit) - s);
  }
}
