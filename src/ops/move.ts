import type { Backend, Device } from '../backends/backend.js';
import { Layout, rowMajorCopy } from '../layout.js';
import { Tensor } from '../tensor.js';
import { dispatch, generalRow } from './dispatch.js';
import type { NamedGeneral } from './row.js';

export interface MoveMethods {
  /** A copy of its own, through which gradients flow. Same shape. */
  clone(): Tensor;
  /** The same numbers on another device; this tensor itself if it is there already. Gradients flow back. @throws TapegradError if the device cannot be used */
  to(device: Device): Tensor;
}

export const clone: NamedGeneral<null> = /* @__PURE__ */ generalRow('clone', {
  forward: ([x]) => new Tensor(Layout.rowMajor(x.dims), rowMajorCopy(x.storage, x.layout)),
  saves: 'nothing',
  grad: (g) => [g],
});

/** The attributes: from where, to where. */
export const move: NamedGeneral<readonly [Backend, Backend]> = /* @__PURE__ */ generalRow('to', {
  forward: ([x], [, to]) => {
    return new Tensor(Layout.rowMajor(x.dims), to.upload(x.peek() ?? x.hostValues('to')));
  },
  saves: 'nothing',
  grad: (g, _, [from, to]) => [dispatch(move, [g], [to, from])],
});

export function applyClone(x: Tensor): Tensor {
  return dispatch(clone, [x], null);
}

export function applyTo(x: Tensor, to: Backend): Tensor {
  return x.backend === to ? x : dispatch(move, [x], [x.backend, to]);
}
