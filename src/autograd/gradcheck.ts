import type { Floats } from '../backends/backend.js';
import { ReferenceBackend } from '../backends/reference.js';
import { withBackend } from '../backends/registry.js';
import { tensor } from '../create.js';
import { checkNumber, checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../tensor.js';
import { backward } from './backward.js';

/** Options of `gradcheck`. */
export interface GradcheckOptions {
  /** The step size of the central differences; above 0. Default 1e-5. */
  eps?: number;
  /** The absolute tolerance. Default 1e-6. */
  atol?: number;
  /** The relative tolerance. Default 1e-4. */
  rtol?: number;
  /** Whether to check second derivatives, too: the gradients of the gradients. Default false. */
  secondOrder?: boolean;
}

/**
 * Compares the gradients of `fn` with central differences, both in double precision. As
 * [torch.autograd.gradcheck](https://docs.pytorch.org/docs/stable/generated/torch.autograd.gradcheck.gradcheck.html).
 *
 * @param fn computes one tensor of any shape from the inputs, by differentiable operations only
 * @param inputs the point at which to check; inputs that require a gradient are varied. They are copied, not changed.
 * @param options the tolerances, and whether to check second derivatives
 * @returns true; a difference is an error
 * @throws TapegradError if a gradient differs, with the input, the element and both numbers; also for invalid arguments
 * @example
 * ```ts
 * import { gradcheck, tensor } from 'tapegrad';
 *
 * const x = tensor([0.5, -1, 2], { requiresGrad: true });
 * gradcheck((x) => x.sigmoid().mul(x), [x], { secondOrder: true });
 * ```
 */
export function gradcheck(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): true {
  checkOptions('gradcheck', options, ['eps', 'atol', 'rtol', 'secondOrder']);
  const tolerance = {
    eps: checkNumber('gradcheck', 'eps', options.eps ?? 1e-5, Number.MIN_VALUE),
    atol: checkNumber('gradcheck', 'atol', options.atol ?? 1e-6, 0),
    rtol: checkNumber('gradcheck', 'rtol', options.rtol ?? 1e-4, 0),
  };
  if (typeof fn !== 'function') fail('gradcheck', `fn is ${describe(fn)}`, 'pass a function of tensors');
  if (!Array.isArray(inputs)) fail('gradcheck', `inputs is ${describe(inputs)}`, 'pass an array of tensors');
  for (const [i, t] of inputs.entries())
    if (!(t instanceof Tensor)) fail('gradcheck', `inputs[${i}] is ${describe(t)}`, 'pass tensors');
  if (!inputs.some((t) => t.requiresGrad)) {
    fail('gradcheck', 'no input requires a gradient', 'make the inputs with requiresGrad: true');
  }
  const points = inputs.map((t) => ({ shape: t.shape, values: hostValues(t), varied: t.requiresGrad }));
  double ??= new ReferenceBackend('reference', 'gradient checks need double precision', 'float64');
  withBackend('reference', double, () => {
    compare('gradient', fn, points, tolerance);
    if (options.secondOrder) compare('second derivative', gradientOf(fn, points), points, tolerance);
  });
  return true;
}

/** The backend of the checks; tensors that `fn` makes without a device, or on that of an input, are in double precision too. */
let double: ReferenceBackend | null = null;

interface Point {
  readonly shape: readonly number[];
  readonly values: Floats;
  readonly varied: boolean;
}

const leaf = ({ shape, values, varied }: Point): Tensor => tensor(values, { shape, requiresGrad: varied });

function hostValues(t: Tensor): Floats {
  if (t.backend.readSync === undefined) fail('gradcheck', `an input is on '${t.device}'`, "move it with .to('cpu')");
  return t.peek()!;
}

/** Fixed, unequal weights of the elements of a result, which reduce it to one number. */
function weights(shape: readonly number[], size: number): Tensor {
  return tensor(
    Float64Array.from({ length: size }, (_, i) => 0.5 + ((i * 0.6180339887) % 1)),
    { shape },
  );
}

function weigh(out: Tensor): Tensor {
  if (!(out instanceof Tensor)) fail('gradcheck', `the function returned ${describe(out)}`, 'return one tensor');
  return out.mul(weights(out.shape, out.size)).sum();
}

/** The weighted sum of all first gradients, as a function that can be differentiated once more. */
function gradientOf(fn: (...inputs: Tensor[]) => Tensor, points: readonly Point[]): (...inputs: Tensor[]) => Tensor {
  return (...inputs) => {
    const out = weigh(fn(...inputs));
    if (out.requiresGrad) backward(out, undefined, { createGraph: true });
    let sum = tensor(0);
    inputs.forEach((t, i) => {
      if (points[i].varied && t.grad !== null) sum = sum.add(weigh(t.grad));
      t.grad = null;
    });
    return sum;
  };
}

function compare(
  what: string,
  fn: (...inputs: Tensor[]) => Tensor,
  points: readonly Point[],
  { eps, atol, rtol }: { eps: number; atol: number; rtol: number },
): void {
  const leaves = points.map(leaf);
  const out = weigh(fn(...leaves));
  if (out.requiresGrad) backward(out, undefined);
  points.forEach((point, i) => {
    if (!point.varied) return;
    const analytic = leaves[i].grad === null ? new Float64Array(point.values.length) : hostValues(leaves[i].grad);
    for (let j = 0; j < point.values.length; j++) {
      const at = (step: number) => {
        const moved = points.map((p, k) =>
          k === i ? { ...p, values: Float64Array.from(p.values, (v, l) => (l === j ? v + step : v)) } : p,
        );
        return hostValues(weigh(fn(...moved.map(leaf))))[0];
      };
      const numeric = (at(eps) - at(-eps)) / (2 * eps);
      if (!(Math.abs(analytic[j] - numeric) <= atol + rtol * Math.abs(numeric))) {
        fail(
          'gradcheck',
          `the ${what} of input ${i} ${show(point.shape)}, element ${j}, is ${analytic[j]}, by differences ${numeric}`,
          'the derivative of an operation is wrong, or the function is not smooth there',
          { shapes: [point.shape] },
        );
      }
    }
  });
}
