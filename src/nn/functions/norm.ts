import { noGrad } from '../../autograd/mode.js';
import { checkBoolean, checkInteger, checkNumber, checkOptions, describe, fail, show } from '../../errors.js';
import type { Tensor } from '../../methods.js';
import { checkTensors, dispatch } from '../../ops/dispatch.js';
import { layerNorm as layerNormRow } from '../../ops/norm.js';
import { sameShape, sizeOf } from '../../shape.js';

// Normalizations: all are those of the rows of a matrix, so that one kernel serves them.

/** The sizes of normalized dimensions, given as a number or as an array. @internal */
export function checkSizes(op: string, shape: unknown): readonly number[] {
  const sizes: unknown = typeof shape === 'number' ? [shape] : shape;
  if (!Array.isArray(sizes) || sizes.length === 0)
    fail(op, `the shape is ${describe(shape)}`, 'pass the sizes of the last dimensions, such as 768 or [4, 5]');
  sizes.forEach((d, i) => {
    checkInteger(op, `the shape's dimension ${i}`, d, 0);
  });
  return [...(sizes as number[])];
}

/** Options of {@link layerNorm}. */
export interface LayerNormOptions {
  /** Factors, of the normalized shape; none by default. */
  weight?: Tensor | null;
  /** Summands, of the normalized shape; none by default. */
  bias?: Tensor | null;
  /** Added to the variance. Default 1e-5. */
  eps?: number;
}

/** Options of {@link rmsNorm}. */
export interface RMSNormOptions {
  /** Factors, of the normalized shape; none by default. */
  weight?: Tensor | null;
  /** Added to the mean square. Default the distance from 1 to the next float32, 2^-23. */
  eps?: number | null;
}

/** The default eps of RMSNorm, the machine epsilon of float32. @internal */
export const RMS_EPS = 2 ** -23;

/** x as a matrix whose rows are normalized, times weight and plus bias, in the shape of x. */
function rows(
  x: Tensor,
  length: number,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
  center: boolean,
): Tensor {
  const flat = (t: Tensor) => (t.ndim === 1 ? t : t.reshape([length]));
  const direct = x.ndim > 0 && x.dims[x.ndim - 1] === length;
  const matrix = direct ? x : x.reshape([length === 0 ? 0 : x.size / length, length]);
  const inputs = [matrix];
  if (weight !== null) inputs.push(flat(weight));
  if (weight !== null && bias !== null) inputs.push(flat(bias));
  const y = dispatch(layerNormRow, inputs, { eps, center });
  const shifted = weight === null && bias !== null ? y.add(flat(bias)) : y;
  return direct ? shifted : shifted.reshape(x.dims);
}

/** Requires an input whose last dimensions are `shape`, and weight and bias of this shape. */
function checkLast(op: string, x: Tensor, shape: readonly number[], factors: [string, Tensor | null | undefined][]) {
  checkTensors(op, [x]);
  if (x.ndim < shape.length || !sameShape(x.dims.slice(x.ndim - shape.length), shape))
    fail(
      op,
      `the input has shape ${show(x.dims)}, which does not end in the normalized shape ${show(shape)}`,
      'pass an input of shape [.., normalized shape], or make the layer for other sizes',
      { shapes: [x.dims, shape] },
    );
  checkFactors(op, x, shape, factors);
}

function checkFactors(
  op: string,
  x: Tensor,
  shape: readonly number[],
  factors: [string, Tensor | null | undefined][],
): void {
  for (const [name, t] of factors) {
    if (t === null || t === undefined) continue;
    checkTensors(op, [x, t]);
    if (!sameShape(t.dims, shape))
      fail(op, `${name} has shape ${show(t.dims)}`, `pass a ${name} of shape ${show(shape)}`, {
        shapes: [t.dims, shape],
      });
  }
}

/**
 * Normalizes the last dimensions of each sample to mean 0 and variance 1, and applies weight and bias:
 * (x - mean) / √(var + eps) · weight + bias with the biased variance
 * ([Ba, Kiros and Hinton 2016](https://arxiv.org/abs/1607.06450)). Same as
 * [torch.nn.functional.layer_norm](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.layer_norm.html).
 *
 * @param x input, shape [.., ...shape]
 * @param shape the sizes of the last dimensions, which are normalized together: a number or an array
 * @param options `weight` and `bias` of the normalized shape, and `eps`
 * @returns a tensor of the shape of `x`
 * @throws TapegradError for an input that does not end in `shape`, factors of another shape, and unknown options
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const y = nn.functional.layerNorm(tensor([[1, 3], [0, 8]]), 2);
 * console.log(String(y)); // each row about [-1, 1]
 * ```
 */
