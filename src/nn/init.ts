/**
 * Initialization of parameters. Each function fills a leaf tensor in place, with values from the global random stream, and
 * returns it. Same as [torch.nn.init](https://docs.pytorch.org/docs/stable/nn.init.html).
 *
 * @module
 */

import { full, rand, randn } from '../create.js';
import { checkChoice, checkNumber, checkOptions, describe, fail, show } from '../errors.js';
import type { Tensor } from '../methods.js';
import { writeValues } from '../ops/inplace.js';
import { calculateGain, type Nonlinearity } from './init-more.js';
import { checkTarget } from './init-target.js';

export { calculateGain, eye, type Nonlinearity, orthogonal, truncNormal } from './init-more.js';

function overwrite(op: string, target: Tensor, source: Tensor): Tensor {
  writeValues(target, source.hostValues(op));
  return target;
}

function fillUniform(op: string, target: Tensor, low: number, high: number): Tensor {
  const source = rand(target.shape, { device: 'cpu' })
    .mul(high - low)
    .add(low);
  return overwrite(op, target, source);
}

function fillNormal(op: string, target: Tensor, mean: number, std: number): Tensor {
  return overwrite(op, target, randn(target.shape, { device: 'cpu' }).mul(std).add(mean));
}

function fill(op: string, target: Tensor, value: number): Tensor {
  checkTarget(op, target);
  if (typeof value !== 'number') fail(op, `value is ${describe(value)}`, 'pass a number');
  return overwrite(op, target, full(target.shape, value, { device: 'cpu' }));
}

/**
 * Fills a tensor with values uniform in [low, high). Same as [torch.nn.init.uniform_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.uniform_).
 *
 * @param target a leaf tensor, such as a layer's weight
 * @param low the lower bound
 * @param high the upper bound
 * @returns `target`
 * @throws TapegradError for bounds that are not finite or not in order, and if `target` is not a leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * nn.init.uniform(new nn.Linear(4, 2).weight, -0.1, 0.1);
 * ```
 */
export function uniform(target: Tensor, low = 0, high = 1): Tensor {
  checkTarget('init.uniform', target);
  checkNumber('init.uniform', 'low', low);
  checkNumber('init.uniform', 'high', high);
  if (low > high) fail('init.uniform', `low is ${low} and high is ${high}`, 'pass the lower bound first');
  return fillUniform('init.uniform', target, low, high);
}

/**
 * Fills a tensor with values from a normal distribution. Same as [torch.nn.init.normal_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.normal_).
 *
 * @param target a leaf tensor, such as a layer's weight
 * @param mean the mean
 * @param std the standard deviation, at least 0
 * @returns `target`
 * @throws TapegradError for a mean that is not finite or a negative deviation, and if `target` is not a leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * nn.init.normal(new nn.Linear(4, 2).weight, 0, 0.02);
 * ```
 */
export function normal(target: Tensor, mean = 0, std = 1): Tensor {
  checkTarget('init.normal', target);
  checkNumber('init.normal', 'mean', mean);
  checkNumber('init.normal', 'std', std, 0);
  return fillNormal('init.normal', target, mean, std);
}

/**
 * Fills a tensor with one value. Same as [torch.nn.init.constant_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.constant_).
 *
 * @param target a leaf tensor, such as a layer's weight
 * @param value the value
 * @returns `target`
 * @throws TapegradError for a value that is not a number, and if `target` is not a leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * nn.init.constant(new nn.Linear(4, 2).weight, 0.5);
 * ```
 */
export function constant(target: Tensor, value: number): Tensor {
  return fill('init.constant', target, value);
}

/**
 * Fills a tensor with zeros. Same as [torch.nn.init.zeros_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.zeros_).
 *
 * @param target a leaf tensor, such as a layer's weight
 * @returns `target`
 * @throws TapegradError if `target` is not a tensor, and if `target` is not a leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * nn.init.zeros(new nn.Linear(4, 2).weight);
 * ```
 */
export function zeros(target: Tensor): Tensor {
  return fill('init.zeros', target, 0);
}

/**
 * Fills a tensor with ones. Same as [torch.nn.init.ones_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.ones_).
 *
 * @param target a leaf tensor, such as a layer's weight
 * @returns `target`
 * @throws TapegradError if `target` is not a tensor, and if `target` is not a leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * nn.init.ones(new nn.Linear(4, 2).weight);
 * ```
 */
export function ones(target: Tensor): Tensor {
  return fill('init.ones', target, 1);
}

function fans(op: string, target: Tensor): { fanIn: number; fanOut: number } {
  checkTarget(op, target);
  if (target.ndim < 2)
    fail(
      op,
      `a tensor of shape ${show(target.shape)} has no fan in and fan out`,
      'pass a weight of at least two dimensions, [out, in]',
      { shapes: [target.shape] },
    );
  const [fanOut, fanIn] = target.shape;
  const field = target.size / (fanIn * fanOut);
  return { fanIn: fanIn * field, fanOut: fanOut * field };
}

