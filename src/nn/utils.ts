import { noGrad } from '../autograd/mode.js';
import { checkNumber, fail } from '../errors.js';
import type { Tensor } from '../methods.js';

/**
 * Scales all gradients down together so that their norm is at most `maxNorm`, as torch.nn.utils.clip_grad_norm_.
 * @returns the norm before
 * @throws TapegradError for a maxNorm that is no number above 0, and where no parameter has a gradient
 */
export function clipGradNorm(parameters: Iterable<Tensor>, maxNorm: number): Tensor {
  checkNumber('clipGradNorm', 'maxNorm', maxNorm, Number.MIN_VALUE);
  const owners = [...parameters].filter((p) => p.gradient !== null);
  if (owners.length === 0) fail('clipGradNorm', 'no parameter has a gradient', 'call backward() first');
  return noGrad(() => {
    const squares = owners.map((p) => p.gradient!.mul(p.gradient!).sum());
    const norm = squares.reduce((a, b) => a.add(b)).sqrt();
    const scale = norm.add(1e-6).pow(-1).mul(maxNorm).minimum(1);
    for (const p of owners) p.grad = p.gradient!.mul(scale);
    return norm;
  });
}
