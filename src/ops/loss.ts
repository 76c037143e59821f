import { Tensor } from '../tensor.js';
import { binaryRows } from './apply.js';
import { applyGeneral, generalRow } from './record.js';
import type { BinaryRow, NamedGeneral } from './row.js';

/** PyTorch's bound for the logarithms of BCELoss and for the denominator of its gradient. */
const LOG_FLOOR = -100;
const DENOMINATOR_FLOOR = 1e-12;

/** Element-wise parts of the losses; `a` is the prediction, `b` the target. */
export const losses = /* @__PURE__ */ binaryRows({
  squaredDifference: {
    f: (a, b) => (a - b) * (a - b),
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
    const [rows, cols] = x.shape;
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
