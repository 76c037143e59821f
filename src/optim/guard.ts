import { describe, fail } from '../errors.js';
import { Layout } from '../layout.js';
import { freeTemporaries, temporaryCount } from '../lifetime.js';
import { Tensor } from '../methods.js';
import { dense } from '../ops/operand.js';
import { SCALAR } from '../shape.js';
import { denseCopy } from '../tensor.js';

/**
 * A scalar that is 0 if every element of every tensor is finite, else NaN. It is computed on the device of the tensors, and
 * the host does not wait for it. It is a constant: no gradient flows through it. `optimizer.step({ guard })` changes nothing
 * unless it is 0; added to a loss it makes the loss NaN.
 *
 * @param values tensors on one device, such as a loss and its gradients
 * @returns a scalar tensor on the device of the values
 * @throws TapegradError for no tensors, and for tensors on several devices
 */
export function finiteGuard(values: readonly Tensor[]): Tensor {
  if (!Array.isArray(values) || values.length === 0) {
    const what = Array.isArray(values) ? 'there are no tensors' : `the argument is ${describe(values)}`;
    fail('finiteGuard', what, 'pass an array of tensors, such as the loss and its gradients');
  }
  const tensors: readonly unknown[] = values;
  const operands = tensors.map((t, i) => {
    if (!(t instanceof Tensor)) fail('finiteGuard', `value ${i} is ${describe(t)}`, 'pass tensors only');
    if (t.backend !== values[0].backend) {
      const where = `value ${i} is on '${t.device}', value 0 on '${values[0].device}'`;
      fail('finiteGuard', where, 'make a guard for each device');
    }
    return t;
  });
  const count = temporaryCount();
  try {
    const { backend } = operands[0];
    const full = operands.filter((t) => t.size > 0).map(dense);
    return new Tensor(Layout.rowMajor(SCALAR), full.length === 0 ? backend.fill(1, 0) : backend.finite(full));
  } finally {
    freeTemporaries(count);
  }
}

/** The value of a guard: 'go' for 0, 'stop' otherwise, or the guard itself if the host cannot read it. @internal */
export function verdictOf(op: string, guard: Tensor): 'go' | 'stop' | Tensor {
  if (!(guard instanceof Tensor) || guard.size !== 1) {
    const what = guard instanceof Tensor ? `of shape [${guard.shape.join(', ')}]` : describe(guard);
    fail(op, `the guard is ${what}`, 'pass a scalar tensor, such as finiteGuard(values)');
  }
  const { backend } = guard;
  if (backend.readSync === undefined) return guard.layout.dense ? guard : denseCopy(guard);
  return guard.peek()![0] === 0 ? 'go' : 'stop';
}
