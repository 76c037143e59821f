import { zeros } from '../create.js';
import { checkBoolean, checkNumber, checkOptions, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import { update, updateRow } from '../ops/fused.js';
import { Optimizer, type ParameterState, type ParamGroup, type ParamGroupOptions } from './optimizer.js';

/** The hyperparameters of `SGD`. */
export interface SGDOptions {
  /** The learning rate α of θ ← θ - α ∇J; at least 0. */
  lr: number;
  /** The factor of the last velocity in the new one; at least 0. Default 0. */
  momentum?: number;
  /** The gradient enters the velocity with the factor 1 - dampening. Default 0. */
  dampening?: number;
  /** The L2 penalty, added to the gradient as weightDecay θ; at least 0. Default 0. */
  weightDecay?: number;
  /** Nesterov momentum. Requires a momentum above 0 and no dampening. Default false. */
  nesterov?: boolean;
}

/** The format of a state in versions before param groups. */
export interface SGDState {
  /** The hyperparameters. */
  options: Required<SGDOptions>;
  /** The velocity of each parameter, of its shape; null before its first step with momentum. */
  velocities: (Tensor | null)[];
}

const KEYS = ['lr', 'momentum', 'dampening', 'weightDecay', 'nesterov'] as const;
const KNOWN = ['params', ...KEYS];

/**
 * One update: d = g + weightDecay p; v = momentum v + (1 - dampening) d, or d at first; p -= lr (nesterov ? d + momentum v :
 * v). Operands: p, g, v (null without momentum); numbers: lr, momentum, dampening, weightDecay, nesterov, first step. The
 * fourth operand is used where only the device knows whether there was a step: one number, 0 before the first step.
 */
const row = /* @__PURE__ */ updateRow({
  name: 'sgd',
  changes: [0, 2, 3],
  flops: ([, momentum, , weightDecay]) => 2 + (momentum ? 2 : 0) + (weightDecay ? 2 : 0),
  equals: ([p, g, v], [lr, momentum, dampening, weightDecay, nesterov, first]) => {
    const d = weightDecay === 0 ? g! : g!.add(p!.mul(weightDecay));
    if (v === null) return [p!.sub(d.mul(lr)), null];
    const velocity = first ? d : v.mul(momentum).add(d.mul(1 - dampening));
    return [p!.sub((nesterov ? d.add(velocity.mul(momentum)) : velocity).mul(lr)), velocity];
  },
});

/**
 * Stochastic gradient descent, with momentum as in
 * [torch.optim.SGD](https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html): d = g + weightDecay θ;
 * v ← momentum v + (1 - dampening) d, in the first step v ← d; θ ← θ - lr (nesterov ? d + momentum v : v). Parameters without
 * a gradient do not change.
 *
 * @example
 * ```ts
 * import { nn, optim, randn, zeros } from 'tapegrad';
 *
 * const model = new nn.Linear(3, 1);
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
 * for (let step = 0; step < 10; step++) {
 *   optimizer.zeroGrad();
 *   nn.functional.mseLoss(model.forward(randn([8, 3])), zeros([8, 1])).backward();
 *   optimizer.step();
 * }
 * ```
 */
export class SGD extends Optimizer<SGDOptions> {
  /**
   * @param parameters leaf tensors such as model.parameters(); one that occurs twice counts once
   * @param options the hyperparameters; `lr` is required
   * @throws TapegradError for no parameters, tensors that are not leaves, and hyperparameters that are negative or not finite
   */
  constructor(parameters: Iterable<Tensor>, options: SGDOptions);
  /**
   * @param groups param groups: [{ params, lr … }]
   * @param options the hyperparameters of groups that do not have their own
   * @throws TapegradError for no parameters, tensors that are not leaves, a parameter in two groups, and hyperparameters that
   *   are negative or not finite
   */
  constructor(groups: Iterable<ParamGroupOptions<SGDOptions>>, options?: Partial<SGDOptions>);
  constructor(parameters: Iterable<Tensor> | Iterable<ParamGroupOptions<SGDOptions>>, options?: Partial<SGDOptions>) {
    super('SGD', checkRule, { velocity: 'like parameter', started: 'scalar' }, parameters, options);
  }

  /**
   * The only param group. Hyperparameters assigned here apply from the next step on.
   * @throws TapegradError if there are several groups, and on assigning invalid hyperparameters
   */
  get options(): ParamGroup<SGDOptions> {
    const { paramGroups } = this;
    if (paramGroups.length > 1)
      fail('SGD.options', `there are ${paramGroups.length} groups`, 'use paramGroups[i].lr and the like');
    return paramGroups[0];
  }

  /**
   * Replaces the hyperparameters of the only param group, from the next step on. What is left out gets its default.
   * @param value the hyperparameters, such as `{ ...optimizer.options, momentum: 0.9 }`; the parameters stay those of the group
   */
  set options(value: SGDOptions) {
    Object.assign(this.options, checkRule('SGD.options', value));
  }

  /** One step of SGD for one parameter. */
  protected override update(
    p: Tensor,
    g: Tensor,
    state: ParameterState,
    { lr, momentum, dampening, weightDecay, nesterov }: Required<SGDOptions>,
    guard: Tensor | null,
  ): void {
    const operands: (Tensor | null)[] = [p, g, null];
    let first = false;
    if (momentum !== 0) {
      const { shape, device } = p;
      first = !state.has('velocity');
      operands[2] = this.initState(p, state, 'velocity', () => zeros(shape, { device }));
      // Without dampening a velocity of 0 leads to the same first step as none. With it the device must know whether a step that
      // its guard may have refused was the first. Dampening that is assigned after a refused first step comes too late for that.
      if (first && guard !== null && dampening !== 0) {
        this.initState(p, state, 'started', () => zeros([], { device }));
      }
      const started = state.get('started');
      if (started !== undefined && p.backend.readSync !== undefined) {
        first = started.itemSync() === 0;
        state.delete('started');
      } else if (started !== undefined) operands.push(started);
    }
    update(row, operands, [lr, momentum, dampening, weightDecay, nesterov ? 1 : 0, first ? 1 : 0], guard);
  }

  /**
   * As Optimizer.stateDict.
   * @returns tensors by name; 'velocity.i' is the velocity of parameter i. For programs written for earlier versions the
   *   property `velocities` has them by parameter, null before the first step; it is not enumerable, so that `save` and loops
   *   get each tensor once.
   */
  override stateDict(): StateDict {
    const state = super.stateDict();
    const velocities = this.all.map((_, i) => state[`velocity.${i}`] ?? null);
    return Object.defineProperty(state, 'velocities', { value: velocities });
  }

  /**
   * Restores a state. The groups keep their parameters and get the hyperparameters of the state.
   * @param state a result of stateDict(), also one that was saved and loaded, or made by a version before param groups
   * @throws TapegradError if it belongs to other parameters, or is damaged; nothing changes then
   */
  override loadStateDict(state: StateDict | SGDState): void {
    if (!isFormer(state)) {
      super.loadStateDict(state);
      return;
    }
    const { groups, tensors } = fromFormer('SGD.loadStateDict', state, this.all.length);
    this.restore(groups, tensors);
  }
}

function isFormer(state: StateDict | SGDState): state is SGDState {
  return typeof state === 'object' && state !== null && Array.isArray(state.velocities) && !('paramGroups' in state);
}

/** Converts a state from the format before param groups. */
function fromFormer(op: string, { options, velocities }: SGDState, count: number) {
  if (velocities.length !== count) {
    fail(
      op,
      `the state has ${velocities.length} velocities for ${count} parameters`,
      'load the state of an optimizer over the same parameters',
    );
  }
  const kept = velocities.flatMap((v, i): [string, Tensor][] => (v === null ? [] : [[`velocity.${i}`, v]]));
  return { groups: [{ params: count, ...options }], tensors: Object.fromEntries(kept) };
}

function checkRule(op: string, options: SGDOptions): Required<SGDOptions> {
  checkOptions(op, options, KNOWN);
  const { lr, momentum = 0, dampening = 0, weightDecay = 0, nesterov = false } = options;
  checkNumber(op, 'lr', lr, 0);
  checkNumber(op, 'momentum', momentum, 0);
  checkNumber(op, 'dampening', dampening);
  checkNumber(op, 'weightDecay', weightDecay, 0);
  checkBoolean(op, 'nesterov', nesterov);
  if (nesterov && (momentum === 0 || dampening !== 0))
    fail(
      op,
      `nesterov with momentum ${momentum} and dampening ${dampening}`,
      'nesterov needs a momentum above 0 and no dampening',
    );
  return { lr, momentum, dampening, weightDecay, nesterov };
}
