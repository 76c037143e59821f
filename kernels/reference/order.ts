// Sorting on the host: the order of the elements of rows, stable, with NaN after all numbers, as PyTorch sorts.

/** From how many elements on the engine's own sort takes longer than sorting by digits. */
const MANY = 512;
const DIGIT_BITS = 11;

type Numbers = Float32Array | Float64Array;

/** Writes the positions of the k first elements of each row of [rows, n], in ascending or descending order of the elements. */
export function order(x: Numbers, out: Numbers, rows: number, n: number, k: number, descending: boolean): void {
  const keys = new Uint32Array(n);
  // Positions and their keys in turns: what is moved together lies together, and as one number it is in the order that is wanted.
  const [pairs, next] = [new Uint32Array(2 * n), new Uint32Array(2 * n)];
  const whole = new BigUint64Array(pairs.buffer);
  const counts = new Uint32Array(2 ** DIGIT_BITS);
  for (let row = 0; row < rows; row++) {
    const values = x.subarray(row * n, row * n + n);
    if (values instanceof Float64Array) {
      const positions = Uint32Array.from(values, (_, i) => i).sort(comparison(values, descending));
      out.set(positions.subarray(0, k), row * k);
      continue;
    }
    const from = row * k;
    toKeys(values, keys, descending);
    const count = candidates(keys, pairs, k, counts);
    if (count < MANY) whole.subarray(0, count).sort();
    const sorted = count < MANY ? pairs : radix(pairs, next, count, counts);
    for (let i = 0; i < k; i++) out[from + i] = sorted[2 * i];
  }
}

function comparison(values: Numbers, descending: boolean): (a: number, b: number) => number {
  const sign = descending ? -1 : 1;
  return (a, b) => {
    const [v, w] = [values[a], values[b]];
    const nan = Number(Number.isNaN(v)) - Number(Number.isNaN(w));
    return sign * (v < w ? -1 : v > w ? 1 : nan);
  };
}

/** Unsigned numbers in the order of the floats: -0 is 0, and every NaN is the largest. */
function toKeys(values: Float32Array, keys: Uint32Array, descending: boolean): void {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  const flip = descending ? -1 : 0;
  for (let i = 0; i < keys.length; i++) {
    const word = words[i];
    const magnitude = word & 0x7fffffff;
    const key = magnitude > 0x7f800000 ? -1 : word < 0 && magnitude !== 0 ? ~word : magnitude ^ 0x80000000;
    keys[i] = key ^ flip;
  }
}

/** Writes pairs of positions and keys among which are the k smallest, in the order of the positions, and returns how many. */
function candidates(keys: Uint32Array, pairs: Uint32Array, k: number, counts: Uint32Array): number {
  const n = keys.length;
  const shift = 32 - DIGIT_BITS;
  let most = 2 ** DIGIT_BITS;
  if (k < n) {
    counts.fill(0);
    for (let i = 0; i < n; i++) counts[keys[i] >>> shift]++;
    most = 0;
    for (let sum = counts[0]; sum < k; most++) sum += counts[most + 1];
  }
  let count = 0;
  for (let i = 0; i < n; i++) {
    const key = keys[i];
    if (key >>> shift > most) continue;
    pairs[2 * count] = i;
    pairs[2 * count + 1] = key;
    count++;
  }
  return count;
}

/** Sorts pairs by their keys, digit after digit; returns the one of both arrays that has the result. */
function radix(a: Uint32Array, b: Uint32Array, count: number, counts: Uint32Array): Uint32Array {
  let [pairs, next] = [a, b];
  const end = 2 * count;
  const mask = 2 ** DIGIT_BITS - 1;
  for (let shift = 0; shift < 32; shift += DIGIT_BITS) {
    counts.fill(0);
    for (let i = 1; i < end; i += 2) counts[(pairs[i] >>> shift) & mask]++;
    for (let digit = 0, sum = 0; digit <= mask; digit++) {
      const some = counts[digit];
      counts[digit] = sum;
      sum += some;
    }
    for (let i = 1; i < end; i += 2) {
      const key = pairs[i];
      const to = 2 * counts[(key >>> shift) & mask]++;
      next[to] = pairs[i - 1];
      next[to + 1] = key;
    }
    [pairs, next] = [next, pairs];
  }
  return pairs;
}

/** The position of the first of the ascending numbers of each row of x [rows, n] that is above each number of t [rows, k]. */
export function search(x: Numbers, t: Numbers, out: Numbers, rows: number, n: number, k: number): void {
  for (let row = 0; row < rows; row++) {
    for (let j = row * k; j < row * k + k; j++) {
      let low = 0;
      for (let high = n - 1; low < high; ) {
        const middle = (low + high) >>> 1;
        if (x[row * n + middle] > t[j]) high = middle;
        else low = middle + 1;
      }
      out[j] = low;
    }
  }
}
