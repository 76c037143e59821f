// Copies that change the order of elements.

// @ts-ignore: decorator
@inline export function transpose4x4(src: usize, srcStride: usize, dst: usize, dstStride: usize): void {
  const r0 = v128.load(src);
  const r1 = v128.load(src + srcStride);
  const r2 = v128.load(src + 2 * srcStride);
  const r3 = v128.load(src + 3 * srcStride);
  const a = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
  const b = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
  const c = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
  const d = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
  v128.store(dst, v128.shuffle<i64>(a, c, 0, 2));
  v128.store(dst + dstStride, v128.shuffle<i64>(a, c, 1, 3));
  v128.store(dst + 2 * dstStride, v128.shuffle<i64>(b, d, 0, 2));
  v128.store(dst + 3 * dstStride, v128.shuffle<i64>(b, d, 1, 3));
}

/** out[c, r] = x[r, c] for each of `batch` matrices. */
export function transpose(x: usize, out: usize, batch: i32, rows: i32, cols: i32): void {
  const xs = <usize>cols << 2;
  const os = <usize>rows << 2;
  const rows4 = rows & ~3;
  const cols4 = cols & ~3;
  for (let b = 0; b < batch; b++, x += xs * <usize>rows, out += xs * <usize>rows) {
    // Blocks of rows, so that whole cache lines are read and written before they leave the cache.
    for (let first = 0; first < rows4; first += 32) {
      const last = min(first + 32, rows4);
      for (let c = 0; c < cols4; c += 4) {
        for (let r = first; r < last; r += 4) {
          transpose4x4(x + <usize>r * xs + (<usize>c << 2), xs, out + <usize>c * os + (<usize>r << 2), os);
        }
      }
    }
    for (let r = 0; r < rows; r++) {
      for (let c = r < rows4 ? cols4 : 0; c < cols; c++) {
        store<f32>(out + <usize>c * os + (<usize>r << 2), load<f32>(x + <usize>r * xs + (<usize>c << 2)));
      }
    }
  }
}

/** Two nested loops of reads at the given strides (elements), written contiguously. */
export function copy(x: usize, out: usize, outer: i32, inner: i32, strideOuter: i32, strideInner: i32): void {
  const step = <usize>strideInner << 2;
  for (let o = 0; o < outer; o++, x += <usize>strideOuter << 2) {
    if (strideInner == 1) {
      memory.copy(out, x, <usize>inner << 2);
      out += <usize>inner << 2;
      continue;
    }
    const stop = out + (<usize>inner << 2);
    if (strideInner == 0) {
      const v = v128.load_splat<f32>(x);
      for (const end = out + (<usize>(inner & ~3) << 2); out < end; out += 16) v128.store(out, v);
    }
    for (let p = x; out < stop; out += 4, p += step) store<f32>(out, load<f32>(p));
  }
}

/** The inverse: consecutive numbers, written in two nested loops at the given strides (elements). */
export function put(x: usize, out: usize, outer: i32, inner: i32, strideOuter: i32, strideInner: i32): void {
  const step = <usize>strideInner << 2;
  const bytes = <usize>inner << 2;
  const end = x + bytes * <usize>outer;
  while (x < end) {
    const next = out + (<usize>strideOuter << 2);
    if (strideInner == 1 && bytes >= 2048) {
      memory.copy(out, x, bytes);
      x += bytes;
    } else {
      const stop = x + bytes;
      if (strideInner == 1) for (const whole = x + (bytes & ~15); x < whole; x += 16, out += 16) v128.store(out, v128.load(x));
      for (; x < stop; x += 4, out += step) store<f32>(out, load<f32>(x));
    }
    out = next;
  }
}
