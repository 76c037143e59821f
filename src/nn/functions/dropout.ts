import { checkBoolean, checkOptions } from '../../errors.js';
import type { Tensor } from '../../methods.js';
import { checkTensors } from '../../ops/dispatch.js';
import { uniform } from '../../ops/random.js';
import { checkProbability } from './checks.js';

/** Options of {@link dropout}. */
export interface DropoutOptions {
  /** Whether to drop elements; otherwise the input is returned. Default true. */
  training?: boolean;
}

/**
 * Sets elements to 0 with probability p, and multiplies the others by 1 / (1 - p), so that the expected value stays
 * ([Srivastava et al. 2014](https://jmlr.org/papers/v15/srivastava14a.html)). The choice comes from the global random stream.
 * Same as [torch.nn.functional.dropout](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html).
 *
 * @param x input of any shape
 * @param p the probability of an element to be dropped, from 0 to 1. Default 0.5
 * @param options `training` (default true): whether to drop elements
 * @returns a tensor of the same shape; `x` itself if nothing is dropped
 * @throws TapegradError for a probability outside 0..1 and unknown options
 * @example
 * ```ts
 * import { nn, ones } from 'tapegrad';
 *
 * console.log(String(nn.functional.dropout(ones([6]), 0.5))); // zeros and twos
 * ```
 */
export function dropout(x: Tensor, p = 0.5, options: DropoutOptions = {}): Tensor {
  const op = 'dropout';
  checkTensors(op, [x]);
  checkProbability(op, 'p', p);
  checkOptions(op, options, ['training']);
  const { training = true } = options;
  if (!checkBoolean(op, 'training', training) || p === 0) return x;
  if (p === 1) return x.mul(0);
  return x.mul(uniform(x.backend, x.dims, 1 - p, 1 / (1 - p)));
}
