import { flip } from '../src/ops/arrange.js';
import * as entropy from '../src/ops/cross-entropy.js';
import { gather, scatter } from '../src/ops/indexing.js';
import { join } from '../src/ops/join.js';
import * as loss from '../src/ops/loss.js';
import { choose, clamp } from '../src/ops/masks.js';
import { linear, product } from '../src/ops/matmul.js';
import { clone, move } from '../src/ops/move.js';
import * as norm from '../src/ops/norm.js';
import { pad } from '../src/ops/pad.js';
import type { NamedGeneral } from '../src/ops/row.js';
import { cumsum } from '../src/ops/scan.js';
import { logSoftmax, softmax } from '../src/ops/softmax.js';
import { logsumexp, root, variance } from '../src/ops/statistics.js';
import type { table } from '../src/ops/table.js';
import * as view from '../src/ops/view.js';

// The inputs of the generated tests, by the name of the op table's row. The compiler names an element-wise row without an
// entry; test/ops.test.ts names a general one. Browsers load this file too: it must not import a test runner.

/** An interval from which tests draw the elements of an input. */
export type Domain = readonly [low: number, high: number];

export interface UnaryExamples {
  /** x is drawn from here. */
  readonly domain: Domain;
  /** Further values that are tried: special ones, and those around which an implementation could lose digits. */
  readonly edges: readonly number[];
}

export interface BinaryExamples {
  readonly domainA: Domain;
  readonly domainB: Domain;
  /** Further values that are tried, each for a with each for b. */
  readonly edges: readonly number[];
}

/** One way to call a general row. */
export interface Example<A> {
  readonly shapes: readonly (readonly number[])[];
  readonly attributes: A;
  /** Inputs whose values are fixed, such as indices, by position. */
  readonly values?: { readonly [input: number]: readonly number[] };
  /** Where the other inputs are drawn from; default [-2, 2]. */
  readonly domain?: Domain;
}

const specials = [0, -0, 1, -1, Infinity, -Infinity, NaN];
const wide: Domain = [-5, 5];

const unary: { readonly [K in keyof typeof table.unary]: UnaryExamples } = {
  neg: { domain: wide, edges: specials },
  exp: { domain: [-10, 10], edges: [...specials, 88.72, 88.73, 100, -87.3, -100, -103.9, -105, 1e-30] },
  log: { domain: [0.1, 10], edges: [...specials, 1e-40, 1.1754944e-38, 3.4e38, 0.99999994, 1.0000001] },
  sqrt: { domain: [0.1, 10], edges: [...specials, 1e-40, 3.4e38] },
  abs: { domain: wide, edges: specials },
  relu: { domain: wide, edges: specials },
  sigmoid: { domain: [-10, 10], edges: [...specials, 100, -87, -100, -104, 20, -20] },
  sin: { domain: wide, edges: [...specials, 1e-30, Math.PI, -1.5707964, 22, 710, 4.712389, 1e5] },
  cos: { domain: wide, edges: [...specials, 1e-30, Math.PI, -1.5707964, 22, 710, 4.712389, 1e5] },
  erf: { domain: [-3, 3], edges: [...specials, 1e-30, 0.5, -0.5, 0.9, 1.1, 2, 3.9, 4, 10, -10] },
  floor: { domain: wide, edges: [...specials, 0.5, -0.5, 0.99999994, 8388607.5, -8388607.5, 1e10, -1e10, 3.4e38] },
  ceil: { domain: wide, edges: [...specials, 0.5, -0.5, 0.99999994, 8388607.5, -8388607.5, 1e10, -1e10, 3.4e38] },
  round: {
    domain: wide,
    edges: [...specials, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997, 0.99999994, 4194303.5, 8388607.5, 1e10, -1e10, 3.4e38],
  },
  sign: { domain: wide, edges: [...specials, 1e-30, -1e-30] },
  square: { domain: wide, edges: [...specials, 1e-18, 1e18, 1e30] },
  rsqrt: { domain: [0.1, 10], edges: [...specials, 1e-37, 3.4e38] },
  log1p: { domain: [-0.9, 10], edges: [...specials, 1e-30, -1e-10, 1e-7, -0.99999994, 0.5, -0.5, 3.4e38, -2] },
  expm1: { domain: [-5, 5], edges: [...specials, 1e-30, -1e-10, 1e-7, 0.34, -0.36, 88.7, 89, -20, -100] },
  gelu: { domain: wide, edges: [0, -0, 1, -1, NaN, -Infinity, Infinity, 1e-30, -2, -3, -6, 6, 20, 100, -100] },
  silu: { domain: wide, edges: [...specials, 1e-30, -20, 20, 100, -80] },
  softplus: { domain: wide, edges: [...specials, 1e-30, -20, 20, 100, -80] },
  geluTanh: { domain: wide, edges: [0, -0, 1, -1, NaN, Infinity, 1e-30, -2, -3, 6, 20, 100] },
  tanh: { domain: [-4, 4], edges: [...specials, 0.625, 0.6249999, -0.625, 9, 100, -100, 1e-30] },
};

