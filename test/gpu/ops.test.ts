import { describe, expect } from 'vitest';
import type { Device } from '../../src/backends/backend.js';
import { noGrad, type Tensor, tensor } from '../../src/index.js';
import { applyBinary, applyReduce, applyUnary } from '../../src/ops/apply.js';
import { applyGeneral } from '../../src/ops/record.js';
import { table } from '../../src/ops/table.js';
import { expectClose, sample, sampleTensor } from '../helpers.js';
import { onGpu } from './device.js';

// Walks the op table on the GPU: every row forward and backward against the reference.

/** What an expression gives on a device, and the gradients of its weighted sum. */
async function run(device: Device, make: (device: Device) => Tensor[], fn: (...inputs: Tensor[]) => Tensor) {
  const inputs = make(device);
  const y = fn(...inputs);
  if (y.requiresGrad) {
    const weights = tensor(sample(y.size, [0.5, 1.5], 9), { shape: y.shape, device });
    y.mul(weights).sum().backward();
  }
  const gradients = await Promise.all(inputs.map((x) => x.grad?.data() ?? new Float32Array()));
  return { shape: y.shape, values: await y.data(), gradients };
}

/** Requires the same of the GPU as of the reference. */
async function compare(
  make: (device: Device) => Tensor[],
  fn: (...inputs: Tensor[]) => Tensor,
  rtol = 1e-5,
  atol = 1e-6,
): Promise<void> {
  const [expected, got] = await Promise.all([run('reference', make, fn), run('gpu', make, fn)]);
  expect(got.shape).toEqual(expected.shape);
  expectClose(got.values, expected.values, rtol, atol);
  for (const [i, g] of got.gradients.entries()) expectClose(g, expected.gradients[i], rtol, atol);
}

/** Shaders take the smallest numbers of all, the subnormal ones, for 0. */
const normal = (x: number) => x === 0 || Math.abs(x) >= 2 ** -126 || Number.isNaN(x);
const flush = (x: number) => (normal(x) ? x : 0);

const pairs: [number[], number[]][] = [
  [[7], [7]],
  [[3, 5], [5]],
  [
    [3, 5],
    [3, 1],
  ],
  [[], [2, 3]],
  [
    [2, 1, 4],
    [3, 1],
  ],
  [
    [4, 1, 3, 1],
    [2, 1, 17],
  ],
  [
    [33, 17],
    [33, 17],
  ],
];

describe.each(Object.entries(table.unary))('%s', (_, row) => {
  onGpu.each([1, 3, 17, 33, 513])('equals the reference for %d numbers', (n) =>
    compare(
      (device) => [sampleTensor([n], row.domain, 1, device, true)],
      (x) => applyUnary(row, x),
    ),
  );
  onGpu('equals the scalar f at its edges', async () => {
    const edges = Float32Array.from(row.edges.filter(normal));
    const y = applyUnary(row, tensor(edges, { device: 'gpu' }));
    expectClose((await y.data()).map(flush), edges.map(row.f).map(flush), 1e-5, 0);
  });
});

describe.each([...Object.entries(table.binary), ...Object.entries(table.compare)])('%s', (_, row) => {
  const [domainA, domainB] =
    'domainA' in row
      ? [row.domainA, row.domainB]
      : ([
          [-2, 2],
          [-2, 2],
        ] as const);
  onGpu.each(pairs)('equals the reference for %j and %j', (a, b) => {
    const grad = 'domainA' in row;
    return compare(
      (device) => [sampleTensor(a, domainA, 1, device, grad), sampleTensor(b, domainB, 2, device, grad)],
      (x, y) => applyBinary(row, x, y),
    );
  });
  onGpu('equals the scalar f at its edges', async () => {
    const e = row.edges;
    const a = Float32Array.from(e.flatMap((v) => e.map(() => v)));
    const b = Float32Array.from(e.flatMap(() => e));
    const y = applyBinary(row, tensor(a, { device: 'gpu' }), tensor(b, { device: 'gpu' }));
    const expected = a.map((v, i) => row.f(v, b[i]));
    expectClose((await y.data()).map(flush), expected.map(flush), 1e-5, 0);
  });
});

describe.each(Object.entries(table.reduce))('%s', (_, row) => {
  onGpu.each([
    [[], undefined],
    [[17], undefined],
    [[3, 5], 0],
    [[3, 5], -1],
    [[2, 3, 4], 1],
    [[65, 33], 0],
    [[3, 1100], 1],
    [[129], 0],
    [[40_000], undefined],
  ] as const)('equals the reference for %j over %s', (shape, dim) =>
    compare(
      (device) => [sampleTensor(shape, [-3, 3], 3, device, row.grad !== undefined)],
      (x) => applyReduce(row, x, dim as number, false),
      1e-5,
      1e-5,
    ),
  );
  onGpu.each([NaN, Infinity, -Infinity])('takes %d', async (special) => {
    const x = sample(300, [-1, 1]);
    x[200] = special;
    const [a, b] = (['reference', 'gpu'] as const).map((device) =>
      applyReduce(row, tensor(x, { device }), undefined, false),
    );
    expectClose(await b.data(), await a.data());
  });
});

describe.each(
  table.general.filter((row) => row.examples.length > 0).map((row) => [row.name, row] as const),
)('%s', (_, row) => {
  onGpu.each(row.examples.map((e, i) => [JSON.stringify(e.shapes), JSON.stringify(e.attributes), i] as const))(
    '%s %s equals the reference',
    (_s, _a, i) => {
      const { shapes, attributes, values = {} } = row.examples[i];
      return compare(
        (device) =>
          shapes.map((shape, j) =>
            values[j] ? tensor([...values[j]], { shape, device }) : sampleTensor(shape, [-2, 2], j + 1, device, true),
          ),
        (...inputs) => applyGeneral(row, inputs, attributes),
        1e-5,
        2e-5,
      );
    },
  );
});

describe('matmul', () => {
  onGpu.each([
    [33, 17, 65],
    [64, 64, 64],
    [63, 65, 1],
    [1, 513, 130],
    [127, 1, 31],
    [128, 512, 96],
  ])('equals the reference for [%d, %d] [%d]', async (m, k, n) => {
    for (const [ta, tb] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ]) {
      const make = (device: Device) => [
        sampleTensor(ta ? [k, m] : [m, k], [-1, 1], 1, device, true),
        sampleTensor(tb ? [n, k] : [k, n], [-1, 1], 2, device, true),
      ];
      await compare(make, (a, b) => (ta ? a.t() : a).matmul(tb ? b.t() : b), 1e-5, 1e-4);
    }
  });
});

describe('softmax', () => {
  onGpu('keeps what is special in its own row', async () => {
    const rows = [
      [1, 2, 3],
      [NaN, 1, 2],
      [Infinity, 1, 2],
      [-Infinity, 1, 2],
      [100, -100, 0],
    ];
    const [a, b] = (['reference', 'gpu'] as const).map((device) => noGrad(() => tensor(rows, { device }).softmax(1)));
    expectClose(await b.data(), await a.data());
  });
});
