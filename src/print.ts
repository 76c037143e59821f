const EDGE = 3;
const THRESHOLD = 1000;
/** If elements times dimensions exceed this, whole blocks are left out, so that the text does not grow to megabytes. */
const MOST = 2 ** 22;

/**
 * Numbers as PyTorch prints them: four digits, one width, long dimensions shortened once there are more than 1000 elements.
 * Of many short dimensions, which PyTorch would print whole, the first ones show one block each.
 */
export function format(values: ArrayLike<number>, shape: readonly number[]): string {
  const ndim = shape.length;
  if (shape.includes(0)) return ndim === 1 ? '[]' : `[], shape=[${shape.join(', ')}]`;
  const places = placesOf(shape, values.length > THRESHOLD);
  const shown = indicesOf(shape, places).map((i) => values[i]);
  const write = writer(shown);
  let parts = shown.map(write);
  if (ndim === 0) return parts[0];
  let width = 0;
  for (const part of parts) width = Math.max(width, part.length);
  parts = parts.map((part) => part.padStart(width));
  // From the last dimension to the first, without recursion: there may be thousands.
  for (let d = ndim - 1; d >= 0; d--) {
    const count = places[d].filter((i) => i >= 0).length;
    if (places[d].length === 1) {
      parts = parts.map((part) => `[${part}]`);
      continue;
    }
    const gap = d === ndim - 1 ? ', ' : `,${'\n'.repeat(ndim - d - 1)}${' '.repeat('tensor('.length + d + 1)}`;
    const blocks: string[] = [];
    for (let from = 0; from < parts.length; from += count) {
      let next = from;
      blocks.push(`[${places[d].map((i) => (i < 0 ? '...' : parts[next++])).join(gap)}]`);
    }
    parts = blocks;
  }
  return parts[0];
}

/** The positions to print along each dimension; -1 stands for those left out. */
function placesOf(shape: readonly number[], short: boolean): number[][] {
  const places = shape.map((length) => {
    if (!short || length <= 2 * EDGE) return Array.from({ length }, (_, i) => i);
    const first = Array.from({ length: EDGE }, (_, i) => i);
    return [...first, -1, ...first.map((i) => length - EDGE + i)];
  });
  let count = places.reduce((product, p) => product * p.filter((i) => i >= 0).length, 1);
  const most = MOST / (64 + shape.length);
  for (let d = 0; count > most && d < shape.length - 1; d++) {
    count /= places[d].filter((i) => i >= 0).length;
    if (shape[d] > 1) places[d] = [0, -1];
  }
  return places;
}

/** The row-major indices of what is shown. */
function indicesOf(shape: readonly number[], places: readonly number[][]): number[] {
  let indices = [0];
  shape.forEach((length, d) => {
    if (length === 1) return;
    const along = places[d].filter((i) => i >= 0);
    indices = indices.flatMap((from) => along.map((i) => from * length + i));
  });
  return indices;
}

function writer(values: readonly number[]): (v: number) => string {
  let top = 0;
  let least = Infinity;
  let integers = true;
  for (const v of values) {
    if (!Number.isFinite(v)) continue;
    top = Math.max(top, Math.abs(v));
    if (v !== 0) least = Math.min(least, Math.abs(v));
    integers &&= Number.isInteger(v);
  }
  if (least === Infinity) least = 1;
  const special = (v: number) => (Number.isNaN(v) ? 'nan' : v > 0 ? 'inf' : '-inf');
  const scientific = integers ? top >= 1e8 : top / least > 1e3 || top > 1e8 || least < 1e-4;
  const exponent = (v: number) => v.toExponential(4).replace(/e([+-])(\d)$/, 'e$10$2');
  const plain = integers
    ? (v: number) => `${Object.is(v, -0) ? '-0' : v}.`
    : (v: number) => `${Object.is(v, -0) ? '-' : ''}${v.toFixed(4)}`;
  return (v) => (Number.isFinite(v) ? (scientific ? exponent(v) : plain(v)) : special(v));
}
