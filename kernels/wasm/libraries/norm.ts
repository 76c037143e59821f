// Normalization of rows and its gradients: layer, group and batch normalization, and those by the root mean square. A row is
// read several times, which costs little while it is in the cache. Sums keep the order of sums.ts.
import { BLOCK, fold, storeUpTo4, lanesBelow } from '../sums';

/** What lies behind the row counts as 0. */
// @ts-expect-error: decorator
@inline
function upTo(v: v128, left: i32): v128 {
  return left >= 4 ? v : v128.and(v, lanesBelow(left));
}

/** Σ x of one row. */
function total(x: usize, n: i32): f64 {
  let sum: f64 = 0;
  while (n > 0) {
    let left = min(n, BLOCK);
    n -= left;
    let a = f32x4.splat(0), b = a, c = a, d = a;
    for (; left >= 16; left -= 16, x += 64) {
      a = f32x4.add(a, v128.load(x));
      b = f32x4.add(b, v128.load(x, 16));
      c = f32x4.add(c, v128.load(x, 32));
      d = f32x4.add(d, v128.load(x, 48));
    }
    if (left > 0) a = f32x4.add(a, upTo(v128.load(x), left));
    if (left > 4) b = f32x4.add(b, upTo(v128.load(x, 16), left - 4));
    if (left > 8) c = f32x4.add(c, upTo(v128.load(x, 32), left - 8));
    if (left > 12) d = f32x4.add(d, upTo(v128.load(x, 48), left - 12));
    sum += fold(a, b, c, d);
  }
  return sum;
}

// @ts-expect-error: decorator
@inline
function square(x: usize, shift: v128, left: i32): v128 {
  const v = upTo(f32x4.sub(v128.load(x), shift), left);
  return f32x4.mul(v, v);
}

/** Σ (x - mean)² of one row. */
function squares(x: usize, n: i32, mean: f32): f64 {
  const shift = f32x4.splat(mean);
  let sum: f64 = 0;
  while (n > 0) {
    let left = min(n, BLOCK);
    n -= left;
    let a = f32x4.splat(0), b = a, c = a, d = a;
    for (; left >= 16; left -= 16, x += 64) {
      a = f32x4.add(a, square(x, shift, 4));
      b = f32x4.add(b, square(x + 16, shift, 4));
      c = f32x4.add(c, square(x + 32, shift, 4));
      d = f32x4.add(d, square(x + 48, shift, 4));
    }
    if (left > 0) a = f32x4.add(a, square(x, shift, left));
    if (left > 4) b = f32x4.add(b, square(x + 16, shift, left - 4));
    if (left > 8) c = f32x4.add(c, square(x + 32, shift, left - 8));
    if (left > 12) d = f32x4.add(d, square(x + 48, shift, left - 12));
    sum += fold(a, b, c, d);
  }
  return sum;
}

// @ts-expect-error: decorator
@inline
function meanOf(x: usize, n: i32, center: f64): f32 {
  return center != 0 ? <f32>(total(x, n) / <f64>n) : 0;
}

/** 1 / √(var + eps). */
// @ts-expect-error: decorator
@inline
function scaleOf(x: usize, n: i32, mean: f32, eps: f64): f32 {
  return <f32>(1.0 / Math.sqrt(squares(x, n, mean) / <f64>n + eps));
}

/** out = (x - mean) r w + b for each row; w and b may be 0. */
export function layerNorm(x: usize, w: usize, b: usize, out: usize, rows: i32, cols: i32, eps: f64, center: f64): void {
  const stride = (<usize>cols) << 2;
  const whole = stride & ~15;
  for (let i = 0; i < rows; i++, x += stride, out += stride) {
    const mean = meanOf(x, cols, center);
    const m = f32x4.splat(mean);
    const r = f32x4.splat(scaleOf(x, cols, mean, eps));
    let o: usize = 0;
    if (w && b) {
      for (; o < whole; o += 16) {
        const y = f32x4.mul(f32x4.sub(v128.load(x + o), m), r);
        v128.store(out + o, f32x4.add(f32x4.mul(y, v128.load(w + o)), v128.load(b + o)));
      }
    }
    for (; o < stride; o += 16) {
      let y = f32x4.mul(f32x4.sub(v128.load(x + o), m), r);
      if (w) y = f32x4.mul(y, v128.load(w + o));
      if (b) y = f32x4.add(y, v128.load(b + o));
      storeUpTo4(out + o, y, cols - (<i32>o >> 2));
    }
  }
}

