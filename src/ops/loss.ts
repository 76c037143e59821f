import { SCALAR } from '../shape.js';
import { Tensor } from '../tensor.js';
import { binaryRows } from './apply.js';
import { applyGeneral, generalRow } from './record.js';
import { reduce } from './reduce.js';
import type { BinaryRow, NamedGeneral } from './row.js';

/** PyTorch's bound for the logarithms of BCELoss and for the denominator of its gradient. */
const LOG_FLOOR = -100;
const DENOMINATOR_FLOOR = 1e-12;

/** Element-wise parts of the losses; `a` is the prediction, `b` the target. */
export const losses = /* @__PURE__ */ binaryRows({
  squaredDifference: {
    f: (a, b) => (a - b) * (a - b),
    gpu: '(a - b) * (a - b)',
    saves: 'inputs',
    gradA: (g, a, b) => g.mul(a.sub(b)).mul(2),
    gradB: (g, a, b) => g.mul(b.sub(a)).mul(2),
    domainA: [-5, 5],
    domainB: [-5, 5],
    edges: [0, -0, 1, Infinity, NaN],
  },
  /** -(b ln a + (1 - b) ln(1 - a)) for a probability a, the logarithms kept above -100. */
  binaryCrossEntropy: {
    f: (a, b) => -(b * floored(Math.log(a)) + (1 - b) * floored(Math.log1p(-a))),
    gpu: '-(b * (logOf(a) < -100 ? -100 : logOf(a)) + (1 - b) * (log1pOf(-a) < -100 ? -100 : log1pOf(-a)))',
    saves: 'inputs',
    gradA: (g, a, b) => g.mul(a.sub(b)).div(a.mul(a.neg().add(1)).maximum(DENOMINATOR_FLOOR)),
    gradB: (g, a) => g.mul(a.neg().add(1).log().maximum(LOG_FLOOR).sub(a.log().maximum(LOG_FLOOR))),
    domainA: [0.05, 0.95],
    domainB: [0.05, 0.95],
    edges: [0, 1, 0.5],
  },
  /** The same for a logit a, without the detour that would lose its digits. */
  binaryCrossEntropyWithLogits: {
    f: (a, b) => Math.max(a, 0) - a * b + Math.log1p(Math.exp(-Math.abs(a))),
    gpu: '(a < 0 ? 0 : a) - a * b + log1pOf(expOf(-Math.abs(a)))',
    saves: 'inputs',
    gradA: (g, a, b) => g.mul(a.sigmoid().sub(b)),
    gradB: (g, a) => g.mul(a).neg(),
    domainA: [-5, 5],
    domainB: [0, 1],
    edges: [0, -0, 1, 100, -100],
  },
} satisfies Record<string, BinaryRow>);

const floored = (log: number): number => Math.max(log, LOG_FLOOR);

/** out[r] = x[r, index[r]] for x [rows, cols]; attributes: none. */
export const pick: NamedGeneral<null> = /* @__PURE__ */ generalRow('pick', {
  forward: ([x, index]) => {
    const [rows, cols] = x.dims;
    return new Tensor([rows], x.backend.pick(x.storage, index.storage, rows, cols));
  },
  saves: 'inputs',
  grad: (g, node) => [applyGeneral(place, [g, node.input(1)], node.shapes[0][1]), null],
  examples: [{ shapes: [[4, 3], [4]], attributes: null, values: { 1: [2, 0, 1, 1] } }],
});

/** out[r, index[r]] = x[r], 0 elsewhere; the attribute is the number of columns. */
export const place: NamedGeneral<number> = /* @__PURE__ */ generalRow('place', {
  forward: ([x, index], cols) => new Tensor([x.size, cols], x.backend.place(x.storage, index.storage, x.size, cols)),
  saves: 'inputs',
  grad: (g, node) => [applyGeneral(pick, [g, node.input(1)], null), null],
  examples: [{ shapes: [[4], [4]], attributes: 3, values: { 1: [2, 0, 1, 1] } }],
});

/** scale Σ (a - b)² for two tensors of one shape; the attribute is the scale. */
export const squaredError: NamedGeneral<number> = /* @__PURE__ */ generalRow('squaredError', {
  forward: ([a, b], scale) => new Tensor(SCALAR, a.backend.squaredError(a.storage, b.storage, scale)),
  saves: 'inputs',
  grad: (g, node, scale) => {
    const [a, b] = [node.input(0), node.input(1)];
    const gradient = (x: Tensor, y: Tensor) => applyGeneral(squaredErrorGrad, [x, y, g], scale);
    return [node.needs(0) ? gradient(a, b) : null, node.needs(1) ? gradient(b, a) : null];
  },
  equals: ([a, b], scale) => a.sub(b).pow(2).sum().mul(scale),
  examples: [
    { shapes: [[3, 7], [3, 7]], attributes: 0.5 }, // biome-ignore format: one line
    { shapes: [[300], [300]], attributes: 1 / 300 }, // biome-ignore format: one line
  ],
});

