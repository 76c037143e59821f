import { type BackwardOptions, backward } from './autograd/backward.js';
import type { Device } from './backends/backend.js';
import { backendOf } from './backends/registry.js';
import { describe, fail } from './errors.js';
import { applyBinary, applyReduce, applyUnary, type KeepdimOptions } from './ops/apply.js';
import {
  type BinaryMethods,
  binary,
  type CompareMethods,
  compare,
  type UnaryMethods,
  unary,
} from './ops/elementwise.js';
import { applyMatmul, type MatmulMethods } from './ops/matmul.js';
import { applyClone, applyTo, type MoveMethods } from './ops/move.js';
import { checkOneDim, type ReduceMethods, reduce } from './ops/reduce.js';
import { applyReshape, applyTranspose, type ShapeMethods } from './ops/shape.js';
import { applySoftmax, logSoftmax, type SoftmaxMethods, softmax } from './ops/softmax.js';
import { Tensor } from './tensor.js';

export interface AutogradMethods {
  /**
   * Computes the gradient of this tensor with respect to every leaf it was made from, and adds it to their `grad`. As
   * torch.Tensor.backward.
   * @param gradient the gradient of the loss with respect to this tensor, of its shape; 1 for a tensor with one element
   * @throws TapegradError without a gradient to compute, a gradient for several elements, or values that are gone or changed
   */
  backward(gradient?: Tensor, options?: BackwardOptions): void;
}

declare module './tensor.js' {
  interface Tensor
    extends UnaryMethods,
      BinaryMethods,
      CompareMethods,
      ReduceMethods,
      MatmulMethods,
      ShapeMethods,
      SoftmaxMethods,
      MoveMethods,
      AutogradMethods {}
}

function install(methods: Record<string, (this: Tensor, ...args: never[]) => unknown>): void {
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(Tensor.prototype, name, { value, writable: true, configurable: true });
  }
}

for (const [name, row] of Object.entries(unary)) {
  install({
    [name]() {
      return applyUnary(row, this);
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
      fail('t', `a tensor of shape ${describe(this.shape)} is no matrix`, 'use transpose(d0, d1)', {
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
  clone() {
    return applyClone(this);
  },
  to(device: Device) {
    return applyTo(this, backendOf(device));
  },
  backward(gradient?: Tensor, options?: BackwardOptions) {
    backward(this, gradient, options);
  },
});

export { Tensor };
