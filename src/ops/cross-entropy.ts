import { Layout } from '../layout.js';
import { temporary } from '../lifetime.js';
import { Tensor } from '../tensor.js';
import { dispatch, generalRow, unrecorded } from './dispatch.js';
import { fusedRow } from './fused.js';
import { gather, scatter } from './indexing.js';
import type { NamedGeneral } from './row.js';

/** The work of a kernel with one exponential for each element of [rows, cols]. */
const softmaxWork = {
  flops: ([rows, cols]: readonly number[]) => 5 * rows * cols,
  cost: ([, cols]: readonly number[]) => 1.2 * cols,
};

/** x[r, index[r]] for x [rows, cols] and index [rows]. */
function picked(x: Tensor, index: Tensor): Tensor {
  return dispatch(gather, [x, index.reshape([-1, 1])], { dim: 1, length: x.dims[1] }).reshape([-1]);
}

/** A matrix [rows, cols] with 1 at [r, index[r]] and 0 elsewhere. */
function hits(index: Tensor, cols: number): Tensor {
  const column = index.reshape([-1, 1]);
  return dispatch(scatter, [ones(column), column], { dim: 1, length: cols });
}

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
