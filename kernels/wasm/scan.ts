// Running sums.

/** Running sums of each row of [rows, n], in float64 and rounded once for each result; from the end on if `reverse` is 1. */
export function cumsum(x: usize, out: usize, rows: i32, n: i32, reverse: i32): void {
  const step: isize = reverse ? -4 : 4;
  for (let row = 0; row < rows; row++) {
    let o: isize = ((<isize>row) * n + (reverse ? n - 1 : 0)) << 2;
    let acc: f64 = 0;
    for (let i = 0; i < n; i++) {
      acc += <f64>load<f32>(x + o);
      store<f32>(out + o, <f32>acc);
      o += step;
    }
  }
}