export function layerNorm(x: Tensor, shape: number | readonly number[], options: LayerNormOptions = {}): Tensor {
  const op = 'layerNorm';
  checkOptions(op, options, ['weight', 'bias', 'eps']);
  const { weight = null, bias = null, eps = 1e-5 } = options;
  const sizes = checkSizes(op, shape);
  checkLast(op, x, sizes, [
    ['weight', weight],
    ['bias', bias],
  ]);
  return rows(x, sizeOf(sizes), weight, bias, checkNumber(op, 'eps', eps), true);
}

/**
 * Divides the last dimensions of each sample by their root mean square, x / √(mean(x²) + eps) · weight
 * ([Zhang and Sennrich 2019](https://arxiv.org/abs/1910.07467)). Same as
 * [torch.nn.functional.rms_norm](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.rms_norm.html).
 *
 * @param x input, shape [.., ...shape]
 * @param shape the sizes of the last dimensions, which are normalized together: a number or an array
 * @param options `weight` of the normalized shape, and `eps`
 * @returns a tensor of the shape of `x`
 * @throws TapegradError for an input that does not end in `shape`, a weight of another shape, and unknown options
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(nn.functional.rmsNorm(tensor([[3, 3]]), 2).toArraySync()); // about [[1, 1]]
 * ```
 */
export function rmsNorm(x: Tensor, shape: number | readonly number[], options: RMSNormOptions = {}): Tensor {
  const op = 'rmsNorm';
  checkOptions(op, options, ['weight', 'eps']);
  const { weight = null } = options;
  const eps = checkNumber(op, 'eps', options.eps ?? RMS_EPS);
  const sizes = checkSizes(op, shape);
  checkLast(op, x, sizes, [['weight', weight]]);
  return rows(x, sizeOf(sizes), weight, null, eps, false);
}

/** A weight or bias of the channels, for an input of `ndim` dimensions whose second one has the channels. */
const perChannel = (t: Tensor, ndim: number): Tensor => t.reshape([t.size, ...new Array<number>(ndim - 2).fill(1)]);

/** y · weight + bias for each channel. */
function affine(y: Tensor, weight: Tensor | null, bias: Tensor | null): Tensor {
  const scaled = weight === null ? y : y.mul(perChannel(weight, y.ndim));
  return bias === null ? scaled : scaled.add(perChannel(bias, y.ndim));
}

/**
 * Normalizes groups of channels of each sample to mean 0 and variance 1, and applies weight and bias of each channel
 * ([Wu and He 2018](https://arxiv.org/abs/1803.08494)). Same as
 * [torch.nn.functional.group_norm](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.group_norm.html).
 *
 * @param x input, shape [n, channels, ..]
 * @param groups into how many groups the channels are divided
 * @param options `weight` and `bias`, shape [channels], and `eps` (default 1e-5)
 * @returns a tensor of the shape of `x`
 * @throws TapegradError for an input of less than two dimensions, channels that the groups do not divide, factors of another
 *   shape, a group of one value, and unknown options
 * @example
 * ```ts
 * import { nn, randn } from 'tapegrad';
 *
 * console.log(nn.functional.groupNorm(randn([2, 6, 5]), 3).shape); // [2, 6, 5]
 * ```
 */
export function groupNorm(x: Tensor, groups: number, options: LayerNormOptions = {}): Tensor {
  const op = 'groupNorm';
  checkOptions(op, options, ['weight', 'bias', 'eps']);
  const { weight = null, bias = null, eps = 1e-5 } = options;
  checkTensors(op, [x]);
  checkInteger(op, 'groups', groups);
  if (x.ndim < 2) fail(op, `the input has shape ${show(x.dims)}`, 'pass [n, channels, ..]', { shapes: [x.dims] });
  const [n, channels] = x.dims;
  if (channels % groups !== 0)
    fail(op, `${channels} channels do not divide into ${groups} groups`, 'choose groups that divide the channels', {
      shapes: [x.dims],
    });
  checkFactors(
    op,
    x,
    [channels],
    [
      ['weight', weight],
      ['bias', bias],
    ],
  );
  const length = sizeOf(x.dims.slice(1)) / groups;
  if (x.size > 0 && length * n === 1) tooFew(op, x);
  const y = dispatch(layerNormRow, [x.reshape([n * groups, length])], {
    eps: checkNumber(op, 'eps', eps),
    center: true,
  });
  return affine(y.reshape(x.dims), weight, bias);
}

function tooFew(op: string, x: Tensor): never {
  fail(
    op,
    `an input of shape ${show(x.dims)} has one value for each channel, so no variance`,
    'pass more than one sample in training mode, or call eval()',
    { shapes: [x.dims] },
  );
}

/** Options of {@link batchNorm}. */
export interface BatchNormOptions {
  /** Factors, shape [channels]; none by default. */
  weight?: Tensor | null;
  /** Summands, shape [channels]; none by default. */
  bias?: Tensor | null;
  /** Whether to normalize by mean and variance of this batch. Default false. */
  training?: boolean;
  /** The share of this batch in the new running mean and variance: a number, or a scalar tensor. Default 0.1. */
  momentum?: number | Tensor;
  /** Added to the variance. Default 1e-5. */
  eps?: number;
}