/** 2 scale g (a - b) for a scalar g. */
export const squaredErrorGrad: NamedGeneral<number> = /* @__PURE__ */ generalRow('squaredErrorGrad', {
  forward: ([a, b, g], scale) => new Tensor(a.dims, a.backend.squaredErrorGrad(a.storage, b.storage, g.storage, scale)),
  saves: 'inputs',
  grad: (gg, node, scale) => {
    const [a, b, g] = [node.input(0), node.input(1), node.input(2)];
    const slope = () => gg.mul(g).mul(2 * scale);
    return [
      node.needs(0) ? slope() : null,
      node.needs(1) ? slope().neg() : null,
      node.needs(2)
        ? gg
            .mul(a.sub(b))
            .sum()
            .mul(2 * scale)
        : null,
    ];
  },
  equals: ([a, b, g], scale) =>
    a
      .sub(b)
      .mul(g)
      .mul(2 * scale),
  examples: [{ shapes: [[3, 7], [3, 7], []], attributes: 0.5 }],
});

const someLabels = { 1: [2, 0, 1, 1] };

/** -log softmax(x)[r, index[r]] for every row of x [rows, cols]; index [rows]. */
export const crossEntropy: NamedGeneral<null> = /* @__PURE__ */ generalRow('crossEntropy', {
  forward: ([x, index]) => {
    const [rows, cols] = x.dims;
    return new Tensor([rows], x.backend.crossEntropy(x.storage, index.storage, rows, cols));
  },
  saves: 'inputs',
  grad: (g, node) => {
    const [x, index] = [node.input(0), node.input(1)];
    const slope = x.softmax(1).sub(applyGeneral(place, [ones(index), index], x.dims[1]));
    return [slope.mul(g.reshape([-1, 1])), null];
  },
  equals: ([x, index]) => applyGeneral(pick, [x.logSoftmax(1), index], null).neg(),
  examples: [{ shapes: [[4, 3], [4]], attributes: null, values: someLabels }],
});

/** What becomes of the rows' losses. */
type Fold = 'mean' | 'sum';

/** The same losses as one number. */
export const crossEntropyTotal: NamedGeneral<Fold> = /* @__PURE__ */ generalRow('crossEntropyTotal', {
  forward: ([x, index], fold) => {
    const [rows, cols] = x.dims;
    const { backend } = x;
    const losses = backend.crossEntropy(x.storage, index.storage, rows, cols);
    const total = backend.reduce(reduce[fold], losses, 1, rows, 1);
    backend.free(losses);
    return new Tensor(SCALAR, total);
  },
  saves: 'inputs',
  grad: (g, node, fold) => {
    const scale = fold === 'mean' ? 1 / node.shapes[0][0] : 1;
    return [applyGeneral(crossEntropyGrad, [node.input(0), node.input(1), g], scale), null];
  },
  equals: ([x, index], fold) =>
    applyGeneral(pick, [x.logSoftmax(1), index], null)
      [fold]()
      .neg(),
  examples: [
    { shapes: [[4, 3], [4]], attributes: 'sum', values: someLabels },
    { shapes: [[4, 3], [4]], attributes: 'mean', values: someLabels },
  ],
});

/** scale g (softmax(x) - onehot(index)) for a scalar g. */
export const crossEntropyGrad: NamedGeneral<number> = /* @__PURE__ */ generalRow('crossEntropyGrad', {
  forward: ([x, index, g], scale) => {
    const [rows, cols] = x.dims;
    return new Tensor(x.dims, x.backend.crossEntropyGrad(x.storage, index.storage, g.storage, rows, cols, scale));
  },
  saves: 'inputs',
  grad: (gg, node, scale) => {
    const [x, index, g] = [node.input(0), node.input(1), node.input(2)];
    const p = x.softmax(1);
    const through = () =>
      gg
        .mul(p)
        .sub(p.mul(gg.mul(p).sum(1, true)))
        .mul(g)
        .mul(scale);
    const hits = () => applyGeneral(place, [ones(index), index], x.dims[1]);
    return [node.needs(0) ? through() : null, null, node.needs(2) ? gg.mul(p.sub(hits())).sum().mul(scale) : null];
  },
  equals: ([x, index, g], scale) => {
    const hits = applyGeneral(place, [ones(index), index], x.dims[1]);
    return x.softmax(1).sub(hits).mul(g).mul(scale);
  },
  examples: [{ shapes: [[4, 3], [4], []], attributes: 0.25, values: someLabels }],
});

function ones(like: Tensor): Tensor {
  return new Tensor(like.dims, like.backend.fill(like.size, 1));
}
