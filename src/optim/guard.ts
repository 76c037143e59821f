import { noGrad } from '../autograd/mode.js';
import type { Tensor } from '../methods.js';

/** 0 if every number is finite, else NaN: a scalar that is computed on the tensors' device, without the host. */
export function finiteGuard(values: readonly Tensor[]): Tensor {
  // 0 times a finite number is 0, and times anything else NaN.
  return noGrad(() => values.map((x) => x.detach().mul(0).sum()).reduce((a, b) => a.add(b)));
}
