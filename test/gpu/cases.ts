import type { Device } from '../../src/backends/backend.js';
import { nn, noGrad, type Tensor, tensor } from '../../src/index.js';
import { dispatch } from '../../src/ops/dispatch.js';
import { applyBinary, applyReduce } from '../../src/ops/families.js';
import { table } from '../../src/ops/table.js';
import { sizeOf } from '../../src/shape.js';
import { difference } from '../close.js';
import { examples } from '../examples-of-ops.js';
import { sample, sampleTensor } from '../samples.js';

// Walks the op table on the GPU: every row forward and backward against the reference. Runs in Node and in browsers, so it
// knows of no test runner.

export interface Case {
  readonly name: string;
  /** What is wrong, or null. */
  readonly run: () => Promise<string | null>;
}

/** What an expression gives on a device, and the gradients of its weighted sum. */
async function evaluate(device: Device, make: (device: Device) => Tensor[], fn: (...inputs: Tensor[]) => Tensor) {
  const inputs = make(device);
  const y = fn(...inputs);
  if (y.requiresGrad) {
    const weights = tensor(sample(y.size, [0.5, 1.5], 9), { shape: y.shape, device });
    y.mul(weights).sum().backward();
  }
  const gradients = await Promise.all(inputs.map((x) => x.grad?.data() ?? new Float32Array()));
  return { shape: y.shape, values: await y.data(), gradients };
}

/** The same of the GPU as of the reference. */
function same(
  name: string,
  make: (device: Device) => Tensor[],
  fn: (...inputs: Tensor[]) => Tensor,
  rtol = 1e-5,
  atol = 1e-6,
): Case {
  const run = async () => {
    const [expected, got] = await Promise.all([evaluate('reference', make, fn), evaluate('gpu', make, fn)]);
    if (String(got.shape) !== String(expected.shape)) return `shape [${got.shape}] instead of [${expected.shape}]`;
    const wrong = difference(got.values, expected.values, rtol, atol);
    if (wrong !== null) return wrong;
    for (const [i, g] of got.gradients.entries()) {
      const off = difference(g, expected.gradients[i], rtol, atol);
      if (off !== null) return `gradient ${i}: ${off}`;
    }
    return null;
  };
  return { name, run };
}

/** Shaders take the smallest numbers of all, the subnormal ones, for 0. */
const normal = (x: number) => x === 0 || Math.abs(x) >= 2 ** -126 || Number.isNaN(x);
const flush = (x: number) => (normal(x) ? x : 0);

function edges(name: string, expected: Float32Array, make: () => Tensor): Case {
  const run = async () => difference((await make().data()).map(flush), expected.map(flush), 1e-5, 0);
  return { name: `${name} at its edges`, run };
}

const onGpu = (values: ArrayLike<number>) => tensor(Float32Array.from(values), { device: 'gpu' });

const pairs: [number[], number[]][] = [
  [[7], [7]],
  [[3, 5], [5]],
  [[3, 5], [3, 1]], // biome-ignore format: one line
  [[], [2, 3]],
  [[2, 1, 4], [3, 1]], // biome-ignore format: one line
  [[4, 1, 3, 1], [2, 1, 17]], // biome-ignore format: one line
  [[33, 17], [33, 17]], // biome-ignore format: one line
];
const reductions: [number[], number | undefined][] = [
  [[], undefined],
  [[17], undefined],
  [[3, 5], 0],
  [[3, 5], -1],
  [[2, 3, 4], 1],
  [[65, 33], 0],
  [[3, 1100], 1],
  [[129], 0],
  [[40_000], undefined],
];
const products: [number, number, number][] = [
  [33, 17, 65],
  [64, 64, 64],
  [63, 65, 1],
  [1, 513, 130],
  [127, 1, 31],
  [128, 512, 96],
];

const unary = Object.entries(table.unary).flatMap(([name, row]) => {
  const { domain, edges: all } = examples.unary[name as keyof typeof table.unary];
  const special = all.filter(normal);
  return [
    ...[1, 3, 17, 33, 513].map((n) =>
      same(
        `${name} of ${n}`,
        (device) => [sampleTensor([n], domain, 1, device, true)],
        (x) => dispatch(row, [x], null),
      ),
    ),
    edges(name, Float32Array.from(special).map(row.f), () => dispatch(row, [onGpu(special)], null)),
  ];
});

