/**
 * Gradient clipping, and parameters as one vector, same as torch.nn.utils. A clipped gradient is a new tensor, so that references to the previous gradient
 * keep its values.
 *
 * @module
 */

import { noGrad } from '../autograd/mode.js';
import { full } from '../create.js';
import { checkNumber, checkOptions, describe, fail, show } from '../errors.js';
import { retain } from '../lifetime.js';
import { Tensor } from '../methods.js';
import { cat } from '../ops/join.js';

/** Prevents a division by a norm of 0; the value of PyTorch. */
const EPSILON = 1e-6;

/** Options of {@link clipGradNorm}. */
export interface ClipGradNormOptions {
  /** The order p of the norm: above 0, or Infinity for the largest absolute value. Default 2. */
  normType?: number;
  /** Whether to throw if the norm is NaN or infinite; only on devices that the host can read synchronously. Default false. */
  errorIfNonfinite?: boolean;
}

/**
 * Scales the gradients of all parameters so that their total norm, as one vector, is at most `maxNorm`. If the norm is not
 * finite, the results are those of PyTorch: NaN, or 0 beside infinities. Does not wait for the GPU. Same as
 * [torch.nn.utils.clip_grad_norm_](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html).
 *
 * @param parameters a tensor or an iterable of tensors, such as model.parameters(); tensors without a gradient are skipped
 * @param maxNorm the largest norm: at least 0, or Infinity
 * @param options order of the norm, and whether to throw for a norm that is not finite
 * @returns the norm before clipping, a scalar; 0 if there is no gradient
 * @throws TapegradError for arguments out of range, with `errorIfNonfinite` for a norm that is not finite, and for gradients on
 *   several devices if the host cannot read one of them synchronously
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const w = new nn.Parameter(tensor([3, 4]));
 * w.mul(w).sum().backward(); // the gradient [6, 8] has the norm 10
 * console.log(nn.utils.clipGradNorm(w, 5).itemSync()); // 10
 * console.log(w.grad?.toArraySync()); // about [3, 4]
 * ```
 */
export function clipGradNorm(
  parameters: Tensor | Iterable<Tensor>,
  maxNorm: number,
  options: ClipGradNormOptions = {},
): Tensor {
  const op = 'clipGradNorm';
  const owners = withGradients(op, parameters);
  checkOptions(op, options, ['normType', 'errorIfNonfinite']);
  const { normType = 2, errorIfNonfinite = false } = options;
  if (maxNorm !== Infinity) checkNumber(op, 'maxNorm', maxNorm, 0);
  if (normType !== Infinity) checkNumber(op, 'normType', normType, Number.MIN_VALUE);
  if (typeof errorIfNonfinite !== 'boolean')
    fail(op, `errorIfNonfinite is ${describe(errorIfNonfinite)}`, 'pass true or false');
  if (owners.length === 0) return full([], 0);
  return noGrad(() => {
    const gradients = owners.map((p) => p.gradient!);
    const readable = gradients.every((g) => g.backend.readSync !== undefined);
    if (errorIfNonfinite && !readable) {
      const problem = `errorIfNonfinite on the device '${gradients[0].device}', which the host cannot read synchronously`;
      fail(op, problem, 'check await norm.item() instead, or pass a guard to optimizer.step');
    }
    if (!readable) return clipOnDevice(op, owners, gradients, maxNorm, normType);
    const norm = normOnHost(gradients, normType);
    if (errorIfNonfinite && !Number.isFinite(norm)) {
      const remedy = 'use a smaller learning rate, or leave errorIfNonfinite out';
      fail(op, `the norm of order ${normType} is ${norm}`, remedy);
    }
    // Gradients within the limit are not scaled.
    const factor = Math.min(1, maxNorm / (norm + EPSILON));
    if (factor !== 1) for (const p of owners) replace(p, (g) => g.mul(factor));
    return full([], norm, { device: gradients[0].device });
  });
}

/** The norm as a number, for gradients that the host can read synchronously, on any device. */
function normOnHost(gradients: readonly Tensor[], p: number): number {
  const parts = gradients.map((g) => {
    const part = contribution(g, p);
    return part.itemSync();
  });
  if (p === Infinity) return Math.max(...parts);
  const sum = parts.reduce((a, b) => a + b);
  return p === 2 ? Math.sqrt(sum) : sum ** (1 / p);
}

/** Clips with operations on the device, without waiting for results. */
function clipOnDevice(
  op: string,
  owners: readonly Tensor[],
  gradients: readonly Tensor[],
  maxNorm: number,
  p: number,
): Tensor {
  const { backend, device } = gradients[0];
  const other = gradients.find((g) => g.backend !== backend);
  if (other !== undefined) {
    fail(
      op,
      `there are gradients on '${device}' and '${other.device}'`,
      'clip the gradients of each device separately',
    );
  }
  const sum = gradients.map((g) => contribution(g, p)).reduce((a, b) => (p === Infinity ? a.maximum(b) : a.add(b)));
  const norm = p === 2 ? sum.sqrt() : p === 1 || p === Infinity ? sum : sum.pow(1 / p);
  const factor = full([], maxNorm, { device }).div(norm.add(EPSILON)).minimum(1);
  for (const owner of owners) replace(owner, (g) => g.mul(factor));
  return norm;
}