/**
 * Fills a weight with values uniform within ±gain·√(6 / (fan in + fan out))
 * ([Glorot and Bengio 2010](https://proceedings.mlr.press/v9/glorot10a.html)). Same as
 * [torch.nn.init.xavier_uniform_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.xavier_uniform_).
 *
 * @param target a leaf tensor, such as a layer's weight
 * @param gain the factor for the activation function, at least 0
 * @returns `target`
 * @throws TapegradError for fewer than two dimensions or a negative gain, and if `target` is not a leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * nn.init.xavierUniform(new nn.Linear(4, 2).weight);
 * ```
 */
export function xavierUniform(target: Tensor, gain = 1): Tensor {
  const op = 'init.xavierUniform';
  const { fanIn, fanOut } = fans(op, target);
  const bound = checkNumber(op, 'gain', gain, 0) * Math.sqrt(6 / (fanIn + fanOut));
  return fillUniform(op, target, -bound, bound);
}

/**
 * Fills a weight with normal values of standard deviation gain·√(2 / (fan in + fan out))
 * ([Glorot and Bengio 2010](https://proceedings.mlr.press/v9/glorot10a.html)). Same as
 * [torch.nn.init.xavier_normal_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.xavier_normal_).
 *
 * @param target a leaf tensor, such as a layer's weight
 * @param gain the factor for the activation function, at least 0
 * @returns `target`
 * @throws TapegradError for fewer than two dimensions or a negative gain, and if `target` is not a leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * nn.init.xavierNormal(new nn.Linear(4, 2).weight);
 * ```
 */
export function xavierNormal(target: Tensor, gain = 1): Tensor {
  const op = 'init.xavierNormal';
  const { fanIn, fanOut } = fans(op, target);
  return fillNormal(op, target, 0, checkNumber(op, 'gain', gain, 0) * Math.sqrt(2 / (fanIn + fanOut)));
}

/** Options of {@link kaimingUniform} and {@link kaimingNormal}. */
export interface KaimingOptions {
  /** 'fanIn' keeps the variance in the forward pass, 'fanOut' in the backward pass. Default 'fanIn'. */
  mode?: 'fanIn' | 'fanOut';
  /** The activation function after the layer. Default 'leakyRelu' with the slope `a`. */
  nonlinearity?: Nonlinearity;
}

/** The standard deviation gain / √fan. */
function kaimingStd(op: string, target: Tensor, a: number, options: KaimingOptions): number {
  const { fanIn, fanOut } = fans(op, target);
  checkNumber(op, 'a', a);
  checkOptions(op, options, ['mode', 'nonlinearity']);
  const mode = checkChoice(op, 'mode', options.mode ?? 'fanIn', ['fanIn', 'fanOut']);
  return calculateGain(options.nonlinearity ?? 'leakyRelu', a) / Math.sqrt(mode === 'fanIn' ? fanIn : fanOut);
}

/**
 * Fills a weight with values uniform within ±gain·√(3 / fan), for the default options ±√(6 / ((1 + a²)·fan in))
 * ([He et al. 2015](https://arxiv.org/abs/1502.01852)). Same as
 * [torch.nn.init.kaiming_uniform_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.kaiming_uniform_).
 *
 * @param target a leaf tensor, such as a layer's weight
 * @param a the negative slope of the leaky ReLU after the layer; 0 for ReLU
 * @param options `mode` and `nonlinearity`
 * @returns `target`
 * @throws TapegradError for fewer than two dimensions, a slope that is not finite, unknown options, and if `target` is not a
 *   leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * nn.init.kaimingUniform(new nn.Linear(4, 2).weight);
 * ```
 */
export function kaimingUniform(target: Tensor, a = 0, options: KaimingOptions = {}): Tensor {
  const op = 'init.kaimingUniform';
  const bound = Math.sqrt(3) * kaimingStd(op, target, a, options);
  return fillUniform(op, target, -bound, bound);
}

/**
 * Fills a weight with normal values of standard deviation gain / √fan, for the default options √(2 / ((1 + a²)·fan in))
 * ([He et al. 2015](https://arxiv.org/abs/1502.01852)). Same as
 * [torch.nn.init.kaiming_normal_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.kaiming_normal_).
 *
 * @param target a leaf tensor, such as a layer's weight
 * @param a the negative slope of the leaky ReLU after the layer; 0 for ReLU
 * @param options `mode` and `nonlinearity`
 * @returns `target`
 * @throws TapegradError for fewer than two dimensions, a slope that is not finite, unknown options, and if `target` is not a
 *   leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * nn.init.kaimingNormal(new nn.Linear(4, 2).weight);
 * ```
 */
export function kaimingNormal(target: Tensor, a = 0, options: KaimingOptions = {}): Tensor {
  const op = 'init.kaimingNormal';
  return fillNormal(op, target, 0, kaimingStd(op, target, a, options));
}
