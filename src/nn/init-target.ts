import { describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';

/** Requires a leaf: changing the result of an operation would invalidate the recorded graph. */
export function checkTarget(op: string, target: unknown): asserts target is Tensor {
  if (!(target instanceof Tensor)) fail(op, `target is ${describe(target)}`, 'pass a tensor, such as layer.weight');
  if (target.node !== null) {
    fail(
      op,
      `the tensor of shape ${show(target.shape)} is the result of ${target.node.rule.name}, not a leaf`,
      'fill a leaf before computing with it; detach().clone() gives one with the same numbers',
      { shapes: [target.shape] },
    );
  }
}
