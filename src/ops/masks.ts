import { functions as library } from '../backends/cpu/generated/functions.js';
import { describe, fail } from '../errors.js';
import { Layout } from '../layout.js';
import { broadcastShapes, SCALAR, sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';
import { checkTensors, dispatch, generalRow, unrecorded } from './dispatch.js';
import { reluGrad } from './elementwise.js';
import { applyBinary, binaryRows } from './families.js';
import { fusedRow } from './fused.js';
import type { BinaryRow, NamedGeneral } from './row.js';
import { broadcastTo, sumTo } from './view.js';

// Choices between numbers, element by element. What is not chosen must not matter, also where it is NaN or infinite: so
// nothing is multiplied by a mask.

/** Masks, and what is made with them. Masks are tensors of 0 and 1; every number but 0 counts as 1, NaN too. */
export interface MaskMethods {
  /**
   * `value` where the mask is not 0, else x, element by element. The gradient is 0 where the mask is not 0. As
   * torch.masked_fill.
   * @param mask a tensor whose shape broadcasts with the shape of this one
   * @param value a number, or a tensor with one element and no dimensions
   * @returns a tensor of the broadcast shape
   * @throws TapegradError for shapes that do not broadcast, for another value, and for tensors on different devices
   * @example
   * const scores = tensor([1, 2, 3]);
   * scores.maskedFill(scores.gt(2), -Infinity).toArraySync(); // [1, 2, -Infinity]
   */
  maskedFill(mask: Tensor, value: Tensor | number): Tensor;
  /**
   * min(max(x, lower), upper), element by element. The derivative is 1 where lower <= x <= upper, also at the bounds, else 0; a
   * bound that is a tensor gets the gradient where it is the result. As torch.clamp.
   * @param min the lower bound: a number, or a tensor whose shape broadcasts; absent for none
   * @param max the upper bound, likewise; it wins where it is less than the lower one
   * @returns a tensor of the broadcast shape; NaN where x or a bound is NaN
   * @throws TapegradError without any bound, for shapes that do not broadcast, and for tensors on different devices
   * @example
   * tensor([-2, 0.5, 7]).clamp(0, 1).toArraySync(); // [0, 0.5, 1]
   */
  clamp(min?: Tensor | number | null, max?: Tensor | number | null): Tensor;
  /**
   * 1 where neither a nor b is 0, else 0, element by element. As torch.logical_and.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape, without a gradient
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  logicalAnd(other: Tensor | number): Tensor;
  /**
   * 1 where a or b is not 0, else 0, element by element. As torch.logical_or.
   * @param other b: a tensor whose shape broadcasts with the shape of this one, or a number
   * @returns a tensor of the broadcast shape, without a gradient
   * @throws TapegradError for shapes that do not broadcast, and for tensors on different devices
   */
  logicalOr(other: Tensor | number): Tensor;
  /**
   * 1 where x is 0, else 0, element by element. As torch.logical_not.
   * @returns a tensor of the same shape, without a gradient
   */
  logicalNot(): Tensor;
  /**
   * 1 where x is NaN, else 0, element by element. As torch.isnan.
   * @returns a tensor of the same shape, without a gradient
   */
  isNan(): Tensor;
  /**
   * 0 where x is NaN or infinite, else 1, element by element. As torch.isfinite.
   * @returns a tensor of the same shape, without a gradient
   */
  isFinite(): Tensor;
}

/** A part of where. */
export const choices = /* @__PURE__ */ binaryRows({
  /** a where the constant b is not 0, else -0, which changes no number that it is added to. */
  keep: {
    f: (a, b) => (b === 0 ? -0 : a),
    gpu: 'b === 0 ? -0 : a',
    saves: 'inputs',
    gradA: (g, _, b) => reluGrad(g, b.ne(0)),
    gradB: (_, __, b) => b.detach().mul(0),
  },
} satisfies Record<string, BinaryRow>);

/** a where the condition is not 0, else b; each operand has all elements, or one for all. */
export const choose: NamedGeneral<null> = /* @__PURE__ */ fusedRow('where', {
  library,
  shape: (inputs) => inputs.reduce<readonly number[]>((s, x) => broadcastShapes('where', s, x.dims), SCALAR),
  bounds: (inputs) => {
    const size = Math.max(...inputs.map((x) => x.size));
    return [size, ...inputs.map((x) => (x.size === 1 ? 0 : 1))];
  },
  numbers: () => [],
  steps: ([, c, a, b]) => [c, a, b, 1],
  flops: ([n]) => n,
  cost: () => 0.4,
  saves: 'inputs',
  grad: (g, node) => {
    const c = node.input(0);
    return [
      null,
      node.needs(1) ? sumTo(reluGrad(g, c.ne(0)), node.shapes[1]) : null,
      node.needs(2) ? sumTo(reluGrad(g, c.eq(0)), node.shapes[2]) : null,
    ];
  },
  equals: ([c, a, b]) => applyBinary(choices.keep, a, c).add(applyBinary(choices.keep, b, c.eq(0))),
});

/** min(max(x, lower), upper). The attributes say which bounds there are; infinities stand for the others. */
export const clamp: NamedGeneral<readonly [lower: boolean, upper: boolean]> = /* @__PURE__ */ generalRow('clamp', {
  forward: ([x, min, max], [lower, upper]) =>
    unrecorded(() => {
      const low = lower ? x.maximum(min) : x;
      return upper ? low.minimum(max) : low;
    }),
  saves: 'inputs',
  grad: (g, node) => {
    const [x, min, max] = [0, 1, 2].map((i) => node.input(i));
    const through = (i: number, mask: () => Tensor) =>
      node.needs(i) ? sumTo(reluGrad(g, mask()), node.shapes[i]) : null;
    return [
      through(0, () => x.ge(min).mul(x.le(max))),
      through(1, () => x.lt(min).mul(min.lt(max))),
      through(2, () => x.gt(max).maximum(max.lt(min))),
    ];
  },
});

/**
 * a where the condition is not 0, else b, element by element. A number that is not chosen has no influence, on gradients neither.
 * As [torch.where](https://docs.pytorch.org/docs/stable/generated/torch.where.html).
 *
 * @param condition a mask of 0 and 1; every number but 0 counts as 1, NaN too. It gets no gradient.
 * @param a a tensor, or a number
 * @param b a tensor, or a number
 * @returns a tensor of the shape to which the three broadcast
 * @throws TapegradError for shapes that do not broadcast, for what is no tensor, and for tensors on different devices
 * @example
 * ```ts
 * import { tensor, where } from 'tapegrad';
 *
 * const x = tensor([4, -1, 9]);
 * console.log(where(x.gt(0), x.sqrt(), 0).toArraySync()); // [2, 0, 3]
 * ```
 */
export function where(condition: Tensor, a: Tensor | number, b: Tensor | number): Tensor {
  return applyWhere('where', condition, a, b);
}

function applyWhere(op: string, condition: Tensor, a: Tensor | number, b: Tensor | number): Tensor {
  checkTensors(op, [condition]);
  const operands = [condition, operand(condition, a), operand(condition, b)];
  checkTensors(op, operands);
  const shape = operands.reduce<readonly number[]>((s, x) => broadcastShapes(op, s, x.dims), SCALAR);
  const size = sizeOf(shape);
  const full = (x: Tensor) => (x.size === size || x.size === 1 ? x : broadcastTo(x, shape));
  return dispatch(choose, operands.map(full), null);
}

/** A tensor of the number on the same device. */
function operand(like: Tensor, value: Tensor | number): Tensor {
  return typeof value === 'number' ? new Tensor(Layout.rowMajor(SCALAR), like.backend.fill(1, value)) : value;
}

export function applyMaskedFill(x: Tensor, mask: Tensor, value: Tensor | number): Tensor {
  if (typeof value !== 'number' && !(value instanceof Tensor && value.ndim === 0))
    fail('maskedFill', `the value is ${describe(value)}`, 'pass a number, or a tensor of shape []');
  return applyWhere('maskedFill', mask, value, x);
}

export function applyClamp(x: Tensor, min: Tensor | number | null = null, max: Tensor | number | null = null): Tensor {
  if (min === null && max === null) fail('clamp', 'there is neither min nor max', 'pass one of them, or both');
  return dispatch(clamp, [x, operand(x, min ?? -Infinity), operand(x, max ?? Infinity)], [min !== null, max !== null]);
}

/** Methods that are made of others. */
export const maskMethods = {
  maskedFill(this: Tensor, mask: Tensor, value: Tensor | number) {
    return applyMaskedFill(this, mask, value);
  },
  clamp(this: Tensor, min?: Tensor | number | null, max?: Tensor | number | null) {
    return applyClamp(this, min, max);
  },
  logicalAnd(this: Tensor, other: Tensor | number) {
    return this.ne(0).mul(truth('logicalAnd', this, other));
  },
  logicalOr(this: Tensor, other: Tensor | number) {
    return this.ne(0).maximum(truth('logicalOr', this, other));
  },
  logicalNot(this: Tensor) {
    return this.eq(0);
  },
  isNan(this: Tensor) {
    return this.ne(this);
  },
  isFinite(this: Tensor) {
    return this.abs().lt(Infinity);
  },
};

/** 1 where the operand is not 0. */
function truth(op: string, x: Tensor, other: Tensor | number): Tensor | number {
  if (typeof other === 'number') return other === 0 ? 0 : 1;
  checkTensors(op, [x, other]);
  return other.ne(0);
}