/** g w of four columns; what lies behind the row is 0. */
// @ts-expect-error: decorator
@inline
function weighted(g: usize, w: usize, o: usize, left: i32): v128 {
  const h = upTo(v128.load(g + o), left);
  return w ? f32x4.mul(h, upTo(v128.load(w + o), left)) : h;
}

/** Of the last row: the means of h = g w and of h xhat. */
let first: f32 = 0;
let second: f32 = 0;

/** Finds the means of h and h xhat of one row. */
function rowMeans(x: usize, g: usize, w: usize, cols: i32, mean: f32, scale: f32, center: f64): void {
  const m = f32x4.splat(mean);
  const r = f32x4.splat(scale);
  let sum: f64 = 0;
  let product: f64 = 0;
  for (let from = 0; from < cols; from += BLOCK) {
    const end = min(cols, from + BLOCK);
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, p0 = s0, p1 = s0, p2 = s0, p3 = s0;
    let c = from;
    for (; c <= end - 16; c += 16) {
      const o = (<usize>c) << 2;
      let h = weighted(g, w, o, 4);
      s0 = f32x4.add(s0, h);
      p0 = f32x4.add(p0, f32x4.mul(h, f32x4.mul(f32x4.sub(v128.load(x + o), m), r)));
      h = weighted(g, w, o + 16, 4);
      s1 = f32x4.add(s1, h);
      p1 = f32x4.add(p1, f32x4.mul(h, f32x4.mul(f32x4.sub(v128.load(x + o, 16), m), r)));
      h = weighted(g, w, o + 32, 4);
      s2 = f32x4.add(s2, h);
      p2 = f32x4.add(p2, f32x4.mul(h, f32x4.mul(f32x4.sub(v128.load(x + o, 32), m), r)));
      h = weighted(g, w, o + 48, 4);
      s3 = f32x4.add(s3, h);
      p3 = f32x4.add(p3, f32x4.mul(h, f32x4.mul(f32x4.sub(v128.load(x + o, 48), m), r)));
    }
    for (; c < end; c += 4) {
      const o = (<usize>c) << 2;
      const h = weighted(g, w, o, end - c);
      // The lanes take turns; fold gets them in another order below, which is the same sum.
      const p = upTo(f32x4.mul(h, f32x4.mul(f32x4.sub(v128.load(x + o), m), r)), end - c);
      const lane = (c >> 2) & 3;
      if (lane == 0) {
        s0 = f32x4.add(s0, h);
        p0 = f32x4.add(p0, p);
      } else if (lane == 1) {
        s1 = f32x4.add(s1, h);
        p1 = f32x4.add(p1, p);
      } else if (lane == 2) {
        s2 = f32x4.add(s2, h);
        p2 = f32x4.add(p2, p);
      } else {
        s3 = f32x4.add(s3, h);
        p3 = f32x4.add(p3, p);
      }
    }
    sum += fold(s0, s1, s2, s3);
    product += fold(p0, p1, p2, p3);
  }
  first = center != 0 ? <f32>(sum / <f64>cols) : 0;
  second = <f32>(product / <f64>cols);
}

/** out = r (h - mean h - xhat mean(h xhat)) with h = g w, for each row; w may be 0. */
export function layerNormGrad(
  x: usize,
  g: usize,
  w: usize,
  out: usize,
  rows: i32,
  cols: i32,
  eps: f64,
  center: f64,
): void {
  const stride = (<usize>cols) << 2;
  for (let i = 0; i < rows; i++, x += stride, g += stride, out += stride) {
    const mean = meanOf(x, cols, center);
    const m = f32x4.splat(mean);
    const scale = scaleOf(x, cols, mean, eps);
    const r = f32x4.splat(scale);
    rowMeans(x, g, w, cols, mean, scale, center);
    const level = f32x4.splat(first);
    const slope = f32x4.splat(second);
    for (let c = 0; c < cols; c += 4) {
      const o = (<usize>c) << 2;
      const xhat = f32x4.mul(f32x4.sub(v128.load(x + o), m), r);
      const h = f32x4.sub(weighted(g, w, o, 4), level);
      storeUpTo4(out + o, f32x4.mul(r, f32x4.sub(h, f32x4.mul(xhat, slope))), cols - c);
    }
  }
}

