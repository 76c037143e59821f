import { noGrad } from '../autograd/mode.js';
import { full } from '../create.js';
import { checkNumber, checkOptions, describe, fail } from '../errors.js';
import { hold } from '../lifetime.js';
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
    const { backend, device } = gradients[0];
    const mixed = gradients.find((g) => g.backend !== backend);
    if (mixed !== undefined && gradients.some((g) => g.backend.readSync === undefined)) {
      fail(op, `there are gradients on '${device}' and '${mixed.device}'`, 'clip those of each device on their own');
    }
    const norms = gradients.map((g) => normOf(g, normType).to(device));
    const total = norms.length === 1 ? norms[0] : joined(norms, normType);
    if (errorIfNonfinite) requireFinite(op, total, normType);
    const factor = full([], maxNorm, { device }).div(total.add(EPSILON)).minimum(1);
    // Where the host can look, gradients that are short enough stay as they are.
    if (backend.readSync?.(factor.storage)[0] !== 1) {
      for (const p of owners) replace(p, (g) => g.mul(factor.to(g.device)));
    }
    return total;
  });
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

/** (Σ |x|^p)^(1/p), a scalar. */
function normOf(x: Tensor, p: number): Tensor {
  return p === Infinity ? x.abs().max() : root(power(x, p).sum(), p);
}

/** The norm of norms. */
function joined(norms: readonly Tensor[], p: number): Tensor {
  if (p === Infinity) return norms.reduce((a, b) => a.maximum(b));
  return root(
    norms.map((n) => power(n, p)).reduce((a, b) => a.add(b)),
    p,
  );
}

/** |x|^p; products and roots are more exact than pow. */
function power(x: Tensor, p: number): Tensor {
  if (p === 2) return x.mul(x);
  return p === 1 ? x.abs() : x.abs().pow(p);
}

function root(x: Tensor, p: number): Tensor {
  if (p === 2) return x.sqrt();
  return p === 1 ? x : x.pow(1 / p);
}

function requireFinite(op: string, total: Tensor, p: number): void {
  const { backend, device } = total;
  if (backend.readSync === undefined) {
    const problem = `errorIfNonfinite on the device '${device}', from which the host cannot read without waiting`;
    fail(op, problem, 'look at await norm.item() instead, or pass a guard to optimizer.step');
  }
  const norm = backend.readSync(total.storage)[0];
  if (Number.isFinite(norm)) return;
  fail(op, `the norm of order ${p} is ${norm}`, 'use a smaller learning rate, or leave errorIfNonfinite out');
}

function replace(p: Tensor, change: (g: Tensor) => Tensor): void {
  const g = change(p.gradient!);
  hold(g.raw);
  p.replaceGradient(g);
}
