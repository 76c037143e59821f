import { denseLike } from '../layout.js';
import { isScalarDim, normalizeDim } from '../shape.js';
import { Tensor } from '../tensor.js';
import { dispatch, generalRow } from './dispatch.js';
import { dense } from './operand.js';
import type { NamedGeneral } from './row.js';
import { applyTranspose } from './view.js';

/** Softmax and its logarithm. */
export interface SoftmaxMethods {
  /**
   * y = e^x / Σ e^x along `dim`, computed from x - max x, so that it does not overflow. Gradient (g - Σ g y) y. As torch.softmax.
   * @param dim the dimension; a negative one counts from the end
   * @returns a tensor of the same shape whose elements sum to 1 along `dim`
   * @throws TapegradError for a dimension that does not exist
   */
  softmax(dim: number): Tensor;
  /**
   * y = log softmax(x) along `dim`, more accurate than the two steps. Gradient g - e^y Σ g. As torch.log_softmax.
   * @param dim the dimension; a negative one counts from the end
   * @returns a tensor of the same shape
   * @throws TapegradError for a dimension that does not exist
   */
  logSoftmax(dim: number): Tensor;
}

function overLast(x: Tensor, log: boolean): Tensor {
  const cols = x.ndim === 0 ? 1 : x.dims[x.ndim - 1];
  const { backend } = x;
  const storage = x.size === 0 ? backend.fill(0, 0) : backend.softmax(dense(x), x.size / cols, cols, log);
  return new Tensor(denseLike(x.layout), storage);
}

/** Over the last dimension. */
export const softmax: NamedGeneral<null> = /* @__PURE__ */ generalRow('softmax', {
  forward: ([x]) => overLast(x, false),
  saves: 'output',
  grad: (g, node) => {
    const y = node.output;
    return [g.sub(g.mul(y).sum(-1, true)).mul(y)];
  },
  equals: ([x]) => {
    const e = x.sub(x.detach().max(-1, true)).exp();
    return e.div(e.sum(-1, true));
  },
});

/** Over the last dimension. */
export const logSoftmax: NamedGeneral<null> = /* @__PURE__ */ generalRow('logSoftmax', {
  forward: ([x]) => overLast(x, true),
  saves: 'output',
  grad: (g, node) => [g.sub(node.output.exp().mul(g.sum(-1, true)))],
  equals: ([x]) => {
    const z = x.sub(x.detach().max(-1, true));
    return z.sub(z.exp().sum(-1, true).log());
  },
});

export function applySoftmax(row: typeof softmax, x: Tensor, dim: number): Tensor {
  const d = isScalarDim(dim, x.ndim) ? -1 : normalizeDim(row.name, dim, x.ndim, x.dims);
  if (d === x.ndim - 1) return dispatch(row, [x], null);
  return applyTranspose(row.name, dispatch(row, [applyTranspose(row.name, x, d, -1)], null), d, -1);
}