const anywhere: BinaryExamples = { domainA: wide, domainB: wide, edges: specials };

const binary: { readonly [K in keyof typeof table.binary]: BinaryExamples } = {
  add: anywhere,
  sub: anywhere,
  mul: anywhere,
  div: { domainA: wide, domainB: [0.5, 5], edges: specials },
  pow: { domainA: [0.2, 3], domainB: [-2, 3], edges: [0, 1, -1, 2, 0.5, -2, Infinity, -Infinity, NaN] },
  maximum: anywhere,
  minimum: anywhere,
  squaredDifference: { domainA: wide, domainB: wide, edges: [0, -0, 1, Infinity, NaN] },
  binaryCrossEntropy: { domainA: [0.05, 0.95], domainB: [0.05, 0.95], edges: [0, 1, 0.5] },
  binaryCrossEntropyWithLogits: { domainA: wide, domainB: [0, 1], edges: [0, -0, 1, 100, -100] },
  reluGrad: anywhere,
  keep: { domainA: wide, domainB: [0.5, 2], edges: [0, 1, -1, Infinity, -Infinity, NaN] },
  geluGrad: { domainA: wide, domainB: wide, edges: [0, -0, 1, -1, NaN, -3, 5] },
  siluGrad: { domainA: wide, domainB: wide, edges: [0, -0, 1, -1, NaN, -20, 100] },
  geluTanhGrad: { domainA: wide, domainB: wide, edges: [0, -0, 1, -1, NaN, -3, 5] },
};

const masks: BinaryExamples = { domainA: [-2, 2], domainB: [-2, 2], edges: specials };

const compare: { readonly [K in keyof typeof table.compare]: BinaryExamples } = {
  eq: masks,
  gt: masks,
  lt: masks,
  ge: masks,
  le: masks,
  ne: masks,
};

/** Ties the examples of a general row to the type of its attributes. */
function of<A>(row: NamedGeneral<A>, ...examples: readonly Example<A>[]): [string, readonly Example<unknown>[]] {
  return [row.name, examples];
}

const plain = { a: false, b: false };
const centred = { eps: 0.01, center: true };
const uncentred = { eps: 0.01, center: false };
const labels = { 1: [2, 0, 1, 1] };

