import { checkChoice, checkInteger, checkOptions, describe, fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { Tensor } from '../methods.js';
import { checkTensors, dispatch } from '../ops/dispatch.js';
import { pad as padRow } from '../ops/pad.js';

/** What `pad` puts around a tensor. */
export type PadMode = 'constant' | 'reflect' | 'replicate' | 'circular';

/** Options of `pad`. */
export interface PadOptions {
  /**
   * 'constant' puts `value` there, 'reflect' the elements mirrored at the edge, which is not repeated, 'replicate' the edge,
   * and 'circular' the elements of the other end. Default 'constant'.
   */
  mode?: PadMode;
  /** The constant; for the mode 'constant' only. Default 0. */
  value?: number;
}

/** Which of n elements stands at position `at` beside them. */
const places: Record<Exclude<PadMode, 'constant'>, (at: number, n: number) => number> = {
  reflect: (at, n) => (at < 0 ? -at : at >= n ? 2 * (n - 1) - at : at),
  replicate: (at, n) => Math.min(Math.max(at, 0), n - 1),
  circular: (at, n) => (at + n) % n,
};

/**
 * Adds elements at both ends of the last dimensions. Same as
 * [torch.nn.functional.pad](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pad.html).
 *
 * @param x any shape; for other modes than 'constant' the padded dimensions (at most three) stand behind one or two others
 * @param padding how many elements, in pairs from the last dimension on: [left, right, top, bottom, …]. Negative numbers remove
 *   elements
 * @param options the mode and the constant
 * @returns a tensor whose last dimensions are longer
 * @throws TapegradError for a padding that is no array of pairs of integers, or has more pairs than x has dimensions; for more
 *   elements than are there to reflect (fewer than the dimension) or to repeat (as many); for a dimension that would be less than 0,
 *   in other modes than 'constant' less than 1; for a value in these modes, and unknown options
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const x = tensor([[1, 2, 3]]);
 * console.log(nn.functional.pad(x, [1, 2]).toArraySync()); // [[0, 1, 2, 3, 0, 0]]
 * console.log(nn.functional.pad(x, [1, 2], { mode: 'reflect' }).toArraySync()); // [[2, 1, 2, 3, 2, 1]]
 * ```
 */
export function pad(x: Tensor, padding: readonly number[], options: PadOptions = {}): Tensor {
  const op = 'pad';
  checkTensors(op, [x]);
  checkOptions(op, options, ['mode', 'value']);
  const mode = checkChoice(op, 'mode', options.mode ?? 'constant', ['constant', 'reflect', 'replicate', 'circular']);
  const { value = 0 } = options;
  if (typeof value !== 'number') fail(op, `value is ${describe(value)}`, 'pass a number');
  if (!Array.isArray(padding)) fail(op, `padding is ${describe(padding)}`, 'pass one array, as in pad(x, [1, 1])');
  const numbers = padding.map((n, i) => checkInteger(op, `padding[${i}]`, n, -Infinity));
  const count = numbers.length / 2;
  const details = { shapes: [x.dims] };
  if (!Number.isInteger(count) || count > x.ndim) {
    const remedy = `pass a pair for each of the last dimensions, at most ${x.ndim} pairs`;
    fail(op, `padding is ${show(numbers)} for a tensor of shape ${show(x.dims)}`, remedy, details);
  }
  const pairs = Array.from({ length: count }, (_, i) => {
    const [before, after] = [numbers[2 * i], numbers[2 * i + 1]];
    const dim = x.ndim - 1 - i;
    const size = x.dims[dim] + before + after;
    if (size < (mode === 'constant' ? 0 : 1)) {
      const what = `[${before}, ${after}] leaves ${size} elements of dimension ${dim} of shape ${show(x.dims)}`;
      fail(op, what, mode === 'constant' ? 'remove fewer' : 'leave at least one', details);
    }
    return { dim, before, after, size };
  });
  if (mode === 'constant') return constant(x, pairs, value);
  if (value !== 0) fail(op, `value is ${value} for the mode '${mode}'`, "only the mode 'constant' takes a value");
  if (count < 1 || count > 3 || (x.ndim !== count + 1 && x.ndim !== count + 2)) {
    const remedy = "pad the last one to three dimensions, behind one or two others; only the mode 'constant' pads all";
    fail(op, `the mode '${mode}' with ${count} pairs for a tensor of shape ${show(x.dims)}`, remedy, details);
  }
  return pairs.reduce((y, pair) => repeated(y, pair, mode), x);
}

interface Pair {
  readonly dim: number;
  readonly before: number;
  readonly after: number;
  /** The resulting dimension. */
  readonly size: number;
}

function constant(x: Tensor, pairs: readonly Pair[], value: number): Tensor {
  let inner = x;
  const start = x.dims.map(() => 0);
  const shape = x.dims.slice();
  for (const { dim, before, after, size } of pairs) {
    const from = Math.max(0, -before);
    const rest = x.dims[dim] - from - Math.max(0, -after);
    if (rest !== x.dims[dim]) inner = inner.narrow(dim, Math.min(from, x.dims[dim]), Math.max(0, rest));
    start[dim] = Math.max(0, before);
    shape[dim] = size;
  }
  return dispatch(padRow, [inner], { start, shape, value });
}

/** One dimension, padded by elements of it. */
function repeated(x: Tensor, { dim, before, after, size }: Pair, mode: Exclude<PadMode, 'constant'>): Tensor {
  const n = x.dims[dim];
  const most = { reflect: n - 1, replicate: n === 0 ? 0 : Infinity, circular: n }[mode];
  if (before > most || after > most) {
    const what = `[${before}, ${after}] for dimension ${dim} of shape ${show(x.dims)} in the mode '${mode}'`;
    fail('pad', what, `its ${n} elements give at most ${Math.max(0, most)} on each side`, { shapes: [x.dims] });
  }
  // What is removed first takes no part in a circle.
  const [left, right] = mode === 'circular' ? [Math.max(0, -before), Math.max(0, -after)] : [0, 0];
  const place = places[mode];
  const index = Float32Array.from({ length: size }, (_, i) => place(i - before - left, n - left - right) + left);
  return x.indexSelect(dim, new Tensor(Layout.rowMajor([size]), x.backend.upload(index)));
}
