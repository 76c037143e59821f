import { noGrad } from '../autograd/mode.js';
import { full } from '../create.js';
import { checkNumber, checkOptions, describe, fail } from '../errors.js';
import { retain } from '../lifetime.js';
import { Tensor } from '../methods.js';

// As torch.nn.utils. A clipped gradient takes the place of the one before, which whoever holds it keeps as it was.

/** Keeps a norm of 0 from being divided by; PyTorch's number. */
const EPSILON = 1e-6;

export interface ClipGradNormOptions {
  /** The p of the norm: above 0, or Infinity for the largest absolute value. Default 2. */
  normType?: number;
  /** Throw if the norm is NaN or infinite, which needs a device that the host can read from at once. Default false. */
  errorIfNonfinite?: boolean;
}

/**
 * Scales the gradients of all parameters so that their norm, taken over all of them as one vector, is at most `maxNorm`.
 * Where the norm is not finite the gradients become what PyTorch makes of them: NaN, or 0 beside infinities. The GPU is not
 * waited for.
 *
 * @param parameters a tensor or many, such as model.parameters(); those without a gradient do not count
 * @returns the norm before, a scalar; 0 if there is no gradient
 * @throws TapegradError for arguments that are out of range, and for gradients on several devices one of which cannot be
 *   read at once
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
      const problem = `errorIfNonfinite on the device '${gradients[0].device}', from which the host cannot read without waiting`;
      fail(op, problem, 'look at await norm.item() instead, or pass a guard to optimizer.step');
    }
    if (!readable) return clipOnDevice(op, owners, gradients, maxNorm, normType);
    const norm = normOnHost(gradients, normType);
    if (errorIfNonfinite && !Number.isFinite(norm)) {
      const remedy = 'use a smaller learning rate, or leave errorIfNonfinite out';
      fail(op, `the norm of order ${normType} is ${norm}`, remedy);
    }
    // Gradients that are short enough stay as they are.
    const factor = Math.min(1, maxNorm / (norm + EPSILON));
    if (factor !== 1) for (const p of owners) replace(p, (g) => g.mul(factor));
    return full([], norm, { device: gradients[0].device });
  });
}

/** The norm as a number, for gradients that the host can read, wherever they are. */
function normOnHost(gradients: readonly Tensor[], p: number): number {
  const parts = gradients.map((g) => {
    const part = partOf(g, p);
    return part.itemSync();
  });
  if (p === Infinity) return Math.max(...parts);
  const sum = parts.reduce((a, b) => a + b);
  return p === 2 ? Math.sqrt(sum) : sum ** (1 / p);
}

/** Clips with operations of the device only, for which nobody waits. */
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
    fail(op, `there are gradients on '${device}' and '${other.device}'`, 'clip those of each device on their own');
  }
  const sum = gradients.map((g) => partOf(g, p)).reduce((a, b) => (p === Infinity ? a.maximum(b) : a.add(b)));
  const norm = p === 2 ? sum.sqrt() : p === 1 || p === Infinity ? sum : sum.pow(1 / p);
  const factor = full([], maxNorm, { device }).div(norm.add(EPSILON)).minimum(1);
  for (const owner of owners) replace(owner, (g) => g.mul(factor));
  return norm;
}

/**
 * Puts every number of the gradients into the range from -clipValue to clipValue; NaN stays.
 *
 * @param parameters a tensor or many, such as model.parameters(); those without a gradient do not count
 * @throws TapegradError for arguments that are out of range
 */
export function clipGradValue(parameters: Tensor | Iterable<Tensor>, clipValue: number): void {
  const owners = withGradients('clipGradValue', parameters);
  if (clipValue !== Infinity) checkNumber('clipGradValue', 'clipValue', clipValue, 0);
  noGrad(() => {
    for (const p of owners) replace(p, (g) => g.maximum(-clipValue).minimum(clipValue));
  });
}

/** The parameters that have a gradient, each once. */
function withGradients(op: string, parameters: unknown): Tensor[] {
  const given = parameters instanceof Tensor ? [parameters] : parameters;
  if (typeof given !== 'object' || given === null || !(Symbol.iterator in given)) {
    fail(op, `the parameters are ${describe(given)}`, 'pass model.parameters()');
  }
  const list: unknown[] = [...new Set(given as Iterable<unknown>)];
  return list.filter((p, i): p is Tensor => {
    if (!(p instanceof Tensor))
      fail(op, `parameter ${i} is ${describe(p)}`, 'pass tensors, such as model.parameters()');
    return p.gradient !== null;
  }) as Tensor[];
}

/** Σ |x|^p, or max |x|: what the norm is made of. */
function partOf(x: Tensor, p: number): Tensor {
  // A product is more exact than a power.
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