// biome-ignore format: one line for each example
const entries = [
  of(product,
    { shapes: [[3, 4], [4, 5]], attributes: plain },
    { shapes: [[4, 3], [4, 5]], attributes: { a: true, b: false } },
    { shapes: [[3, 4], [5, 4]], attributes: { a: false, b: true } },
    { shapes: [[4, 3], [5, 4]], attributes: { a: true, b: true } },
    { shapes: [[2, 3, 4], [4, 2]], attributes: plain },
    { shapes: [[2, 1, 3, 4], [3, 4, 2]], attributes: plain },
    { shapes: [[3, 4], [2, 4, 5]], attributes: plain },
    { shapes: [[2, 3, 4], [2, 4, 5]], attributes: plain },
    { shapes: [[2, 4, 3], [4, 5]], attributes: { a: true, b: false } },
    { shapes: [[2, 4, 3], [1, 5, 4]], attributes: { a: true, b: true } },
    { shapes: [[2, 3, 4], [5, 4]], attributes: { a: false, b: true } },
    { shapes: [[2, 3, 4], [2, 5, 4]], attributes: { a: false, b: true } },
    { shapes: [[17, 33], [33, 9]], attributes: plain },
    { shapes: [[1, 7], [7, 5]], attributes: plain },
    { shapes: [[6, 7], [7, 1]], attributes: plain },
  ),
  of(linear,
    { shapes: [[3, 4], [5, 4], [5]], attributes: { relu: false } },
    { shapes: [[3, 4], [5, 4]], attributes: { relu: false } },
    { shapes: [[4], [5, 4], [5]], attributes: { relu: false } },
    { shapes: [[2, 3, 4], [5, 4], [5]], attributes: { relu: false } },
    { shapes: [[17, 33], [9, 33], [9]], attributes: { relu: false } },
    { shapes: [[17, 33], [9, 33], [9]], attributes: { relu: true } },
    { shapes: [[2, 3, 4], [5, 4]], attributes: { relu: true } },
  ),
  of(view.reshape,
    { shapes: [[2, 6]], attributes: [3, 4] },
    { shapes: [[]], attributes: [1, 1] },
  ),
  of(view.permute,
    { shapes: [[3, 4]], attributes: [1, 0] },
    { shapes: [[2, 3, 4]], attributes: [2, 1, 0] },
    { shapes: [[2, 3, 4]], attributes: [1, 0, 2] },
    { shapes: [[2, 3, 4]], attributes: [2, 0, 1] },
    { shapes: [[2, 5, 6]], attributes: [0, 2, 1] },
  ),
  of(view.narrow,
    { shapes: [[5, 3]], attributes: { dim: 0, start: 1, length: 2 } },
    { shapes: [[2, 5, 3]], attributes: { dim: 1, start: 3, length: 2 } },
    { shapes: [[4, 6]], attributes: { dim: 1, start: 0, length: 1 } },
    { shapes: [[4, 6]], attributes: { dim: 1, start: 1, length: 3, step: 2 } },
    { shapes: [[7, 2, 3]], attributes: { dim: 0, start: 0, length: 3, step: 3 } },
  ),
  of(view.narrowBackward,
    { shapes: [[2, 3]], attributes: { dim: 0, start: 1, length: 5 } },
    { shapes: [[2, 2, 3]], attributes: { dim: 1, start: 3, length: 5 } },
    { shapes: [[2, 3]], attributes: { dim: 1, start: 1, length: 7, step: 2 } },
    { shapes: [[3, 2, 2]], attributes: { dim: 0, start: 0, length: 7, step: 3 } },
  ),
  of(view.expand,
    { shapes: [[3, 1]], attributes: [2, 3, 4] },
    { shapes: [[]], attributes: [5] },
    { shapes: [[4]], attributes: [3, 4] },
  ),
  of(view.unbroadcast,
    { shapes: [[2, 3, 4]], attributes: [3, 1] },
    { shapes: [[2, 3, 4]], attributes: [4] },
    { shapes: [[2, 3, 4]], attributes: [] },
    { shapes: [[4, 3, 2]], attributes: [4, 1, 2] },
  ),
  of(view.contiguous, { shapes: [[2, 3]], attributes: null }),
  ...[softmax, logSoftmax].map((row) => of(row,
    { shapes: [[3, 5]], attributes: null },
    { shapes: [[2, 3, 17]], attributes: null },
    { shapes: [[7]], attributes: null },
  )),
  of(gather,
    { shapes: [[4, 3], [4, 1]], attributes: { dim: 1, length: 3 }, values: labels },
    { shapes: [[3, 5], [4]], attributes: { dim: 0, length: 3 }, values: labels },
    { shapes: [[2, 3, 4], [4]], attributes: { dim: 1, length: 3 }, values: labels },
    { shapes: [[5, 3], [4]], attributes: { dim: 1, length: 3 }, values: labels },
    { shapes: [[3, 2], [2, 2]], attributes: { dim: 0, length: 3 }, values: labels },
    { shapes: [[2, 3, 2], [2, 2, 2]], attributes: { dim: 1, length: 3 }, values: { 1: [0, 2, 0, 1, 1, 1, 2, 2] } },
    { shapes: [[3, 130], [4]], attributes: { dim: 0, length: 3 }, values: labels },
  ),
  of(scatter,
    { shapes: [[4, 1], [4, 1]], attributes: { dim: 1, length: 3 }, values: labels },
    { shapes: [[4, 5], [4]], attributes: { dim: 0, length: 3 }, values: labels },
    { shapes: [[2, 4, 3], [4]], attributes: { dim: 1, length: 5 }, values: labels },
    { shapes: [[2, 2], [2, 2]], attributes: { dim: 0, length: 3 }, values: labels },
    { shapes: [[2, 2, 2], [2, 2, 2]], attributes: { dim: 1, length: 3 }, values: { 1: [0, 2, 0, 1, 1, 1, 2, 2] } },
    { shapes: [[4, 130], [4]], attributes: { dim: 0, length: 4 }, values: labels },
  ),
  of(join,
    { shapes: [[2, 3], [1, 3]], attributes: 0 },
    { shapes: [[2, 1, 2], [2, 3, 2], [2, 0, 2], [2, 1, 2]], attributes: 1 },
    { shapes: [[3, 1], [3, 140]], attributes: 1 },
    { shapes: [[2], [1], [3], [1], [1], [2], [1], [4], [1], [1], [1], [1], [1], [1], [1], [2], [1]], attributes: 0 },
  ),
  of(flip,
    { shapes: [[5]], attributes: [0] },
    { shapes: [[2, 3, 4]], attributes: [1] },
    { shapes: [[2, 3, 4]], attributes: [0, 2] },
    { shapes: [[3, 17]], attributes: [0, 1] },
  ),
  of(pad,
    { shapes: [[3]], attributes: { start: [2], shape: [6], value: -1.5 } },
    { shapes: [[2, 3, 2]], attributes: { start: [0, 1, 2], shape: [2, 5, 4], value: 0 } },
  ),
  of(loss.squaredError,
    { shapes: [[3, 7], [3, 7]], attributes: 0.5 },
    { shapes: [[300], [300]], attributes: 1 / 300 },
  ),
  of(loss.squaredErrorGrad, { shapes: [[3, 7], [3, 7], []], attributes: 0.5 }),
  of(entropy.crossEntropy, { shapes: [[4, 3], [4]], attributes: null, values: labels }),
  of(entropy.crossEntropyTotal,
    { shapes: [[4, 3], [4]], attributes: 'sum', values: labels },
    { shapes: [[4, 3], [4]], attributes: 'mean', values: labels },
  ),
  of(entropy.crossEntropyGrad, { shapes: [[4, 3], [4], []], attributes: 0.25, values: labels }),
  of(norm.layerNorm,
    { shapes: [[3, 5]], attributes: centred },
    { shapes: [[2, 3, 5], [5]], attributes: centred },
    { shapes: [[4, 6], [6], [6]], attributes: centred },
    { shapes: [[4, 6], [6]], attributes: uncentred },
    { shapes: [[70, 33], [33], [33]], attributes: centred },
    { shapes: [[3, 1037]], attributes: uncentred },
  ),
  of(norm.layerNormGrad,
    { shapes: [[3, 5], [3, 5]], attributes: centred },
    { shapes: [[3, 5], [3, 5], [5]], attributes: centred },
    { shapes: [[2, 2, 6], [2, 2, 6], [6]], attributes: uncentred },
    { shapes: [[3, 1037], [3, 1037], [1037]], attributes: centred },
  ),
  of(norm.layerNormSums,
    { shapes: [[3, 5], [3, 5]], attributes: centred },
    { shapes: [[2, 2, 6], [2, 2, 6]], attributes: uncentred },
    { shapes: [[70, 33], [70, 33]], attributes: centred },
  ),
  of(variance,
    { shapes: [[3, 5]], attributes: { dims: [1], kept: [3, 1], shape: [3], divisor: 4 } },
    { shapes: [[2, 3, 4]], attributes: { dims: [0, 2], kept: [1, 3, 1], shape: [1, 3, 1], divisor: 8 } },
    { shapes: [[7]], attributes: { dims: [0], kept: [1], shape: [], divisor: 6.5 } },
  ),
  of(root,
    { shapes: [[4]], attributes: 2, domain: [0.5, 4] },
    { shapes: [[2, 2]], attributes: 3, domain: [0.5, 4] },
  ),
  of(logsumexp,
    { shapes: [[3, 5]], attributes: { dims: [1], kept: [3, 1], shape: [3, 1] } },
    { shapes: [[2, 3, 4]], attributes: { dims: [0, 2], kept: [1, 3, 1], shape: [3] } },
  ),
  of(cumsum,
    { shapes: [[3, 5]], attributes: 0 },
    { shapes: [[2, 7]], attributes: 1 },
    { shapes: [[4, 1]], attributes: 0 },
    { shapes: [[5, 33]], attributes: 1 },
  ),
  of(clone, { shapes: [[2, 3]], attributes: null }),
  of(choose,
    { shapes: [[2, 3], [2, 3], [2, 3]], attributes: null, values: { 0: [1, 0, 0, 2, -1, 0] } },
    { shapes: [[2, 3], [], [2, 3]], attributes: null, values: { 0: [1, 0, 0, 1, NaN, 0] } },
    { shapes: [[2, 3], [2, 3], [1, 1]], attributes: null, values: { 0: [1, 0, 0, 1, NaN, 0] } },
    { shapes: [[], [7], [7]], attributes: null, values: { 0: [1] } },
    { shapes: [[7], [], []], attributes: null, values: { 0: [1, 0, 0, 1, 1, 0, 0] } },
  ),
  of(clamp,
    { shapes: [[2, 3], [], []], attributes: [true, true], values: { 1: [-1], 2: [0.5] } },
    { shapes: [[2, 3], [2, 3], []], attributes: [true, false], values: { 2: [Infinity] } },
    { shapes: [[2, 3], [], [3]], attributes: [false, true], values: { 1: [-Infinity] } },
    { shapes: [[3], [2, 1], [2, 3]], attributes: [true, true] },
  ),
  // Its attributes are two backends: the device tests call it.
  of(move),
];

const general: { readonly [name: string]: readonly Example<unknown>[] } = Object.fromEntries(entries);

export const examples = { unary, binary, compare, general } as const;
