// Losses of a whole batch in one pass, and their gradients.
import { log4 } from './math';
import { expSum, rowMax } from './rows';

/** out[0] = scale Σ (a - b)²: float32 chains of at most 64, added up in float64. */
export function squaredError(a: usize, b: usize, out: usize, n: i32, scale: f64): void {
  let total: f64 = 0;
  let i = 0;
  while (n - i >= 4) {
    let s = f32x4.splat(0);
    const end = i + min((n - i) & ~3, 256);
    for (; i < end; i += 4) {
      const d = f32x4.sub(v128.load(a + (<usize>i << 2)), v128.load(b + (<usize>i << 2)));
      s = f32x4.add(s, f32x4.mul(d, d));
    }
    total += <f64>f32x4.extract_lane(s, 0) + <f64>f32x4.extract_lane(s, 1) + <f64>f32x4.extract_lane(s, 2) + <f64>f32x4.extract_lane(s, 3);
  }
  for (; i < n; i++) {
    const d = load<f32>(a + (<usize>i << 2)) - load<f32>(b + (<usize>i << 2));
    total += <f64>(d * d);
  }
  store<f32>(out, <f32>(total * scale));
}

/** out = 2 scale g[0] (a - b). Blocks are padded to whole vectors. */
export function squaredErrorGrad(a: usize, b: usize, g: usize, out: usize, n: i32, scale: f32): void {
  const s = f32x4.splat(2 * scale * load<f32>(g));
  const bytes = <usize>n << 2;
  for (let o: usize = 0; o < bytes; o += 16) v128.store(out + o, f32x4.mul(s, f32x4.sub(v128.load(a + o), v128.load(b + o))));
}

/** out[r] = -log softmax(x)[r, index[r]]. */
export function crossEntropy(x: usize, index: usize, out: usize, rows: i32, cols: i32): void {
  for (let r = 0; r < rows; r++, x += <usize>cols << 2, index += 4, out += 4) {
    const top = rowMax(x, cols);
    const sum = expSum(x, 0, cols, f32x4.splat(top));
    const logSum = f32x4.extract_lane(log4(f32x4.splat(<f32>sum)), 0);
    store<f32>(out, logSum + (top - load<f32>(x + (<usize>load<f32>(index) << 2))));
  }
}

/** out = g[0] scale (softmax(x) - onehot(index)). */
export function crossEntropyGrad(x: usize, index: usize, g: usize, out: usize, rows: i32, cols: i32, scale: f32): void {
  const s = load<f32>(g) * scale;
  const stride = <usize>cols << 2;
  for (let r = 0; r < rows; r++, x += stride, out += stride, index += 4) {
    const total = expSum(x, out, cols, f32x4.splat(rowMax(x, cols)));
    const q = f32x4.splat(<f32>(<f64>s / total));
    let i: usize = 0;
    for (; i + 16 <= stride; i += 16) v128.store(out + i, f32x4.mul(v128.load(out + i), q));
    for (; i < stride; i += 4) store<f32>(out + i, load<f32>(out + i) * f32x4.extract_lane(q, 0));
    const hit = out + (<usize>load<f32>(index) << 2);
    store<f32>(hit, load<f32>(hit) - s);
  }
}