/** The number of rows from x on that are in one block: 32, or fewer at the end of all rows, which begin at `start`. */
// @ts-expect-error: decorator
@inline
function rowsAt(x: usize, start: usize, rows: i32, stride: usize): i32 {
  return min(32, rows - <i32>((x - start) / stride));
}

/** Σ g xhat and Σ g of each block of up to 32 rows, side by side in `out`; all rows begin at `start`. */
export function layerNormSums(
  x: usize,
  g: usize,
  start: usize,
  out: usize,
  blocks: i32,
  cols: i32,
  rows: i32,
  eps: f64,
  center: f64,
): void {
  const stride = (<usize>cols) << 2;
  for (let block = 0; block < blocks; block++, out += stride << 1) {
    const count = rowsAt(x, start, rows, stride);
    for (let i = 0; i < count; i++, x += stride, g += stride) {
      const mean = meanOf(x, cols, center);
      const m = f32x4.splat(mean);
      const r = f32x4.splat(scaleOf(x, cols, mean, eps));
      for (let c = 0; c < cols; c += 4) {
        const o = (<usize>c) << 2;
        const to = out + o;
        const left = cols - c;
        const slope = v128.load(g + o);
        let product = f32x4.mul(slope, f32x4.mul(f32x4.sub(v128.load(x + o), m), r));
        let sum = slope;
        if (i > 0) {
          product = f32x4.add(product, v128.load(to));
          sum = f32x4.add(sum, v128.load(to + stride));
        }
        storeUpTo4(to, product, left);
        storeUpTo4(to + stride, sum, left);
      }
    }
  }
}

/**
 * Both in one pass: the gradients of x in `out`, and in `sums` those of weight and bias for each block of rows.
 */
export function layerNormBackward(
  x: usize,
  g: usize,
  w: usize,
  sums: usize,
  start: usize,
  out: usize,
  blocks: i32,
  cols: i32,
  rows: i32,
  eps: f64,
  center: f64,
): void {
  const stride = (<usize>cols) << 2;
  const whole = stride & ~15;
  for (let block = 0; block < blocks; block++, sums += stride << 1) {
    const count = rowsAt(x, start, rows, stride);
    const biases = sums + stride;
    for (let o: usize = 0; o < stride; o += 4) {
      store<f32>(sums + o, 0);
      store<f32>(biases + o, 0);
    }
    for (let i = 0; i < count; i++, x += stride, g += stride, out += stride) {
      const mean = meanOf(x, cols, center);
      const m = f32x4.splat(mean);
      const scale = scaleOf(x, cols, mean, eps);
      const r = f32x4.splat(scale);
      rowMeans(x, g, w, cols, mean, scale, center);
      const level = f32x4.splat(first);
      const slope = f32x4.splat(second);
      let o: usize = 0;
      for (; o < whole; o += 16) {
        const d = v128.load(g + o);
        const xhat = f32x4.mul(f32x4.sub(v128.load(x + o), m), r);
        const h = w ? f32x4.mul(d, v128.load(w + o)) : d;
        v128.store(out + o, f32x4.mul(r, f32x4.sub(f32x4.sub(h, level), f32x4.mul(xhat, slope))));
        v128.store(sums + o, f32x4.add(v128.load(sums + o), f32x4.mul(d, xhat)));
        v128.store(biases + o, f32x4.add(v128.load(biases + o), d));
      }
      if (o < stride) {
        const left = <i32>((stride - o) >> 2);
        const d = v128.load(g + o);
        const xhat = f32x4.mul(f32x4.sub(v128.load(x + o), m), r);
        const h = w ? f32x4.mul(d, v128.load(w + o)) : d;
        storeUpTo4(out + o, f32x4.mul(r, f32x4.sub(f32x4.sub(h, level), f32x4.mul(xhat, slope))), left);
        storeUpTo4(sums + o, f32x4.add(v128.load(sums + o), f32x4.mul(d, xhat)), left);
        storeUpTo4(biases + o, f32x4.add(v128.load(biases + o), d), left);
      }
    }
  }
}
