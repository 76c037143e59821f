import { describe, fail, show } from '../errors.js';
import { sizeOf } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { checkTensors, dispatch } from './dispatch.js';
import { narrow, reshapeTo } from './view.js';

/** A tensor and the names of its dimensions: letters, and '-1', '-2' … for those of an ellipsis, counted from its end. */
interface Operand {
  readonly x: Tensor;
  readonly names: readonly string[];
}

const OP = 'einsum';

/**
 * Sums of products, by Einstein's convention: dimensions with one name are one, and names that the result lacks are summed.
 * Operands are combined from left to right, in matrix products. Same as
 * [torch.einsum](https://docs.pytorch.org/docs/stable/generated/torch.einsum.html).
 *
 * @param equation the names of the dimensions, such as 'bij,bjk->bik': letters, and '...' for any others. Without '->' the result
 *   has the dimensions of the ellipsis, then in alphabetic order the letters that stand once. A letter that an operand has twice
 *   takes its diagonal
 * @param operands one tensor for each term. A dimension of one element repeats
 * @returns a tensor with the dimensions that the equation names
 * @throws TapegradError for an equation that is not of this form, another number of tensors or dimensions, dimensions of one name that
 *   differ, and tensors on different devices
 * @example
 * ```ts
 * import { einsum, tensor } from 'tapegrad';
 *
 * const [a, b] = [tensor([[1, 2], [3, 4]]), tensor([5, 6])];
 * console.log(einsum('ij,j->i', a, b).toArraySync()); // [17, 39]
 * console.log(einsum('ii', a).itemSync()); // 5
 * ```
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  if (typeof equation !== 'string')
    fail(OP, `the equation is ${describe(equation)}`, "pass a string such as 'ij,jk->ik'");
  if (operands.length === 0) fail(OP, 'there are no tensors', 'pass one for each term of the equation');
  checkTensors(OP, operands);
  const wrong = (problem: string, remedy: string): never =>
    fail(OP, `'${equation}': ${problem}`, remedy, { shapes: operands.map((x) => x.dims) });
  const sides = equation.replaceAll(' ', '').split('->');
  const terms = sides[0].split(',');
  if (sides.length > 2) wrong("there is more than one '->'", 'write the terms, and the result behind one');
  if (terms.length !== operands.length)
    wrong(
      `${terms.length} terms for ${operands.length} tensors`,
      'write one term for each tensor, separated by commas',
    );
  for (const term of [...terms, ...sides.slice(1)]) {
    const letters = term.replace('...', '');
    if (!/^[a-zA-Z]*$/.test(letters)) wrong(`'${term}' is no term`, "a term has letters, and '...' once");
  }

  let covered = 0;
  const named = operands.map((x, i) => {
    const term = terms[i];
    const rest = x.ndim - term.replace('...', '').length;
    if (rest < 0 || (rest > 0 && !term.includes('...')))
      wrong(`'${term}' does not name the dimensions of shape ${show(x.dims)}`, "write a letter for each, or '...'");
    covered = Math.max(covered, rest);
    return diagonal({ x, names: namesOf(term, rest) }, wrong);
  });
  const sizes = new Map<string, number>();
  for (const { x, names } of named) {
    names.forEach((name, d) => {
      const [size, before] = [x.dims[d], sizes.get(name) ?? 1];
      if (size !== before && size !== 1 && before !== 1)
        wrong(`${wordFor(name)} has ${before} elements and ${size}`, 'dimensions of one name must be equal, or 1');
      if (size !== 1 || !sizes.has(name)) sizes.set(name, size);
    });
  }
  const result = sides.length > 1 ? namesOf(sides[1], covered) : implied(terms, covered);
  result.forEach((name, i) => {
    if (result.indexOf(name) !== i) wrong(`the result has '${name}' twice`, 'name each dimension once');
    if (!sizes.has(name)) wrong(`the result has '${name}', which no term has`, 'use the letters of the terms');
  });

  let total = named[0];
  for (let i = 1; i < named.length; i++) {
    const needed = new Set([...result, ...named.slice(i + 1).flatMap(({ names }) => names)]);
    total = contract(total, named[i], needed);
  }
  const { x, names } = without(total, (name) => !result.includes(name));
  return ordered(x, names, result);
}

const ellipsis = (rest: number) => Array.from({ length: rest }, (_, i) => String(i - rest));

/** The names of a term whose ellipsis covers `rest` dimensions. */
function namesOf(term: string, rest: number): string[] {
  const [before, after] = term.split('...');
  return after === undefined ? [...before] : [...before, ...ellipsis(rest), ...after];
}

