// The order of all sums in plain loops: what the WebAssembly kernels compute to the bit, whatever their vectors and threads.

/** How intermediate results are kept: rounded to float32, or as they are. */
export interface Arithmetic {
  readonly round: (x: number) => number;
  /** a b + c, in one rounding. */
  readonly multiplyAdd: (a: number, b: number, c: number) => number;
}

/** Elements of a sum whose lanes are chains of additions. */
export const BLOCK = 512;
const LANES = 16;

export const float64: Arithmetic = { round: (x) => x, multiplyAdd: (a, b, c) => a * b + c };
export const float32: Arithmetic = { round: Math.fround, multiplyAdd: fusedMultiplyAdd };
/** What the WebAssembly build without relaxed SIMD computes. */
export const float32Unfused: Arithmetic = {
  round: Math.fround,
  multiplyAdd: (a, b, c) => Math.fround(Math.fround(a * b) + c),
};

/** a b + c for float32 numbers, rounded once. The product of two of them is exact in float64. */
export function fusedMultiplyAdd(a: number, b: number, c: number): number {
  const product = a * b;
  const sum = product + c;
  const near = Math.fround(sum);
  if (near === sum) return near;
  // Rounding twice goes wrong only where the first rounding came to the middle between two float32.
  const other = 2 * sum - near;
  if (Math.fround(other) !== other) return near;
  const part = sum - product;
  const rest = product - (sum - part) + (c - part);
  return rest !== 0 && rest > 0 === other > near ? other : near;
}

/**
 * The sum of n elements. Within a block element i belongs to lane i mod 16, which is a chain of rounded additions from 0
 * on. Lanes that are 4 apart are added, then those that are 8 apart, then neighbours. What the blocks gave is added up in
 * float64, in sequence. `extend` gives a lane with element i added.
 */
export function blockedSum(
  n: number,
  block: number,
  round: (x: number) => number,
  extend: (lane: number, i: number) => number,
): number {
  return blocked(n, block, 0, (a, b) => a + b, round, extend);
}

/** The same for any way to join two numbers. */
export function blocked(
  n: number,
  block: number,
  init: number,
  join: (a: number, b: number) => number,
  round: (x: number) => number,
  extend: (lane: number, i: number) => number,
): number {
  const lane = new Float64Array(LANES);
  const fold = (a: number, b: number) => round(join(a, b));
  let total = init;
  for (let begin = 0; begin < n; begin += block) {
    lane.fill(init);
    for (let i = begin; i < Math.min(n, begin + block); i++) lane[i % LANES] = extend(lane[i % LANES], i);
    const four = (q: number) => fold(fold(lane[q], lane[q + 4]), fold(lane[q + 8], lane[q + 12]));
    total = join(total, fold(fold(four(0), four(1)), fold(four(2), four(3))));
  }
  return total;
}
