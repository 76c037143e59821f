import { Layout } from '../layout.js';
import { temporary } from '../lifetime.js';
import { SCALAR } from '../shape.js';
import { Tensor } from '../tensor.js';
import { dispatch, generalRow, unrecorded } from './dispatch.js';
import { binaryRows } from './families.js';
import { fusedRow } from './fused.js';
import { gather, scatter } from './indexing.js';
import type { BinaryRow, NamedGeneral } from './row.js';

/** Nanoseconds for an element of a kernel that is limited by memory bandwidth. */
const CHEAP = 0.3;

/** The work of a kernel with one exponential for each element of [rows, cols]. */
const softmaxWork = {
  flops: ([rows, cols]: readonly number[]) => 5 * rows * cols,
  cost: ([, cols]: readonly number[]) => 1.2 * cols,
};

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
  },
  /** -(b ln a + (1 - b) ln(1 - a)) for a probability a, with logarithms of at least -100. */
  binaryCrossEntropy: {
    f: (a, b) => -(b * floored(Math.log(a)) + (1 - b) * floored(Math.log1p(-a))),
    gpu: '-(b * (logOf(a) < -100 ? -100 : logOf(a)) + (1 - b) * (log1pOf(-a) < -100 ? -100 : log1pOf(-a)))',
    saves: 'inputs',
    gradA: (g, a, b) => g.mul(a.sub(b)).div(a.mul(a.neg().add(1)).maximum(DENOMINATOR_FLOOR)),
    gradB: (g, a) => g.mul(a.neg().add(1).log().maximum(LOG_FLOOR).sub(a.log().maximum(LOG_FLOOR))),
  },
  /** The same for a logit a, without the loss of precision of sigmoid and logarithm. */
  binaryCrossEntropyWithLogits: {
    f: (a, b) => Math.max(a, 0) - a * b + Math.log1p(Math.exp(-Math.abs(a))),
    gpu: '(a < 0 ? 0 : a) - a * b + log1pOf(expOf(-Math.abs(a)))',
    saves: 'inputs',
    gradA: (g, a, b) => g.mul(a.sigmoid().sub(b)),
    gradB: (g, a) => g.mul(a).neg(),
  },
} satisfies Record<string, BinaryRow>);

const floored = (log: number): number => Math.max(log, LOG_FLOOR);

/** x[r, index[r]] for x [rows, cols] and index [rows]. */
function picked(x: Tensor, index: Tensor): Tensor {
  return dispatch(gather, [x, index.reshape([-1, 1])], { dim: 1, length: x.dims[1] }).reshape([-1]);
}

/** A matrix [rows, cols] with 1 at [r, index[r]] and 0 elsewhere. */
function hits(index: Tensor, cols: number): Tensor {
  const column = index.reshape([-1, 1]);
  return dispatch(scatter, [ones(column), column], { dim: 1, length: cols });
}

/** scale Σ (a - b)² for two tensors of one shape; the attribute is the scale. */
export const squaredError: NamedGeneral<number> = /* @__PURE__ */ fusedRow('squaredError', {
  shape: () => SCALAR,
  bounds: ([a]) => [a.size],
  numbers: (scale) => [scale],
  steps: () => null,
  flops: ([n]) => 3 * n,
  cost: () => CHEAP,
  saves: 'inputs',
  grad: (g, node, scale) => {
    const [a, b] = [node.input(0), node.input(1)];
    const gradient = (x: Tensor, y: Tensor) => dispatch(squaredErrorGrad, [x, y, g], scale);
    return [node.needs(0) ? gradient(a, b) : null, node.needs(1) ? gradient(b, a) : null];
  },
  equals: ([a, b], scale) => a.sub(b).pow(2).sum().mul(scale),
});

/** 2 scale g (a - b) for a scalar g. */
export const squaredErrorGrad: NamedGeneral<number> = /* @__PURE__ */ fusedRow('squaredErrorGrad', {
  shape: ([a]) => a.dims,
  bounds: ([a]) => [a.size],
  numbers: (scale) => [scale],
  steps: () => null,
  flops: ([n]) => 2 * n,
  cost: () => CHEAP,
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
});

/** -log softmax(x)[r, index[r]] for every row of x [rows, cols]; index [rows]. */
export const crossEntropy: NamedGeneral<null> = /* @__PURE__ */ fusedRow('crossEntropy', {
  shape: ([x]) => [x.dims[0]],
  bounds: ([x]) => x.dims,
  numbers: () => [],
  steps: ([, cols]) => [cols, 1, 1],
  ...softmaxWork,
  saves: 'inputs',
  grad: (g, node) => {
    const [x, index] = [node.input(0), node.input(1)];
    const slope = x.softmax(1).sub(hits(index, x.dims[1]));
    return [slope.mul(g.reshape([-1, 1])), null];
  },
  // Adding 0 turns -0 into 0.
  equals: ([x, index]) => picked(x.logSoftmax(1), index).neg().add(0),
});

/** The reduction of the losses of the rows. */
type Reduction = 'mean' | 'sum';

/** The same losses, reduced to a scalar. */
export const crossEntropyTotal: NamedGeneral<Reduction> = /* @__PURE__ */ generalRow('crossEntropyTotal', {
  forward: (inputs, reduction) =>
    unrecorded(() => {
      const losses = dispatch(crossEntropy, inputs, null);
      temporary(losses.storage);
      return losses[reduction]();
    }),
  saves: 'inputs',
  grad: (g, node, reduction) => {
    const scale = reduction === 'mean' ? 1 / node.shapes[0][0] : 1;
    return [dispatch(crossEntropyGrad, [node.input(0), node.input(1), g], scale), null];
  },
  equals: ([x, index], reduction) => picked(x.logSoftmax(1), index)[reduction]().neg(),
});

/** scale g (softmax(x) - onehot(index)) for a scalar g. */
export const crossEntropyGrad: NamedGeneral<number> = /* @__PURE__ */ fusedRow('crossEntropyGrad', {
  shape: ([x]) => x.dims,
  bounds: ([x]) => x.dims,
  numbers: (scale) => [scale],
  steps: ([, cols]) => [cols, 1, 0, cols],
  ...softmaxWork,
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
    const slope = () => gg.mul(p.sub(hits(index, x.dims[1]))).sum();
    return [node.needs(0) ? through() : null, null, node.needs(2) ? slope().mul(scale) : null];
  },
  equals: ([x, index, g], scale) => {
    return x.softmax(1).sub(hits(index, x.dims[1])).mul(g).mul(scale);
  },
});

function ones(like: Tensor): Tensor {
  return new Tensor(Layout.rowMajor(like.dims), like.backend.fill(like.size, 1));
}
