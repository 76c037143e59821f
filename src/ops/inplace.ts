import { isGradEnabled } from '../autograd/mode.js';
import { describe, fail, show } from '../errors.js';
import { Layout, rowMajorCopy } from '../layout.js';
import { sameShape } from '../shape.js';
import { Tensor } from '../tensor.js';

// Changes in place. A view writes to the storage that it shares, whose version is incremented, so that autograd detects
// that a saved value has changed.

/** Writes the elements of a source of the same shape and device into a tensor, in place. */
export function writeTensor(target: Tensor, source: Tensor): void {
  const { storage, layout } = target;
  if (target.size === 0) return;
  checkDistinct(target);
  // A source that shares the storage must be copied: it would change while it is read.
  const direct = source.layout.dense && source.storage !== storage;
  const from = direct ? source.storage : rowMajorCopy(source.storage, source.layout);
  storage.backend.put(storage, from, layout.shape, layout.strides, layout.offset);
  if (!direct) storage.backend.free(from);
}

/** Writes numbers of the host into a tensor, in place, in row-major order. */
export function writeValues(target: Tensor, values: ArrayLike<number>): void {
  const { backend, storage, layout } = target;
  if (layout.dense) {
    backend.write(storage, values);
    return;
  }
  const source = new Tensor(Layout.rowMajor(target.dims), backend.upload(values));
  writeTensor(target, source);
  backend.free(source.storage);
}

/** Refuses a target whose elements share numbers, such as one that expand made: the last of the values would win. */
function checkDistinct({ layout, dims }: Tensor): void {
  if (!layout.overlaps) return;
  fail(
    'copyFrom',
    `several elements of the target of shape ${show(dims)} share one number in memory`,
    'copy it first: x.contiguous()',
    { shapes: [dims] },
  );
}

/** Overwrites the elements of a tensor in place; see Tensor.copyFrom. */
export function copyFrom(target: Tensor, source: Tensor): Tensor {
  const op = 'copyFrom';
  if (!(source instanceof Tensor)) fail(op, `the source is ${describe(source)}`, 'pass a tensor');
  const shapes = { shapes: [target.dims, source.dims] };
  if (isGradEnabled() && (target.requiresGrad || source.requiresGrad)) {
    const which = target.requiresGrad ? 'target' : 'source';
    const remedy =
      which === 'target'
        ? 'change parameters inside noGrad(() => …)'
        : 'pass source.detach(), or call inside noGrad(() => …)';
    fail(op, `the ${which} requires a gradient, and copyFrom is not differentiable`, remedy, shapes);
  }
  const lead = target.ndim - source.ndim;
  if (lead < 0 || source.dims.some((d, i) => d !== 1 && d !== target.dims[i + lead])) {
    const what = `a source of shape ${show(source.dims)} for a target of shape ${show(target.dims)}`;
    fail(op, what, 'pass a source that broadcasts to the shape of the target', shapes);
  }
  const here = source.backend === target.backend ? source.detach() : source.detach().to(target.device);
  writeTensor(target, sameShape(here.dims, target.dims) ? here : here.expand(target.dims));
  return target;
}
