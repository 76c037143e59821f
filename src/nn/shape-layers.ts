import { checkInteger, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { normalizeDim, sizeOf } from '../shape.js';
import { Module } from './module.js';

/**
 * Joins neighbouring dimensions, by default all but the first. Same as
 * [torch.nn.Flatten](https://docs.pytorch.org/docs/stable/generated/torch.nn.Flatten.html).
 *
 * @example
 * ```ts
 * import { nn, randn } from 'tapegrad';
 *
 * console.log(new nn.Flatten().forward(randn([5, 2, 3])).shape); // [5, 6]
 * ```
 */
export class Flatten extends Module {
  /**
   * @param startDim the first dimension to join; negative values count from the end. Default 1
   * @param endDim the last dimension to join. Default -1
   * @throws TapegradError for dimensions that are not integers
   */
  constructor(
    /** The first dimension to join. */
    readonly startDim = 1,
    /** The last dimension to join. */
    readonly endDim = -1,
  ) {
    super();
    checkInteger('Flatten', 'startDim', startDim, -Infinity);
    checkInteger('Flatten', 'endDim', endDim, -Infinity);
  }

  /**
   * Applies the layer.
   *
   * @param x input of any shape that has these dimensions
   * @returns a tensor with one dimension in the place of several; a view where the memory allows it
   * @throws TapegradError for dimensions that do not exist or are not in order
   */
  override forward(x: Tensor): Tensor {
    const { dims, ndim } = x;
    const [from, to] = [this.startDim, this.endDim].map((d) => normalizeDim('Flatten', d, ndim, dims));
    if (from > to)
      fail('Flatten', `dimension ${from} comes after dimension ${to}`, 'pass the first dimension to join first', {
        shapes: [dims],
      });
    return x.reshape([...dims.slice(0, from), sizeOf(dims.slice(from, to + 1)), ...dims.slice(to + 1)]);
  }

  protected override extraRepr(): string {
    return `startDim=${this.startDim}, endDim=${this.endDim}`;
  }
}

/**
 * Returns its input. Same as
 * [torch.nn.Identity](https://docs.pytorch.org/docs/stable/generated/torch.nn.Identity.html).
 *
 * @example
 * ```ts
 * import { nn, ones } from 'tapegrad';
 *
 * const x = ones([2]);
 * console.log(new nn.Identity().forward(x) === x); // true
 * ```
 */
export class Identity extends Module {
  /**
   * Returns its input.
   *
   * @param x a tensor
   * @returns `x`
   */
  override forward(x: Tensor): Tensor {
    return x;
  }
}
