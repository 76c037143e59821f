import { checkNumber, describe, fail, show } from '../errors.js';
import type { Tensor } from '../methods.js';
import { writeValues } from '../ops/inplace.js';
import { generator } from '../random.js';
import { checkTarget } from './init-target.js';

/**
 * The factor that keeps the variance through an activation function, as the gain of the other initializers. Same as
 * [torch.nn.init.calculate_gain](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.calculate_gain).
 *
 * @param nonlinearity 'linear', 'sigmoid', 'tanh', 'relu', 'leakyRelu' or 'selu'
 * @param param the negative slope of 'leakyRelu'. Default 0.01
 * @returns 1, 1, 5/3, √2, √(2 / (1 + slope²)) or 3/4
 * @throws TapegradError for another function, and a slope that is not finite
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * nn.init.xavierUniform(new nn.Linear(4, 2).weight, nn.init.calculateGain('tanh'));
 * ```
 */
export function calculateGain(nonlinearity: Nonlinearity, param = 0.01): number {
  const op = 'init.calculateGain';
  checkNumber(op, 'param', param);
  const gains = {
    linear: 1,
    sigmoid: 1,
    tanh: 5 / 3,
    relu: Math.SQRT2,
    leakyRelu: Math.sqrt(2 / (1 + param * param)),
    selu: 0.75,
  };
  if (typeof nonlinearity !== 'string' || !Object.hasOwn(gains, nonlinearity))
    fail(op, `nonlinearity is ${describe(nonlinearity)}`, `pass one of ${Object.keys(gains).join(', ')}`);
  return gains[nonlinearity];
}

/** An activation function that {@link calculateGain} knows. */
export type Nonlinearity = 'linear' | 'sigmoid' | 'tanh' | 'relu' | 'leakyRelu' | 'selu';

/**
 * Fills a tensor with values from a normal distribution that is cut off at two bounds. Same as
 * [torch.nn.init.trunc_normal_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.trunc_normal_). By rejection:
 * candidates are normal, uniform or exponential, whatever is accepted most often
 * ([Robert 1995](https://doi.org/10.1007/BF00143942)).
 *
 * @param target a leaf tensor, such as a layer's weight
 * @param mean the mean of the whole distribution
 * @param std the standard deviation of the whole distribution, above 0
 * @param a the lower bound
 * @param b the upper bound
 * @returns `target`
 * @throws TapegradError for numbers that are not finite, a deviation that is not above 0, bounds that are not in order, and if
 *   `target` is not a leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * nn.init.truncNormal(new nn.Linear(4, 2).weight, 0, 0.02);
 * ```
 */
export function truncNormal(target: Tensor, mean = 0, std = 1, a = -2, b = 2): Tensor {
  const op = 'init.truncNormal';
  checkTarget(op, target);
  checkNumber(op, 'mean', mean);
  checkNumber(op, 'std', std, Number.MIN_VALUE);
  checkNumber(op, 'a', a);
  checkNumber(op, 'b', b);
  if (a >= b) fail(op, `a is ${a} and b is ${b}`, 'pass the lower bound first');
  const [low, high] = [(a - mean) / std, (b - mean) / std];
  const draw = standardDraw(low, high);
  const values = Float64Array.from({ length: target.size }, () => Math.min(b, Math.max(a, mean + std * draw())));
  writeValues(target, values);
  return target;
}

