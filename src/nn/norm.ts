import { ones, zeros } from '../create.js';
import { checkBoolean, checkInteger, checkNumber, checkOptions, fail, show } from '../errors.js';
import type { Tensor } from '../methods.js';
import { AffineModule } from './affine.js';
import { checkSizes, groupNorm, layerNorm, RMS_EPS, rmsNorm } from './functions/norm.js';
import { Parameter } from './parameter.js';

/** A parameter of ones. @internal */
export const factors = (shape: readonly number[]): Tensor => new Parameter(ones(shape));
/** A parameter of zeros. @internal */
export const summands = (shape: readonly number[]): Tensor => new Parameter(zeros(shape));

/**
 * Normalizes the last dimensions of each sample to mean 0 and variance 1, and applies weight and bias, which begin as ones and
 * zeros; see {@link functional.layerNorm}. Same as
 * [torch.nn.LayerNorm](https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const layer = new nn.LayerNorm(2);
 * console.log(String(layer.forward(tensor([[1, 3], [0, 8]])))); // each row about [-1, 1]
 * ```
 */
export class LayerNorm extends AffineModule {
  /** The sizes of the last dimensions, which are normalized together. */
  readonly normalizedShape: readonly number[];
  /** Added to the variance. */
  readonly eps: number;

  /**
   * @param normalizedShape the sizes of the last dimensions, which are normalized together: a number or an array
   * @param options `eps` (default 1e-5); `elementwiseAffine` (default true): whether there is a weight; `bias` (default true):
   *   whether there is a bias beside a weight
   * @throws TapegradError for sizes that are not integers of at least 0, other values, and unknown options
   */
  constructor(
    normalizedShape: number | readonly number[],
    options: { eps?: number; elementwiseAffine?: boolean; bias?: boolean } = {},
  ) {
    const op = 'LayerNorm';
    checkOptions(op, options, ['eps', 'elementwiseAffine', 'bias']);
    const { eps = 1e-5, elementwiseAffine = true, bias = true } = options;
    checkBoolean(op, 'elementwiseAffine', elementwiseAffine);
    checkBoolean(op, 'bias', bias);
    const shape = checkSizes(op, normalizedShape);
    super(shape, elementwiseAffine ? factors(shape) : null, elementwiseAffine && bias ? summands(shape) : null);
    this.normalizedShape = shape;
    this.eps = checkNumber(op, 'eps', eps);
  }

  /**
   * Applies the layer.
   *
   * @param x input, shape [.., ...normalizedShape]
   * @returns a tensor of the same shape
   * @throws TapegradError for an input that does not end in the normalized shape
   */
  override forward(x: Tensor): Tensor {
    const { weight, bias, eps } = this;
    return layerNorm(x, this.normalizedShape, { weight, bias, eps });
  }

  protected override extraRepr(): string {
    const { eps, weight, bias } = this;
    return `${show(this.normalizedShape)}, eps=${eps}, elementwiseAffine=${weight !== null}, bias=${bias !== null}`;
  }
}

/**
 * Divides the last dimensions of each sample by their root mean square, and applies a weight, which begins as ones; see
 * {@link functional.rmsNorm}. Same as
 * [torch.nn.RMSNorm](https://docs.pytorch.org/docs/stable/generated/torch.nn.RMSNorm.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(new nn.RMSNorm(2).forward(tensor([[3, 3]])).toArraySync()); // about [[1, 1]]
 * ```
 */
export class RMSNorm extends AffineModule {
  /** The sizes of the last dimensions, which are normalized together. */
  readonly normalizedShape: readonly number[];
  /** Added to the mean square. */
  readonly eps: number;

  /**
   * @param normalizedShape the sizes of the last dimensions, which are normalized together: a number or an array
   * @param options `eps` (default, also for null: 2^-23, the machine epsilon of float32); `elementwiseAffine` (default true):
   *   whether there is a weight
   * @throws TapegradError for sizes that are not integers of at least 0, other values, and unknown options
   */
  constructor(
    normalizedShape: number | readonly number[],
    options: { eps?: number | null; elementwiseAffine?: boolean } = {},
  ) {
    const op = 'RMSNorm';
    checkOptions(op, options, ['eps', 'elementwiseAffine']);
    const { elementwiseAffine = true } = options;
    checkBoolean(op, 'elementwiseAffine', elementwiseAffine);
    const shape = checkSizes(op, normalizedShape);
    super(shape, elementwiseAffine ? factors(shape) : null, null);
    this.normalizedShape = shape;
    this.eps = checkNumber(op, 'eps', options.eps ?? RMS_EPS);
  }

  /**
   * Applies the layer.
   *
   * @param x input, shape [.., ...normalizedShape]
   * @returns a tensor of the same shape
   * @throws TapegradError for an input that does not end in the normalized shape
   */
  override forward(x: Tensor): Tensor {
    const { weight, eps } = this;
    return rmsNorm(x, this.normalizedShape, { weight, eps });
  }

  protected override extraRepr(): string {
    return `${show(this.normalizedShape)}, eps=${this.eps}, elementwiseAffine=${this.weight !== null}`;
  }
}

/**
 * Normalizes groups of channels of each sample to mean 0 and variance 1, and applies weight and bias of each channel, which begin
 * as ones and zeros; see {@link functional.groupNorm}. Same as
 * [torch.nn.GroupNorm](https://docs.pytorch.org/docs/stable/generated/torch.nn.GroupNorm.html).
 *
 * @example
 * ```ts
 * import { nn, randn } from 'tapegrad';
 *
 * console.log(new nn.GroupNorm(3, 6).forward(randn([2, 6, 5])).shape); // [2, 6, 5]
 * ```
 */
export class GroupNorm extends AffineModule {
  /** Added to the variance. */
  readonly eps: number;

  /**
   * @param numGroups into how many groups the channels are divided
   * @param numChannels the number of channels
   * @param options `eps` (default 1e-5); `affine` (default true): whether there are weight and bias
   * @throws TapegradError for groups that do not divide the channels, other values, and unknown options
   */
  constructor(
    /** Into how many groups the channels are divided. */
    readonly numGroups: number,
    /** The number of channels. */
    readonly numChannels: number,
    options: { eps?: number; affine?: boolean } = {},
  ) {
    const op = 'GroupNorm';
    checkInteger(op, 'numGroups', numGroups);
    checkInteger(op, 'numChannels', numChannels);
    if (numChannels % numGroups !== 0) {
      const problem = `${numChannels} channels do not divide into ${numGroups} groups`;
      fail(op, problem, 'choose groups that divide the channels');
    }
    checkOptions(op, options, ['eps', 'affine']);
    const { eps = 1e-5, affine = true } = options;
    checkBoolean(op, 'affine', affine);
    super([numChannels], affine ? factors([numChannels]) : null, affine ? summands([numChannels]) : null);
    this.eps = checkNumber(op, 'eps', eps);
  }

  /**
   * Applies the layer.
   *
   * @param x input, shape [n, numChannels, ..]
   * @returns a tensor of the same shape
   * @throws TapegradError for another number of channels, and for a group of one value
   */
  override forward(x: Tensor): Tensor {
    const { weight, bias, eps, numChannels } = this;
    if (x.ndim < 2 || x.dims[1] !== numChannels)
      fail('GroupNorm', `the input has shape ${show(x.dims)}`, `pass [n, ${numChannels}, ..]`, { shapes: [x.dims] });
    return groupNorm(x, this.numGroups, { weight, bias, eps });
  }

  protected override extraRepr(): string {
    return `${this.numGroups}, ${this.numChannels}, eps=${this.eps}, affine=${this.weight !== null}`;
  }
}
