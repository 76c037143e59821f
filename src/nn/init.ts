import { full, rand, randn } from '../create.js';
import { checkNumber, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { writeValues } from '../ops/inplace.js';

// As torch.nn.init: each fills a leaf in place with new numbers from the global random stream, and returns it.

/** Requires a leaf: numbers that operations were computed from may not change under the recorded graph. */
function checkTarget(op: string, target: unknown): asserts target is Tensor {
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

/** Uniform in [low, high). @throws TapegradError for bounds that are not finite or not in order, or a target that is no leaf */
export function uniform(target: Tensor, low = 0, high = 1): Tensor {
  checkTarget('init.uniform', target);
  checkNumber('init.uniform', 'low', low);
  checkNumber('init.uniform', 'high', high);
  if (low > high) fail('init.uniform', `low is ${low} and high is ${high}`, 'pass the lower bound first');
  return fillUniform('init.uniform', target, low, high);
}

/** Normal with the given mean and standard deviation. @throws TapegradError for a negative deviation, or a target that is no leaf */
export function normal(target: Tensor, mean = 0, std = 1): Tensor {
  checkTarget('init.normal', target);
  checkNumber('init.normal', 'mean', mean);
  checkNumber('init.normal', 'std', std, 0);
  return fillNormal('init.normal', target, mean, std);
}

/** One value everywhere. @throws TapegradError for a value that is no number, or a target that is no leaf */
export function constant(target: Tensor, value: number): Tensor {
  return fill('init.constant', target, value);
}

/** Zeros. @throws TapegradError for a target that is no leaf */
export function zeros(target: Tensor): Tensor {
  return fill('init.zeros', target, 0);
}

/** Ones. @throws TapegradError for a target that is no leaf */
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

/** Uniform within ±gain √(6 / (fan in + fan out)): Glorot and Bengio 2010. @throws TapegradError for less than two dimensions, a negative gain, or a target that is no leaf */
export function xavierUniform(target: Tensor, gain = 1): Tensor {
  const op = 'init.xavierUniform';
  const { fanIn, fanOut } = fans(op, target);
  const bound = checkNumber(op, 'gain', gain, 0) * Math.sqrt(6 / (fanIn + fanOut));
  return fillUniform(op, target, -bound, bound);
}

/** Normal with deviation gain √(2 / (fan in + fan out)): Glorot and Bengio 2010. @throws TapegradError for less than two dimensions, a negative gain, or a target that is no leaf */
export function xavierNormal(target: Tensor, gain = 1): Tensor {
  const op = 'init.xavierNormal';
  const { fanIn, fanOut } = fans(op, target);
  return fillNormal(op, target, 0, checkNumber(op, 'gain', gain, 0) * Math.sqrt(2 / (fanIn + fanOut)));
}

/** Uniform within ±√(6 / ((1 + a²) fan in)): He et al. 2015; a is the slope below 0, 0 for ReLU. @throws TapegradError for less than two dimensions, a slope that is not finite, or a target that is no leaf */
export function kaimingUniform(target: Tensor, a = 0): Tensor {
  const op = 'init.kaimingUniform';
  const { fanIn } = fans(op, target);
  checkNumber(op, 'a', a);
  const bound = Math.sqrt(6 / ((1 + a * a) * fanIn));
  return fillUniform(op, target, -bound, bound);
}

/** Normal with deviation √(2 / ((1 + a²) fan in)): He et al. 2015. @throws TapegradError for less than two dimensions, a slope that is not finite, or a target that is no leaf */
export function kaimingNormal(target: Tensor, a = 0): Tensor {
  const op = 'init.kaimingNormal';
  const { fanIn } = fans(op, target);
  checkNumber(op, 'a', a);
  return fillNormal(op, target, 0, Math.sqrt(2 / ((1 + a * a) * fanIn)));
}
