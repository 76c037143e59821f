const EDGE = 3;
const THRESHOLD = 1000;

/** Numbers as PyTorch prints them: four digits, one width, long dimensions shortened once there are more than 1000 elements. */
export function format(values: ArrayLike<number>, shape: readonly number[]): string {
  const short = values.length > THRESHOLD;
  const shown: number[] = [];
  visit(shape, short, (i) => shown.push(values[i]));
  const write = writer(shown);
  const width = Math.max(...shown.map((v) => write(v).length));
  const block = (depth: number, from: number): string => {
    if (depth === shape.length) return write(values[from]).padStart(shape.length === 0 ? 0 : width);
    const step = shape.slice(depth + 1).reduce((p, d) => p * d, 1);
    const parts = positions(shape[depth], short).map((i) => (i < 0 ? '...' : block(depth + 1, from + i * step)));
    const last = depth === shape.length - 1;
    const gap = last ? ', ' : `,${'\n'.repeat(shape.length - depth - 1)}${' '.repeat('tensor('.length + depth + 1)}`;
    return `[${parts.join(gap)}]`;
  };
  return block(0, 0);
}

/** The positions to print along a dimension; -1 stands for those left out. */
function positions(length: number, short: boolean): number[] {
  const all = Array.from({ length }, (_, i) => i);
  return short && length > 2 * EDGE ? [...all.slice(0, EDGE), -1, ...all.slice(length - EDGE)] : all;
}

function visit(shape: readonly number[], short: boolean, each: (index: number) => void, depth = 0, from = 0): void {
  if (depth === shape.length) {
    each(from);
    return;
  }
  const step = shape.slice(depth + 1).reduce((p, d) => p * d, 1);
  for (const i of positions(shape[depth], short)) if (i >= 0) visit(shape, short, each, depth + 1, from + i * step);
}

function writer(values: readonly number[]): (v: number) => string {
  const finite = values.filter((v) => Number.isFinite(v)).map(Math.abs);
  const nonzero = finite.filter((v) => v !== 0);
  const top = Math.max(0, ...finite);
  const least = nonzero.length > 0 ? Math.min(...nonzero) : 1;
  const special = (v: number) => (Number.isNaN(v) ? 'nan' : v > 0 ? 'inf' : '-inf');
  const integers = finite.every((v) => Number.isInteger(v));
  const scientific = integers ? top >= 1e8 : top / least > 1e3 || top > 1e8 || least < 1e-4;
  const exponent = (v: number) => v.toExponential(4).replace(/e([+-])(\d)$/, 'e$10$2');
  const plain = integers
    ? (v: number) => `${Object.is(v, -0) ? '-0' : v}.`
    : (v: number) => `${Object.is(v, -0) ? '-' : ''}${v.toFixed(4)}`;
  return (v) => (Number.isFinite(v) ? (scientific ? exponent(v) : plain(v)) : special(v));
}
