import { search as searchLoop } from '../../kernels/reference/order.js';
import { checkBoolean, checkInteger, checkOptions, fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { Tensor } from '../tensor.js';
import { checkTensors, dispatch } from './dispatch.js';
import { checkIndices } from './families.js';
import { dense } from './operand.js';
import { uniform } from './random.js';
import { type Dispatchable, Operation } from './row.js';

/** Options of `multinomial`. */
export interface MultinomialOptions {
  /** Whether an index may be drawn several times. Default false. */
  replacement?: boolean;
}

/** The position of the first number above each of t [rows, k] in the ascending rows of x [rows, n]; a constant. */
const search: Dispatchable<null> = /* @__PURE__ */ (() => {
  const kernel = {
    name: 'search',
    changes: [],
    steps: () => null,
    flops: () => 0,
    cost: () => 0,
    host: (
      out: Float32Array | Float64Array,
      [x, t]: readonly (Float32Array | Float64Array)[],
      bounds: readonly number[],
    ) => searchLoop(x, t, out, bounds[0], bounds[1], bounds[2]),
  };
  const forward = ([x, t]: readonly Tensor[]) => {
    const bounds = [...x.dims, t.dims[1]];
    const storage =
      t.size === 0 ? x.backend.fill(0, 0) : x.backend.fused(kernel, [dense(x), dense(t)], t.size, bounds, [], null);
    return new Tensor(Layout.rowMajor(t.dims), storage!);
  };
  return { name: 'search', operation: new Operation<null>('search', 'nothing', forward, null) };
})();

/** Requires a smallest and a largest number, where the host can read. */
function checkRange(op: string, x: Tensor, most: number, remedy: string): void {
  if (x.size === 0 || x.backend.readSync === undefined) return;
  const [low, high] = [x.min().itemSync(), x.max().itemSync()];
  if (!(low >= 0 && high <= most)) fail(op, `the elements are from ${low} to ${high}`, remedy, { shapes: [x.dims] });
}

/**
 * 1 with the probability of each element, else 0, from the global random stream: the same for the same seed on every device, and
 * other ones at every replay of a compiled step. As
 * [torch.bernoulli](https://docs.pytorch.org/docs/stable/generated/torch.bernoulli.html).
 * @param input the probabilities
 * @returns a tensor of the same shape; a constant, without a gradient
 * @throws TapegradError for what is not a probability, on devices that the host can read
 * @example
 * ```ts
 * import { bernoulli, manualSeed, tensor } from 'tapegrad';
 *
 * manualSeed(1);
 * console.log(String(bernoulli(tensor([0, 0.5, 1])))); // 0, then 0 or 1, then 1
 * ```
 */
export function bernoulli(input: Tensor): Tensor {
  checkTensors('bernoulli', [input]);
  const x = input.detach();
  checkRange('bernoulli', x, 1, 'pass probabilities from 0 to 1');
  return uniform(x.backend, x.dims).lt(x);
}

/**
 * Indices that are drawn with the weights of each row, which need not sum up to 1, from the global random stream. As
 * [torch.multinomial](https://docs.pytorch.org/docs/stable/generated/torch.multinomial.html).
 * @param input the weights [n] or [rows, n]
 * @param numSamples how many are drawn for each row
 * @param options `replacement`: whether an index may be drawn several times
 * @returns [numSamples] for weights [n], [rows, numSamples] for [rows, n]; a constant, without a gradient
 * @throws TapegradError for weights of another number of dimensions, for more samples than weights without replacement, and, on
 *   devices that the host can read, for weights that are negative or not finite, or sum up to 0
 * @example
 * ```ts
 * import { manualSeed, multinomial, tensor } from 'tapegrad';
 *
 * manualSeed(1);
 * console.log(String(multinomial(tensor([0, 3, 1]), 2))); // 1 and 2, in any order
 * ```
 */
export function multinomial(input: Tensor, numSamples: number, options: MultinomialOptions = {}): Tensor {
  const op = 'multinomial';
  checkTensors(op, [input]);
  const shapes = [input.dims];
  checkInteger(op, 'numSamples', numSamples);
  checkOptions(op, options, ['replacement']);
  const replacement = checkBoolean(op, 'replacement', options.replacement ?? false);
  const { ndim } = input;
  const n = input.dims[ndim - 1];
  if (ndim < 1 || ndim > 2 || n === 0)
    fail(op, `weights of shape ${show(input.dims)}`, 'pass [n] or [rows, n], with n of at least 1', { shapes });
  checkIndices(op, n, input.dims);
  if (!replacement && numSamples > n)
    fail(op, `${numSamples} samples of ${n} weights`, 'draw fewer, or pass { replacement: true }', { shapes });
  const weights = input.detach().reshape([-1, n]);
  const remedy = 'pass weights of at least 0 that are finite and not all 0';
  checkRange(op, weights, Number.MAX_VALUE, remedy);
  const totals = weights.sum(1, true);
  if (weights.size > 0 && weights.backend.readSync !== undefined && totals.min().itemSync() === 0)
    fail(op, 'the weights of a row sum up to 0', remedy, { shapes });
  const { backend } = weights;
  const rows = weights.dims[0];
  let index: Tensor;
  if (replacement) {
    const sums = weights.cumsum(1);
    // The largest uniform number times the total is below the total.
    index = dispatch(search, [sums, uniform(backend, [rows, numSamples]).mul(sums.narrow(1, n - 1, 1))], null);
  } else {
    // Times to events of these rates: the first ones are as if drawn one after the other.
    const times = uniform(backend, [rows, n])
      .maximum(2 ** -25)
      .log()
      .neg();
    index = weights.div(times).topk(numSamples, 1)[1];
  }
  return ndim === 1 ? index.reshape([-1]) : index;
}
