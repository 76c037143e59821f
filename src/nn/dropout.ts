import type { Tensor } from '../methods.js';
import { checkProbability } from './functions/checks.js';
import { dropout } from './functions/dropout.js';
import { Module } from './module.js';

/**
 * Sets elements to 0 with probability p in training mode, and multiplies the others by 1 / (1 - p); in evaluation mode it returns
 * its input. See {@link functional.dropout}. Same as
 * [torch.nn.Dropout](https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html).
 *
 * @example
 * ```ts
 * import { nn, ones } from 'tapegrad';
 *
 * const layer = new nn.Dropout(0.2);
 * console.log(String(layer.forward(ones([6])))); // zeros and 1.25
 * console.log(layer.eval().forward(ones([2])).toArraySync()); // [1, 1]
 * ```
 */
export class Dropout extends Module {
  /**
   * @param p the probability of an element to be dropped, from 0 to 1. Default 0.5
   * @throws TapegradError for a probability outside 0..1
   */
  constructor(
    /** The probability of an element to be dropped. */
    readonly p = 0.5,
  ) {
    super();
    checkProbability('Dropout', 'p', p);
  }

  /**
   * Applies the layer.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape; `x` itself if nothing is dropped
   */
  override forward(x: Tensor): Tensor {
    return dropout(x, this.p, { training: this.training });
  }

  protected override extraRepr(): string {
    return `p=${this.p}`;
  }
}