/** Draws from the standard normal distribution between two bounds. */
function standardDraw(low: number, high: number): () => number {
  // The tail below 0 is that above 0, mirrored.
  if (high < 0) {
    const mirrored = standardDraw(-high, -low);
    return () => -mirrored();
  }
  const pair = new Float64Array(2);
  const accepted = (candidate: (u: number) => number, chance: (x: number) => number) => () => {
    for (;;) {
      generator.uniform(pair);
      const x = candidate(pair[0]);
      if (pair[1] < chance(x)) return x;
    }
  };
  if (low > 0.5 && low * (high - low) > 1) {
    // An exponential distribution with the slope of the density at the lower bound.
    const reach = -Math.expm1(-low * (high - low));
    return accepted(
      (u) => low - Math.log1p(-u * reach) / low,
      (x) => Math.exp(-((x - low) ** 2) / 2),
    );
  }
  if (high - low < 2.5) {
    const top = Math.max(0, low);
    return accepted(
      (u) => low + u * (high - low),
      (x) => Math.exp((top * top - x * x) / 2),
    );
  }
  return () => {
    for (;;) {
      const [x] = generator.normal(pair);
      if (x >= low && x <= high) return x;
    }
  };
}

/**
 * Fills a weight with a (semi-)orthogonal matrix times the gain; more than two dimensions are taken as [first, product of the
 * others] ([Saxe, McClelland and Ganguli 2014](https://arxiv.org/abs/1312.6120)). Same as
 * [torch.nn.init.orthogonal_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.orthogonal_).
 *
 * @param target a leaf tensor of at least two dimensions, such as a layer's weight
 * @param gain the factor
 * @returns `target`
 * @throws TapegradError for fewer than two dimensions, a gain that is not finite, and if `target` is not a leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * const { weight } = new nn.Linear(4, 2);
 * nn.init.orthogonal(weight);
 * console.log(weight.matmul(weight.t()).toArraySync()); // about [[1, 0], [0, 1]]
 * ```
 */
export function orthogonal(target: Tensor, gain = 1): Tensor {
  const op = 'init.orthogonal';
  checkTarget(op, target);
  checkNumber(op, 'gain', gain);
  if (target.ndim < 2)
    fail(op, `a tensor of shape ${show(target.shape)} is not a matrix`, 'pass at least two dimensions', {
      shapes: [target.shape],
    });
  if (target.size === 0) return target;
  const rows = target.shape[0];
  const cols = target.size / rows;
  const [count, length] = rows < cols ? [rows, cols] : [cols, rows];
  const vectors: Float64Array[] = [];
  while (vectors.length < count) {
    const v = generator.normal(new Float64Array(length));
    // Once is not enough for numbers with 53 digits, twice is (Giraud, Langou and Rozloznik 2005).
    for (let pass = 0; pass < 2; pass++) for (const other of vectors) subtract(v, other);
    const norm = Math.sqrt(dot(v, v));
    if (norm < 1e-6) continue;
    vectors.push(v.map((x) => x / norm));
  }
  const at = (r: number, c: number) => (rows < cols ? vectors[r][c] : vectors[c][r]);
  writeValues(
    target,
    Float64Array.from({ length: target.size }, (_, i) => gain * at(Math.floor(i / cols), i % cols)),
  );
  return target;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Makes v orthogonal to a unit vector. */
function subtract(v: Float64Array, unit: Float64Array): void {
  const share = dot(v, unit);
  for (let i = 0; i < v.length; i++) v[i] -= share * unit[i];
}

/**
 * Fills a matrix with ones on its diagonal and zeros elsewhere. Same as
 * [torch.nn.init.eye_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.eye_).
 *
 * @param target a leaf tensor of two dimensions
 * @returns `target`
 * @throws TapegradError for another number of dimensions, and if `target` is not a leaf tensor
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * console.log(nn.init.eye(new nn.Linear(2, 2).weight).toArraySync()); // [[1, 0], [0, 1]]
 * ```
 */
export function eye(target: Tensor): Tensor {
  const op = 'init.eye';
  checkTarget(op, target);
  if (target.ndim !== 2)
    fail(op, `a tensor of shape ${show(target.shape)} is not a matrix`, 'pass two dimensions', {
      shapes: [target.shape],
    });
  const [, cols] = target.shape;
  writeValues(
    target,
    Float32Array.from({ length: target.size }, (_, i) => (Math.floor(i / cols) === i % cols ? 1 : 0)),
  );
  return target;
}
