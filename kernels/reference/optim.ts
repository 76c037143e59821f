/** The hyperparameters of one SGD update. */
export interface Sgd {
  readonly lr: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
}

/** One SGD update in place, PyTorch's rule; `velocity` is used with momentum only, and set to d on the first step. */
export function sgd(
  rule: Sgd,
  p: Float32Array | Float64Array,
  g: ArrayLike<number>,
  velocity: Float32Array | Float64Array | null,
  firstStep: boolean,
): void {
  const { lr, momentum, dampening, weightDecay, nesterov } = rule;
  for (let i = 0; i < p.length; i++) {
    let d = g[i] + weightDecay * p[i];
    if (velocity) {
      velocity[i] = firstStep ? d : momentum * velocity[i] + (1 - dampening) * d;
      d = nesterov ? d + momentum * velocity[i] : velocity[i];
    }
    p[i] -= lr * d;
  }
}
