// What indices pick, and the sums that are its gradient. Indices are float32 numbers, and were checked.

// @ts-ignore: decorator
@inline function indexAt(at: usize): usize {
  return <usize>load<f32>(at);
}

/**
 * For x [outer, length, inner] and out [outer, count, inner]: out[o, k, i] = x[o, index[k], i] with `shared`, else
 * x[o, index[o, k, i], i].
 */
export function gather(x: usize, index: usize, out: usize, outer: i32, count: i32, length: i32, inner: i32, shared: i32): void {
  const row = <usize>inner << 2;
  const end = row & ~15;
  for (let o = 0; o < outer; o++, x += <usize>length * row) {
    let at = index;
    if (inner == 1) {
      for (const stop = at + (<usize>count << 2); at < stop; at += 4, out += 4) {
        store<f32>(out, load<f32>(x + (indexAt(at) << 2)));
      }
      if (!shared) index = at;
      continue;
    }
    for (let k = 0; k < count; k++, out += row) {
      if (!shared) {
        for (let i: usize = 0; i < row; i += 4, index += 4) {
          store<f32>(out + i, load<f32>(x + indexAt(index) * row + i));
        }
        continue;
      }
      const from = x + indexAt(at) * row;
      at += 4;
      if (row >= 512) {
        memory.copy(out, from, row);
        continue;
      }
      let i: usize = 0;
      for (; i < end; i += 16) v128.store(out + i, v128.load(from + i));
      for (; i < row; i += 4) store<f32>(out + i, load<f32>(from + i));
    }
  }
}

/**
 * The sums of x [outer, count, inner] over where `gather` would read, in ascending order of k, for out [outer, length, inner]:
 * of `rows` rows from `first` on, which threads share.
 */
export function scatter(x: usize, index: usize, out: usize, outer: i32, first: i32, rows: i32, length: i32, inner: i32, count: i32, shared: i32): void {
  const row = <usize>inner << 2;
  const end = row & ~15;
  for (let o = 0; o < outer; o++, out += <usize>length * row) {
    memory.fill(out, 0, <usize>rows * row);
    let at = index;
    for (let k = 0; k < count; k++, x += row) {
      let i: usize = 0;
      if (!shared) {
        for (; i < row; i += 4) {
          const to = out + indexAt(index + i) * row + i;
          store<f32>(to, load<f32>(to) + load<f32>(x + i));
        }
        index += row;
        continue;
      }
      const l = indexAt(at) - first;
      at += 4;
      if (l >= <usize>rows) continue;
      const to = out + l * row;
      for (; i < end; i += 16) v128.store(to + i, f32x4.add(v128.load(to + i), v128.load(x + i)));
      for (; i < row; i += 4) store<f32>(to + i, load<f32>(to + i) + load<f32>(x + i));
    }
  }
}
