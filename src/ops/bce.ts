import { binaryRows } from './families.js';
import type { BinaryRow } from './row.js';

/** PyTorch's bound for the logarithms of BCELoss and for the denominator of its gradient. */
const LOG_FLOOR = -100;
const DENOMINATOR_FLOOR = 1e-12;

/** The element-wise parts of the binary cross-entropies; `a` is the prediction, `b` the target. */
export const binaryCrossEntropies = /* @__PURE__ */ binaryRows({
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