const binary = [...Object.entries(table.binary), ...Object.entries(table.compare)].flatMap(([name, row]) => {
  const grad = 'gradA' in row;
  const { domainA, domainB, edges: e } = { ...examples.binary, ...examples.compare }[name as keyof typeof table.binary];
  const a = Float32Array.from(e.flatMap((v) => e.map(() => v)));
  const b = Float32Array.from(e.flatMap(() => e));
  return [
    ...pairs.map(([left, right]) =>
      same(
        `${name} of [${left}] and [${right}]`,
        (device) => [sampleTensor(left, domainA, 1, device, grad), sampleTensor(right, domainB, 2, device, grad)],
        (x, y) => applyBinary(row, x, y),
      ),
    ),
    edges(
      name,
      a.map((v, i) => row.f(v, b[i])),
      () => applyBinary(row, onGpu(a), onGpu(b)),
    ),
  ];
});

const reduce = Object.entries(table.reduce).flatMap(([name, row]) => [
  ...reductions.map(([shape, dim]) =>
    same(
      `${name} of [${shape}] over ${dim ?? 'all'}`,
      (device) => [sampleTensor(shape, [-3, 3], 3, device, row.grad !== undefined)],
      (x) => applyReduce(row, x, dim, false),
      1e-5,
      1e-5,
    ),
  ),
  ...[NaN, Infinity, -Infinity].map((special) => {
    const values = sample(300, [-1, 1]);
    values[200] = special;
    return same(
      `${name} with ${special}`,
      (device) => [tensor(values, { device })],
      (x) => applyReduce(row, x, undefined, false),
    );
  }),
]);

const general = table.general.flatMap((row) =>
  examples.general[row.name].map(({ shapes, attributes, values = {}, domain = [-2, 2] }) =>
    same(
      `${row.name} of ${JSON.stringify(shapes)}, ${JSON.stringify(attributes)}`,
      (device) =>
        shapes.map((shape, j) =>
          values[j] ? tensor([...values[j]], { shape, device }) : sampleTensor(shape, domain, j + 1, device, true),
        ),
      (...inputs) => dispatch(row, inputs, attributes),
      1e-5,
      2e-5,
    ),
  ),
);

/** The same with what is not finite among the numbers of the first input. */
const generalSpecials = table.general.flatMap((row) =>
  examples.general[row.name].map(({ shapes, attributes, values = {} }) =>
    same(
      `${row.name} of ${JSON.stringify(shapes)}, ${JSON.stringify(attributes)} with NaN and infinities`,
      (device) =>
        shapes.map((shape, j) => {
          if (values[j]) return tensor([...values[j]], { shape, device });
          const numbers = sample(sizeOf(shape), [-2, 2], j + 1);
          if (j === 0) numbers.set([NaN, Infinity, -Infinity, 0].slice(0, numbers.length));
          return tensor(numbers, { shape, device });
        }),
      (...inputs) => dispatch(row, inputs, attributes),
      1e-5,
      2e-5,
    ),
  ),
);

const layouts = [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
];
const matmul = products.flatMap(([m, k, n]) =>
  layouts.map(([ta, tb]) =>
    same(
      `matmul of [${m}, ${k}]${ta ? 't' : ''} and [${k}, ${n}]${tb ? 't' : ''}`,
      (device) => [
        sampleTensor(ta ? [k, m] : [m, k], [-1, 1], 1, device, true),
        sampleTensor(tb ? [n, k] : [k, n], [-1, 1], 2, device, true),
      ],
      (a, b) => (ta ? a.t() : a).matmul(tb ? b.t() : b),
      1e-5,
      1e-4,
    ),
  ),
);

const rows = [
  [1, 2, 3],
  [NaN, 1, 2],
  [Infinity, 1, 2],
  [-Infinity, 1, 2],
  [100, -100, 0],
];
const special = same(
  'softmax keeps what is special in its own row',
  (device) => [tensor(rows, { device })],
  (x) => noGrad(() => x.softmax(1)),
);

const confident = [20, 17, 10, 5, 0].map((margin) => [0, margin, 0, -margin]);
const nearZero = [
  same(
    'a loss near 0 keeps its digits',
    (device) => [tensor(confident, { device })],
    (x) =>
      noGrad(() => nn.functional.crossEntropy(x, tensor([1, 1, 1, 1, 1], { device: x.device }), { reduction: 'none' })),
    3e-5,
    0,
  ),
  same(
    'logSoftmax near 0 keeps its digits',
    (device) => [tensor(confident, { device })],
    (x) => noGrad(() => x.logSoftmax(1)),
    3e-5,
    0,
  ),
];

export const cases: readonly Case[] = [
  ...unary,
  ...binary,
  ...reduce,
  ...general,
  ...generalSpecials,
  ...matmul,
  special,
  ...nearZero,
];