/**
 * Normalizes each channel over the batch and all positions, and applies weight and bias of each channel
 * ([Ioffe and Szegedy 2015](https://arxiv.org/abs/1502.03167)). In training mode by mean and biased variance of this batch,
 * which also enter the running ones, the variance without bias; else by the running ones. Same as
 * [torch.nn.functional.batch_norm](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.batch_norm.html).
 *
 * @param x input, shape [n, channels, ..]
 * @param runningMean the mean of each channel in evaluation mode, shape [channels]; in training mode it is updated in place. None by
 *   default
 * @param runningVar the variance likewise
 * @param options `weight` and `bias`, shape [channels], `training`, `momentum` and `eps`
 * @returns a tensor of the shape of `x`
 * @throws TapegradError for an input of less than two dimensions, tensors that are not of shape [channels], evaluation without
 *   running mean and variance, one value for each channel in training mode, and unknown options
 * @example
 * ```ts
 * import { nn, randn } from 'tapegrad';
 *
 * console.log(nn.functional.batchNorm(randn([8, 3]), null, null, { training: true }).mean(0).shape); // [3]
 * ```
 */
export function batchNorm(
  x: Tensor,
  runningMean: Tensor | null = null,
  runningVar: Tensor | null = null,
  options: BatchNormOptions = {},
): Tensor {
  const op = 'batchNorm';
  checkOptions(op, options, ['weight', 'bias', 'training', 'momentum', 'eps']);
  const { weight = null, bias = null, training = false, momentum = 0.1, eps = 1e-5 } = options;
  checkBoolean(op, 'training', training);
  if (typeof momentum !== 'object') checkNumber(op, 'momentum', momentum);
  checkNumber(op, 'eps', eps);
  checkTensors(op, [x]);
  if (x.ndim < 2) fail(op, `the input has shape ${show(x.dims)}`, 'pass [n, channels, ..]', { shapes: [x.dims] });
  const channels = x.dims[1];
  checkFactors(
    op,
    x,
    [channels],
    [
      ['runningMean', runningMean],
      ['runningVar', runningVar],
      ['weight', weight],
      ['bias', bias],
    ],
  );
  if ((runningMean === null) !== (runningVar === null))
    fail(op, 'only one of runningMean and runningVar is given', 'pass both, or none');
  if (!training) {
    if (runningMean === null || runningVar === null)
      fail(op, 'there are no running mean and variance', 'pass them, or training: true');
    // One factor and one summand for each channel.
    const scale = runningVar.add(eps).sqrt();
    const factor = weight === null ? scale.pow(-1) : weight.div(scale);
    const shift = runningMean.mul(factor).neg();
    return affine(x, factor, bias === null ? shift : bias.add(shift));
  }
  const count = channels === 0 ? 0 : x.size / channels;
  if (count === 1) tooFew(op, x);
  const track = (mean: Tensor, variance: Tensor) => {
    if (runningMean === null || runningVar === null || count === 0) return;
    const unbiased = variance.mul(count / (count - 1));
    follow(runningMean, mean.reshape([channels]), momentum);
    follow(runningVar, unbiased.reshape([channels]), momentum);
  };
  if (x.ndim === 2 && count > 0) return ofColumns(x, weight, bias, eps, track);
  const order = [1, 0, ...x.dims.slice(2).map((_, i) => i + 2)];
  const swapped = x.permute(order);
  const matrix = swapped.reshape([channels, count]);
  noGrad(() => {
    if (runningMean === null) return;
    const rows = matrix.detach();
    const mean = rows.mean(1, true);
    track(mean, rows.sub(mean).square().mean(1));
  });
  const y = dispatch(layerNormRow, [matrix], { eps, center: true });
  return affine(y.reshape(swapped.dims).permute(order), weight, bias);
}

/** The columns of a matrix, normalized; transposed copies for the kernel of rows would take longer. */
function ofColumns(
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  eps: number,
  track: (mean: Tensor, variance: Tensor) => void,
): Tensor {
  const mean = x.mean(0);
  const centred = x.sub(mean);
  const variance = centred.square().mean(0);
  noGrad(() => track(mean.detach(), variance.detach()));
  const deviation = variance.add(eps).sqrt();
  const factor = weight === null ? deviation.pow(-1) : weight.div(deviation);
  const y = centred.mul(factor);
  return bias === null ? y : y.add(bias);
}

/** Moves a running value towards that of a batch. */
function follow(running: Tensor, value: Tensor, momentum: number | Tensor): void {
  const kept = typeof momentum === 'number' ? 1 - momentum : momentum.neg().add(1);
  running.copyFrom(running.mul(kept).add(value.mul(momentum)));
}
