import type { Backend, SgdUpdate } from '../backends/backend.js';
import { zeros } from '../create.js';
import { checkNumber, checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { sameShape } from '../shape.js';

export interface SGDOptions {
  /** The learning rate α of θ ← θ - α ∇J. */
  lr: number;
  /** How much of the last update goes on. Default 0. */
  momentum?: number;
  /** How much of the gradient is held back from the momentum. Default 0. */
  dampening?: number;
  /** The L2 penalty, added to the gradient as weightDecay θ. Default 0. */
  weightDecay?: number;
  /** Look ahead along the momentum. Needs momentum and no dampening. Default false. */
  nesterov?: boolean;
}

/** What SGD needs to go on elsewhere: its numbers, and the velocity of each parameter, null before its first step. */
export interface SGDState {
  options: Required<SGDOptions>;
  velocities: (Tensor | null)[];
}

/**
 * Stochastic gradient descent, with momentum as in torch.optim.SGD: d = g + weightDecay θ; v ← momentum v + (1 -
 * dampening) d, d at first; θ ← θ - lr (nesterov ? d + momentum v : v). Parameters without a gradient stay.
 */
export class SGD {
  readonly parameters: readonly Tensor[];
  /** May be changed between steps, for a schedule. */
  options: Required<SGDOptions>;
  #velocities: (Tensor | null)[];

  /**
   * @param parameters leaves that require a gradient, such as model.parameters()
   * @throws TapegradError for no parameters, results in the place of leaves, and numbers that are not finite or negative
   */
  constructor(parameters: Iterable<Tensor>, options: SGDOptions) {
    this.parameters = [...new Set(parameters)];
    if (this.parameters.length === 0)
      fail('SGD', 'there are no parameters', 'pass model.parameters() of a model whose layers are ordinary fields');
    this.parameters.forEach((p, i) => {
      if (!(p instanceof Tensor))
        fail('SGD', `parameter ${i} is ${describe(p)}`, 'pass tensors, such as model.parameters()');
      if (!p.requiresGrad || !p.isLeaf)
        fail(
          'SGD',
          `parameter ${i} of shape ${show(p.shape)} is ${p.isLeaf ? 'a tensor that requires no gradient' : 'a result, not a leaf'}`,
          'pass leaves made with requiresGrad: true',
        );
    });
    this.options = checkRule(options);
    this.#velocities = this.parameters.map(() => null);
  }

  /** Updates every parameter that has a gradient, in place. @throws TapegradError for a learning rate that is not finite */
  step(): void {
    const options = checkRule(this.options);
    const rule = { ...options, outdated: () => !sameRule(options, this.options) };
    let backend: Backend | null = null;
    let updates: SgdUpdate[] = [];
    for (let i = 0; i < this.parameters.length; i++) {
      const p = this.parameters[i];
      const g = p.gradient;
      if (g === null) continue;
      const firstStep = this.#velocities[i] === null;
      if (rule.momentum !== 0 && firstStep) this.#velocities[i] = zeros(p.shape, { device: p.device });
      else if (!firstStep) this.#velocities[i] = this.#velocities[i]!.to(p.device); // where the parameter has moved to
      const velocity = rule.momentum !== 0 ? this.#velocities[i]!.storage : null;
      // Parameters that follow each other on one device are updated together.
      if (backend !== null && backend !== p.backend) {
        backend.sgd(rule, updates);
        updates = [];
      }
      backend = p.backend;
      updates.push({ parameter: p.storage, gradient: g.storage, velocity, firstStep });
    }
    backend?.sgd(rule, updates);
  }

  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    for (const p of this.parameters) p.grad = null;
  }

  /** A copy of everything that the next step depends on beside parameters and gradients. */
  stateDict(): SGDState {
    return { options: { ...this.options }, velocities: this.#velocities.map((v) => (v === null ? null : v.clone())) };
  }

  /** Continues from a saved state. Nothing is changed if it does not fit. @throws TapegradError if it belongs to other parameters */
  loadStateDict(state: SGDState): void {
    const { velocities } = state;
    if (!Array.isArray(velocities) || velocities.length !== this.parameters.length) {
      fail(
        'SGD.loadStateDict',
        `the state has ${Array.isArray(velocities) ? velocities.length : 'no'} velocities for ${this.parameters.length} parameters`,
        'load the state of an optimizer over the same parameters',
      );
    }
    velocities.forEach((v, i) => {
      const { shape } = this.parameters[i];
      if (v !== null && !(v instanceof Tensor && sameShape(v.shape, shape))) {
        fail(
          'SGD.loadStateDict',
          `velocity ${i} is ${v instanceof Tensor ? show(v.shape) : describe(v)} for a parameter of shape ${show(shape)}`,
          'load the state of an optimizer over the same parameters',
        );
      }
    });
    this.options = checkRule(state.options);
    this.#velocities = velocities.map((v, i) => (v === null ? null : v.to(this.parameters[i].device).clone()));
  }
}

function sameRule(rule: Required<SGDOptions>, options: SGDOptions): boolean {
  const now = checkRule(options);
  return (Object.keys(rule) as (keyof SGDOptions)[]).every((key) => rule[key] === now[key]);
}

function checkRule(options: SGDOptions): Required<SGDOptions> {
  checkOptions('SGD', options, ['lr', 'momentum', 'dampening', 'weightDecay', 'nesterov']);
  const { lr, momentum = 0, dampening = 0, weightDecay = 0, nesterov = false } = options;
  checkNumber('SGD', 'lr', lr, 0);
  checkNumber('SGD', 'momentum', momentum, 0);
  checkNumber('SGD', 'dampening', dampening);
  checkNumber('SGD', 'weightDecay', weightDecay, 0);
  if (typeof nesterov !== 'boolean') fail('SGD', `nesterov is ${describe(nesterov)}`, 'pass true or false');
  if (nesterov && (momentum === 0 || dampening !== 0))
    fail(
      'SGD',
      `nesterov with momentum ${momentum} and dampening ${dampening}`,
      'nesterov needs a momentum above 0 and no dampening',
    );
  return { lr, momentum, dampening, weightDecay, nesterov };
}
