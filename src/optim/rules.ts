import type { Tensor } from '../methods.js';

// Formulas that several optimizers have, as compositions of operations.

/** a + weight (b - a), computed from the nearer end, so that a weight of 1 gives b; as torch.lerp. */
export function lerp(a: Tensor, b: Tensor, weight: number): Tensor {
  const way = b.sub(a);
  return weight < 0.5 ? a.add(way.mul(weight)) : b.add(way.mul(weight - 1));
}

/** 1 - betaᵗ for a tensor t, as a quotient of tanh: 1 - exp(x) would lose the digits of a small x. */
export function biasCorrection(t: Tensor, beta: number): Tensor {
  const half = t.mul(logOf(beta) / 2).tanh();
  return half.mul(-2).div(half.neg().add(1));
}

/** The logarithm of a beta; for 0 a number whose exponential is 0 and that can be multiplied. */
export const logOf = (beta: number): number => Math.max(Math.log(beta), -1e3);
