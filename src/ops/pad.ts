import { Layout } from '../layout.js';
import { sizeOf, stridesOf } from '../shape.js';
import { Tensor } from '../tensor.js';
import { dispatch, generalRow } from './dispatch.js';
import { dense } from './operand.js';
import type { NamedGeneral } from './row.js';
import { narrow } from './view.js';

/** Where a tensor lies in a larger one of a constant. */
export interface Padding {
  /** The position of its first element. */
  readonly start: readonly number[];
  readonly shape: readonly number[];
  readonly value: number;
}

/** x amid a constant. */
export const pad: NamedGeneral<Padding> = /* @__PURE__ */ generalRow('pad', {
  forward: ([x], { start, shape, value }) => {
    const strides = stridesOf(shape);
    const out = x.backend.fill(sizeOf(shape), value);
    const offset = start.reduce((sum, at, i) => sum + at * strides[i], 0);
    if (x.size > 0) x.backend.put(out, dense(x), x.dims, strides, offset);
    return new Tensor(Layout.rowMajor(shape), out);
  },
  saves: 'nothing',
  grad: (g, node, { start }) => {
    const inner = start.reduce((part, at, dim) => {
      const length = node.shapes[0][dim];
      return length === part.dims[dim] ? part : dispatch(narrow, [part], { dim, start: at, length });
    }, g);
    return [inner];
  },
});
