import { zeros } from '../create.js';
import { checkNumber, checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import { type UpdateRow, update } from '../ops/fused.js';
import { Optimizer, type ParameterState, type ParamGroup, type ParamGroupOptions } from './optimizer.js';

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

/** A state as versions before param groups saved it. */
export interface SGDState {
  options: Required<SGDOptions>;
  velocities: (Tensor | null)[];
}

const KEYS = ['lr', 'momentum', 'dampening', 'weightDecay', 'nesterov'] as const;
const KNOWN = ['params', ...KEYS];

/**
 * One update: d = g + weightDecay p; v = momentum v + (1 - dampening) d, or d at first; p -= lr (nesterov ? d + momentum v :
 * v). Operands: p, g, v (null without momentum); numbers: lr, momentum, dampening, weightDecay, nesterov, first step. A
 * fourth operand says where only the device knows whether there was a step: one number, 0 as long as there was none.
 */
const row: UpdateRow = {
  name: 'sgd',
  changes: [0, 2, 3],
  flops: ([, momentum, , weightDecay]) => 2 + (momentum ? 2 : 0) + (weightDecay ? 2 : 0),
  equals: ([p, g, v], [lr, momentum, dampening, weightDecay, nesterov, first]) => {
    const d = weightDecay === 0 ? g! : g!.add(p!.mul(weightDecay));
    if (v === null) return [p!.sub(d.mul(lr)), null];
    const velocity = first ? d : v.mul(momentum).add(d.mul(1 - dampening));
    return [p!.sub((nesterov ? d.add(velocity.mul(momentum)) : velocity).mul(lr)), velocity];
  },
};

/**
 * Stochastic gradient descent, with momentum as in torch.optim.SGD: d = g + weightDecay θ; v ← momentum v + (1 -
 * dampening) d, d at first; θ ← θ - lr (nesterov ? d + momentum v : v). Parameters without a gradient stay.
 */
export class SGD extends Optimizer<SGDOptions> {
  /**
   * @param parameters leaves such as model.parameters(), or groups of them, [{ params, lr … }]; those without a gradient
   *   stay as they are, and one that comes twice in a list counts once
   * @throws TapegradError for no parameters, results in the place of leaves, a parameter in two groups, and numbers that are
   *   not finite or negative
   */
  constructor(parameters: Iterable<Tensor>, options: SGDOptions);
  constructor(groups: Iterable<ParamGroupOptions<SGDOptions>>, options?: Partial<SGDOptions>);
  constructor(parameters: Iterable<Tensor> | Iterable<ParamGroupOptions<SGDOptions>>, options?: Partial<SGDOptions>) {
    super('SGD', checkRule, { velocity: 'like parameter', started: 'scalar' }, parameters, options);
  }

  /**
   * The numbers of the one group; what is assigned here counts from the next step on.
   * @throws TapegradError with several groups, each of which has numbers of its own
   */
  get options(): ParamGroup<SGDOptions> {
    const { paramGroups } = this;
    if (paramGroups.length > 1)
      fail('SGD.options', `there are ${paramGroups.length} groups`, 'use paramGroups[i].lr and the like');
    return paramGroups[0];
  }

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
      first = !state.has('velocity');
      if (first) {
        state.set('velocity', zeros(p.shape, { device: p.device }));
        // Without dampening a velocity of 0 leads to the same first step as none. With it somebody must know whether a step
        // that a guard on the device may have refused was the first.
        if (guard !== null && dampening !== 0) state.set('started', zeros([], { device: p.device }));
      }
      operands[2] = state.get('velocity')!;
      const started = state.get('started');
      if (started !== undefined && p.backend.readSync !== undefined) {
        first = started.itemSync() === 0;
        state.delete('started');
      } else if (started !== undefined) operands.push(started);
    }
    update(row, operands, [lr, momentum, dampening, weightDecay, nesterov ? 1 : 0, first ? 1 : 0], guard);
  }

  /**
   * As Optimizer.stateDict. Programs written for earlier versions find `velocities` too, by parameter, null before the first
   * step; it is not enumerable, so that files and loops see each tensor once.
   */
  override stateDict(): StateDict {
    const state = super.stateDict();
    const velocities = this.all.map((_, i) => state[`velocity.${i}`] ?? null);
    return Object.defineProperty(state, 'velocities', { value: velocities });
  }

  /**
   * Continues from a saved state: what stateDict() gave, also by way of a file, here or in a version before param groups.
   * The groups keep their parameters and get the state's numbers. Nothing is changed if it does not fit.
   * @throws TapegradError if it belongs to other parameters, or is damaged
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

/** A state of before as one of today. */
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
  if (typeof nesterov !== 'boolean') fail(op, `nesterov is ${describe(nesterov)}`, 'pass true or false');
  if (nesterov && (momentum === 0 || dampening !== 0))
    fail(
      op,
      `nesterov with momentum ${momentum} and dampening ${dampening}`,
      'nesterov needs a momentum above 0 and no dampening',
    );
  return { lr, momentum, dampening, weightDecay, nesterov };
}