/** The names of a result that the equation does not give. */
function implied(terms: readonly string[], rest: number): string[] {
  const letters = terms.join('').replaceAll('.', '');
  const once = [...letters].filter((name) => letters.indexOf(name) === letters.lastIndexOf(name));
  return [...ellipsis(rest), ...once.sort()];
}

const wordFor = (name: string) => (name.startsWith('-') ? `dimension ${name} of the ellipsis` : `'${name}'`);

/** Takes the diagonal of dimensions that have the same name. */
function diagonal({ x, names }: Operand, wrong: (problem: string, remedy: string) => never): Operand {
  const at = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (at < 0) return { x, names };
  const first = names.indexOf(names[at]);
  const n = x.dims[at];
  if (x.dims[first] !== n)
    wrong(`'${names[at]}' has ${x.dims[first]} elements and ${n} in one tensor`, 'a diagonal needs equal dimensions');
  const others = names.map((_, i) => i).filter((i) => i !== first && i !== at);
  const shape = others.map((i) => x.dims[i]);
  const last = reshapeTo(x.permute([...others, first, at]), [...shape, n * n]);
  const range = { dim: shape.length, start: 0, length: n, step: n + 1 };
  const left = [...others.map((i) => names[i]), names[at]];
  return diagonal({ x: dispatch(narrow, [last], range), names: left }, wrong);
}

/** Sums the dimensions that nobody needs. */
function without({ x, names }: Operand, needless: (name: string) => boolean): Operand {
  const dims = names.flatMap((name, d) => (needless(name) ? [d] : []));
  if (dims.length === 0) return { x, names };
  return { x: x.sum(dims), names: names.filter((name) => !needless(name)) };
}

/** x with its dimensions in another order. */
function ordered(x: Tensor, names: readonly string[], order: readonly string[]): Tensor {
  return order.every((name, i) => names[i] === name) ? x : x.permute(order.map((name) => names.indexOf(name)));
}

/** The product of two operands, summed over the dimensions that nobody needs any more. */
function contract(left: Operand, right: Operand, needed: ReadonlySet<string>): Operand {
  const a = without(left, (name) => !needed.has(name) && !right.names.includes(name));
  const b = without(right, (name) => !needed.has(name) && !left.names.includes(name));
  const common = a.names.filter((name) => b.names.includes(name));
  const batch = common.filter((name) => needed.has(name));
  const summed = common.filter((name) => !needed.has(name));
  const rows = a.names.filter((name) => !common.includes(name));
  const cols = b.names.filter((name) => !common.includes(name));
  const x = ordered(a.x, a.names, [...batch, ...rows, ...summed]);
  const y = ordered(b.x, b.names, [...batch, ...summed, ...cols]);
  const [m, k] = [batch.length + rows.length, summed.length];
  const [shapes, others] = [x.dims.slice(batch.length, m), y.dims.slice(batch.length + k)];
  const names = [...batch, ...rows, ...cols];
  const [before, after] = [x.dims.slice(0, batch.length), y.dims.slice(0, batch.length)];
  if (k === 0) {
    const column = reshapeTo(x, [...before, ...shapes, ...others.map(() => 1)]);
    return { x: column.mul(reshapeTo(y, [...after, ...shapes.map(() => 1), ...others])), names };
  }
  // Where one of them has a single element, the sum of the other's is what it multiplies.
  const narrower = (z: Tensor, at: number, w: Tensor, from: number) => {
    const dims = summed.flatMap((_, i) => (w.dims[from + i] === 1 && z.dims[at + i] !== 1 ? [at + i] : []));
    return dims.length === 0 ? z : z.sum(dims, true);
  };
  const p = narrower(x, m, y, batch.length);
  const q = narrower(y, batch.length, x, m);
  const length = sizeOf(p.dims.slice(m));
  const product = reshapeTo(p, [...before, sizeOf(shapes), length]).matmul(
    reshapeTo(q, [...after, length, sizeOf(others)]),
  );
  return { x: reshapeTo(product, [...product.dims.slice(0, batch.length), ...shapes, ...others]), names };
}
