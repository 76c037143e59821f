import { type BackwardOptions, backward } from './autograd/backward.js';
import type { Device } from './backends/backend.js';
import { backendOf } from './backends/registry.js';
import { describe, fail } from './errors.js';
import { type ActivationMethods, activations, applyGelu } from './ops/activations.js';
import {
  type ArrangeMethods,
  applyFlatten,
  applyFlip,
  applyOuter,
  applyRepeat,
  applyRoll,
  applyTril,
  applyTriu,
} from './ops/arrange.js';
import { dispatch } from './ops/dispatch.js';
import {
  type BinaryMethods,
  binary,
  type CompareMethods,
  compare,
  type UnaryMethods,
  unary,
} from './ops/elementwise.js';
import { applyBinary, applyReduce, type KeepdimOptions } from './ops/families.js';
import { type FunctionMethods, functions } from './ops/functions.js';
import { applyGather, applyIndexSelect, applyScatterAdd, type IndexMethods } from './ops/indexing.js';
import { copyFrom } from './ops/inplace.js';
import { type MaskMethods, maskMethods } from './ops/masks.js';
import { applyMatmul, type MatmulMethods } from './ops/matmul.js';
import { applyClone, applyTo, type MoveMethods } from './ops/move.js';
import { type OrderMethods, ordering } from './ops/order.js';
import { checkOneDim, type ReduceMethods, reduce } from './ops/reduce.js';
import { type ScanMethods, scan } from './ops/scan.js';
import { applyChunk, applySlice, applySplit, type SliceMethods } from './ops/slice.js';
import { applySoftmax, logSoftmax, type SoftmaxMethods, softmax } from './ops/softmax.js';
import { type StatisticsMethods, statistics } from './ops/statistics.js';
import {
  applyContiguous,
  applyExpand,
  applyNarrow,
  applyPermute,
  applyReshape,
  applySelect,
  applySqueeze,
  applyTranspose,
  applyUnsqueeze,
  type ShapeMethods,
} from './ops/view.js';
import { Tensor } from './tensor.js';

/** The backward pass. */
export interface AutogradMethods {
  /**
   * Computes the gradient of this tensor with respect to every leaf that it was computed from, and adds it to their `grad`.
   * As torch.Tensor.backward.
   * @param gradient the gradient of the loss with respect to this tensor, of its shape; default 1 for a tensor with one element
   * @param options `retainGraph`: keep the graph for another pass; `createGraph`: record the pass, for second derivatives
   * @throws TapegradError if this tensor does not require a gradient, if it has several elements and `gradient` is missing,
   *   for a gradient of another shape or device, and if saved values were freed by an earlier pass or changed in place
   */
  backward(gradient?: Tensor, options?: BackwardOptions): void;
}

/** Changes in place. */
export interface InPlaceMethods {
  /**
   * Overwrites the elements of this tensor in place, and those of its base if it is a view. As torch.Tensor.copy_. A
   * backward pass that needs the old values throws.
   * @param source a tensor whose shape broadcasts to the shape of this one; may be on another device
   * @returns this tensor
   * @throws TapegradError for a source of another shape, a target whose elements share numbers (expand), and outside
   *   noGrad for a target or a source that requires a gradient
   * @example
   * const cache = zeros([10, 4]);
   * cache.narrow(0, 2, 1).copyFrom(ones([1, 4])); // sets row 2 of the cache
   */
  copyFrom(source: Tensor): this;
}

declare module './tensor.js' {
  interface Tensor
    extends UnaryMethods,
      FunctionMethods,
      ActivationMethods,
      MaskMethods,
      BinaryMethods,
      CompareMethods,
      ReduceMethods,
      StatisticsMethods,
      ScanMethods,
      OrderMethods,
      MatmulMethods,
      ShapeMethods,
      IndexMethods,
      SliceMethods,
      ArrangeMethods,
      SoftmaxMethods,
      MoveMethods,
      InPlaceMethods,
      AutogradMethods {}
}

function install(methods: Record<string, (this: Tensor, ...args: never[]) => unknown>): void {
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(Tensor.prototype, name, { value, writable: true, configurable: true });
  }
}

for (const [name, row] of Object.entries({ ...unary, ...functions, ...activations })) {
  install({
    [name]() {
      return dispatch(row, [this], null);
    },
  });
}
for (const [name, row] of [...Object.entries(binary), ...Object.entries(compare)]) {
  install({
    [name](other: Tensor | number) {
      return applyBinary(row, this, other);
    },
  });
}
for (const [name, row] of Object.entries(reduce)) {
  install({
    [name](dim?: number | readonly number[], keepdim: boolean | KeepdimOptions = false) {
      return applyReduce(row, this, row.result === 'index' ? checkOneDim(name, dim) : dim, keepdim);
    },
  });
}
install(maskMethods);
install(statistics);
install(scan);
install(ordering);
install({ amax: Tensor.prototype.max, amin: Tensor.prototype.min });
// What models call for every batch; a list of arguments takes longer to pass on.
install({
  matmul(other: Tensor) {
    return applyMatmul(this, other);
  },
  reshape(shape: readonly number[]) {
    return applyReshape('reshape', this, shape);
  },
  view(shape: readonly number[]) {
    return applyReshape('view', this, shape);
  },
  transpose(d0: number, d1: number) {
    return applyTranspose('transpose', this, d0, d1);
  },
  t() {
    if (this.ndim !== 2)
      fail('t', `a tensor of shape ${describe(this.shape)} is not a matrix`, 'use transpose(d0, d1)', {
        shapes: [this.shape],
      });
    return applyTranspose('t', this, 0, 1);
  },
  softmax(dim: number) {
    return applySoftmax(softmax, this, dim);
  },
  logSoftmax(dim: number) {
    return applySoftmax(logSoftmax, this, dim);
  },
  to(device: Device) {
    return applyTo(this, backendOf(device));
  },
});

const others = {
  backward,
  copyFrom,
  clone: applyClone,
  contiguous: applyContiguous,
  gelu: applyGelu,
  permute: applyPermute,
  narrow: applyNarrow,
  select: applySelect,
  expand: applyExpand,
  squeeze: applySqueeze,
  unsqueeze: applyUnsqueeze,
  indexSelect: applyIndexSelect,
  gather: applyGather,
  scatterAdd: applyScatterAdd,
  slice: applySlice,
  split: applySplit,
  chunk: applyChunk,
  flatten: applyFlatten,
  repeat: applyRepeat,
  flip: applyFlip,
  roll: applyRoll,
  tril: applyTril,
  triu: applyTriu,
  outer: applyOuter,
} as unknown as Record<string, (x: Tensor, ...args: unknown[]) => unknown>;
for (const [name, apply] of Object.entries(others)) {
  install({
    [name](...args: unknown[]) {
      return apply(this, ...args);
    },
  });
}

export { Tensor };