/**
 * Clamps each element of the gradients to the range from -clipValue to clipValue; NaN stays NaN. Same as
 * [torch.nn.utils.clip_grad_value_](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html).
 *
 * @param parameters a tensor or an iterable of tensors, such as model.parameters(); tensors without a gradient are skipped
 * @param clipValue the largest absolute value: at least 0, or Infinity
 * @throws TapegradError for arguments out of range
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const w = new nn.Parameter(tensor([1, 10]));
 * w.mul(w).sum().backward();
 * nn.utils.clipGradValue(w, 5);
 * console.log(w.grad?.toArraySync()); // [2, 5]
 * ```
 */
export function clipGradValue(parameters: Tensor | Iterable<Tensor>, clipValue: number): void {
  const owners = withGradients('clipGradValue', parameters);
  if (clipValue !== Infinity) checkNumber('clipGradValue', 'clipValue', clipValue, 0);
  noGrad(() => {
    for (const p of owners) replace(p, (g) => g.maximum(-clipValue).minimum(clipValue));
  });
}

/**
 * The elements of all parameters, one after the other. Gradients flow through it. Same as
 * [torch.nn.utils.parameters_to_vector](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parameters_to_vector.html).
 *
 * @param parameters tensors on one device, such as model.parameters()
 * @returns a tensor of one dimension
 * @throws TapegradError for values that are not tensors on one device, and no tensors
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * console.log(nn.utils.parametersToVector(new nn.Linear(3, 2).parameters()).shape); // [8]
 * ```
 */
export function parametersToVector(parameters: Iterable<Tensor>): Tensor {
  const all = tensorsOf('parametersToVector', parameters);
  if (all.length === 0) fail('parametersToVector', 'there are no parameters', 'pass model.parameters()');
  return cat(all.map((p) => p.reshape([p.size])));
}

/**
 * Overwrites parameters in place with the elements of a vector. Same as
 * [torch.nn.utils.vector_to_parameters](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.vector_to_parameters.html).
 *
 * @param vector as many elements as the parameters have together, shape [n]
 * @param parameters the tensors to overwrite, such as model.parameters()
 * @throws TapegradError for values that are not tensors, and a vector of another shape
 * @example
 * ```ts
 * import { nn, zeros } from 'tapegrad';
 *
 * const layer = new nn.Linear(3, 2);
 * nn.utils.vectorToParameters(zeros([8]), layer.parameters());
 * console.log(layer.bias?.toArraySync()); // [0, 0]
 * ```
 */
export function vectorToParameters(vector: Tensor, parameters: Iterable<Tensor>): void {
  const op = 'vectorToParameters';
  if (!(vector instanceof Tensor)) fail(op, `the vector is ${describe(vector)}`, 'pass a tensor');
  const all = tensorsOf(op, parameters);
  const size = all.reduce((sum, p) => sum + p.size, 0);
  if (vector.ndim !== 1 || vector.size !== size)
    fail(op, `the vector has shape ${show(vector.shape)}`, `pass the ${size} elements of the parameters, [${size}]`, {
      shapes: [vector.shape],
    });
  noGrad(() => {
    // A copy, so that parameters that share numbers with the vector do not change it on the way.
    const source = vector.clone();
    let at = 0;
    for (const p of all) {
      p.copyFrom(source.narrow(0, at, p.size).reshape(p.shape));
      at += p.size;
    }
  });
}

/** The parameters that have a gradient, each once. */
function withGradients(op: string, parameters: unknown): Tensor[] {
  const given = parameters instanceof Tensor ? [parameters] : parameters;
  return [...new Set(tensorsOf(op, given))].filter((p) => p.gradient !== null);
}

/** Requires tensors. */
function tensorsOf(op: string, given: unknown): Tensor[] {
  if (typeof given !== 'object' || given === null || !(Symbol.iterator in given)) {
    fail(op, `the parameters are ${describe(given)}`, 'pass model.parameters()');
  }
  return [...(given as Iterable<unknown>)].map((p, i) => {
    if (!(p instanceof Tensor))
      fail(op, `parameter ${i} is ${describe(p)}`, 'pass tensors, such as model.parameters()');
    return p;
  });
}

/** The contribution of one tensor to the norm: Σ |x|^p, or max |x|. */
function contribution(x: Tensor, p: number): Tensor {
  // A product is more accurate than a power.
  const powers = p === 2 ? x.mul(x) : p === 1 || p === Infinity ? x.abs() : x.abs().pow(p);
  const part = p === Infinity ? powers.max() : powers.sum();
  powers.dispose();
  return part;
}

function replace(p: Tensor, change: (g: Tensor) => Tensor): void {
  const g = change(p.gradient!);
  retain(g.storage);
  p.replaceGradient(g);
}
