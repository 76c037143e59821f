import type { Backend, Device } from '../backends/backend.js';
import { Layout, rowMajorCopy } from '../layout.js';
import { Tensor } from '../tensor.js';
import { dispatch, generalRow } from './dispatch.js';
import type { NamedGeneral } from './row.js';

/** Copies, also to other devices. */
export interface MoveMethods {
  /**
   * A copy. Derivative 1. As torch.clone.
   * @returns a tensor of the same shape with a storage of its own
   */
  clone(): Tensor;
  /**
   * A copy on another device. Derivative 1: the gradient is copied back. As torch.Tensor.to.
   * @param device 'cpu', 'gpu' or 'reference'
   * @returns a tensor of the same shape on that device; this tensor itself if it is there already
   * @throws TapegradError if the device is not available, or if the host cannot read the numbers without waiting
   */
  to(device: Device): Tensor;
}

export const clone: NamedGeneral<null> = /* @__PURE__ */ generalRow('clone', {
  forward: ([x]) => new Tensor(Layout.rowMajor(x.dims), rowMajorCopy(x.storage, x.layout)),
  saves: 'nothing',
  grad: (g) => [g],
});

/** The attributes: the backend of x, and that of the result. */
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
