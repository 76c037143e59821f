import { full, rand, randn } from '../create.js';
import { checkNumber, fail, show } from '../errors.js';
import type { Tensor } from '../methods.js';

// As torch.nn.init: each fills a leaf in place with new numbers from the global random stream, and returns it.

function overwrite(target: Tensor, source: Tensor): Tensor {
  target.backend.write(target.storage, source.hostValues('init'));
  return target;
}

/** Uniform in [low, high). @throws TapegradError for bounds that are not finite */
export function uniform(target: Tensor, low = 0, high = 1): Tensor {
  checkNumber('init.uniform', 'low', low);
  checkNumber('init.uniform', 'high', high);
  return overwrite(
    target,
    rand(target.shape, { device: 'cpu' })
      .mul(high - low)
      .add(low),
  );
}

/** Normal with the given mean and standard deviation. @throws TapegradError for a negative deviation */
export function normal(target: Tensor, mean = 0, std = 1): Tensor {
  checkNumber('init.normal', 'mean', mean);
  checkNumber('init.normal', 'std', std, 0);
  return overwrite(target, randn(target.shape, { device: 'cpu' }).mul(std).add(mean));
}

/** One value everywhere. */
export function constant(target: Tensor, value: number): Tensor {
  return overwrite(target, full(target.shape, value, { device: 'cpu' }));
}

/** Zeros. */
export function zeros(target: Tensor): Tensor {
  return constant(target, 0);
}

/** Ones. */
export function ones(target: Tensor): Tensor {
  return constant(target, 1);
}

function fans(op: string, target: Tensor): { fanIn: number; fanOut: number } {
  if (target.ndim < 2)
    fail(
      op,
      `a tensor of shape ${show(target.shape)} has no fan in and fan out`,
      'pass a weight of at least two dimensions, [out, in]',
    );
  const [fanOut, fanIn] = target.shape;
  const field = target.size / (fanIn * fanOut);
  return { fanIn: fanIn * field, fanOut: fanOut * field };
}

/** Uniform within ±gain √(6 / (fan in + fan out)): Glorot and Bengio 2010. @throws TapegradError for less than two dimensions */
export function xavierUniform(target: Tensor, gain = 1): Tensor {
  const { fanIn, fanOut } = fans('init.xavierUniform', target);
  const bound = gain * Math.sqrt(6 / (fanIn + fanOut));
  return uniform(target, -bound, bound);
}

/** Normal with deviation gain √(2 / (fan in + fan out)): Glorot and Bengio 2010. @throws TapegradError for less than two dimensions */
export function xavierNormal(target: Tensor, gain = 1): Tensor {
  const { fanIn, fanOut } = fans('init.xavierNormal', target);
  return normal(target, 0, gain * Math.sqrt(2 / (fanIn + fanOut)));
}

/** Uniform within ±√(6 / ((1 + a²) fan in)): He et al. 2015; a is the slope below 0, 0 for ReLU. @throws TapegradError for less than two dimensions */
export function kaimingUniform(target: Tensor, a = 0): Tensor {
  const bound = Math.sqrt(6 / ((1 + a * a) * fans('init.kaimingUniform', target).fanIn));
  return uniform(target, -bound, bound);
}

/** Normal with deviation √(2 / ((1 + a²) fan in)): He et al. 2015. @throws TapegradError for less than two dimensions */
export function kaimingNormal(target: Tensor, a = 0): Tensor {
  return normal(target, 0, Math.sqrt(2 / ((1 + a * a) * fans('init.kaimingNormal', target).fanIn)));
}
