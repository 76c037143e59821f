import type { Backend, SgdUpdate, Storage } from '../backends/backend.js';
import { zeros } from '../create.js';
import { checkNumber, checkOptions, describe, fail, show } from '../errors.js';
import type { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import { verdictOf } from './guard.js';
import { Optimizer, type ParamGroup, type ParamGroupOptions } from './optimizer.js';
import { stateTensor } from './state.js';

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

/** What is kept of a parameter from its first step with momentum on. */
interface Momentum {
  velocity: Tensor;
  /** One number, 0 before the first step: where a guard on the device decides whether there was one. Else null. */
  started: Tensor | null;
}

type CheckedRule = Required<SGDOptions> & { readonly outdated: () => boolean };

const always = () => true;
const NO_OPTIONS: { guard?: Tensor } = {};
const KEYS = ['lr', 'momentum', 'dampening', 'weightDecay', 'nesterov'] as const;
const KNOWN = ['params', ...KEYS];

/**
 * Stochastic gradient descent, with momentum as in torch.optim.SGD: d = g + weightDecay θ; v ← momentum v + (1 -
 * dampening) d, d at first; θ ← θ - lr (nesterov ? d + momentum v : v). Parameters without a gradient stay.
 */
export class SGD extends Optimizer<SGDOptions> {
  readonly #momenta = new Map<Tensor, Momentum>();
  /** The groups' numbers as they were checked last. */
  readonly #rules: CheckedRule[] = [];

  /**
   * @param parameters leaves such as model.parameters(), or groups of them, [{ params, lr … }]; those without a gradient
   *   stay as they are, and one that comes twice in a list counts once
   * @throws TapegradError for no parameters, results in the place of leaves, a parameter in two groups, and numbers that are
   *   not finite or negative
   */
  constructor(parameters: Iterable<Tensor>, options: SGDOptions);
  constructor(groups: Iterable<ParamGroupOptions<SGDOptions>>, options?: Partial<SGDOptions>);
  constructor(parameters: Iterable<Tensor> | Iterable<ParamGroupOptions<SGDOptions>>, options?: Partial<SGDOptions>) {
    super('SGD', checkRule, parameters, options);
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

  /**
   * Updates every parameter that has a gradient, in place; nothing if none has.
   *
   * @param options `guard`: a scalar tensor such as finiteGuard(values). Unless it is 0, parameters and momentum keep their
   *   bits. On the GPU the device decides, and nobody waits for it.
   * @throws TapegradError for numbers of a group that are not finite or negative, and for a guard or a gradient that is
   *   somewhere else than its parameter; nothing is changed then
   */
  override step(options: { guard?: Tensor } = NO_OPTIONS): void {
    if (options !== NO_OPTIONS) checkOptions('SGD.step', options, ['guard']);
    const { paramGroups } = this;
    for (let i = 0; i < paramGroups.length; i++) this.#checkRule(i);
    const verdict = options.guard === undefined ? 'go' : verdictOf('SGD.step', options.guard);
    this.#checkPlaces(options.guard);
    if (verdict === 'stop') return;
    const guard = verdict === 'go' ? null : verdict;
    for (let i = 0; i < paramGroups.length; i++) this.#update(paramGroups[i], this.#rules[i], guard);
  }

  /** Checks the numbers of a group where they are not those of the step before. */
  #checkRule(index: number): void {
    const group = this.paramGroups[index];
    const known = this.#rules[index];
    const count = this.paramGroups.length;
    if (known !== undefined && !known.outdated() && Object.keys(group).length === KNOWN.length) return;
    const numbers = this.rule(group);
    const outdated = () => this.paramGroups.length !== count || KEYS.some((key) => numbers[key] !== group[key]);
    this.#rules[index] = { ...numbers, outdated };
  }

  #update(group: ParamGroup<SGDOptions>, rule: CheckedRule, guard: Tensor | null): void {
    // First steps are not like the others, so that a recording of one stands for one call only.
    let first = false;
    const flag = guard?.storage ?? null;
    let backend: Backend | null = null;
    let updates: SgdUpdate[] = [];
    for (let i = 0; i < group.params.length; i++) {
      const p = group.params[i];
      const g = p.gradient;
      if (g === null) continue;
      // Parameters that follow each other on one device are updated together.
      if (backend !== null && backend !== p.backend) {
        backend.sgd(first ? { ...rule, outdated: always } : rule, updates, flag);
        updates = [];
      }
      backend = p.backend;
      const parameter = p.storage;
      const gradient = g.storage;
      const update =
        rule.momentum === 0
          ? { parameter, gradient, velocity: null, firstStep: false, started: null }
          : this.#withMomentum(p, parameter, gradient, guard !== null && rule.dampening !== 0);
      if (update.firstStep) first = true;
      updates.push(update);
    }
    backend?.sgd(first ? { ...rule, outdated: always } : rule, updates, flag);
  }

  /**
   * The momentum of a parameter, which is made for its first step. Without dampening a velocity of 0 leads to the same
   * first step as none, so that only with it somebody must know whether there was one.
   */
  #withMomentum(p: Tensor, parameter: Storage, gradient: Storage, uncertain: boolean): SgdUpdate {
    let state = this.#momenta.get(p);
    let firstStep = state === undefined;
    if (state === undefined) {
      const { device } = p;
      state = { velocity: zeros(p.shape, { device }), started: uncertain ? zeros([], { device }) : null };
      this.#momenta.set(p, state);
    } else if (state.velocity.backend !== p.backend) {
      // Where the parameter has moved to.
      state.velocity = state.velocity.to(p.device);
      state.started = state.started?.to(p.device) ?? null;
    }
    if (state.started !== null && p.backend.readSync !== undefined) {
      firstStep = p.backend.readSync(state.started.storage)[0] === 0;
      state.started = null;
    }
    const velocity = state.velocity.storage;
    return { parameter, gradient, velocity, firstStep, started: state.started === null ? null : state.started.storage };
  }

  /** Requires gradients that fit their parameters, and the guard where its numbers are needed. */
  #checkPlaces(guard: Tensor | undefined): void {
    for (const { params } of this.paramGroups) {
      for (let i = 0; i < params.length; i++) {
        const p = params[i];
        const g = p.gradient;
        if (g === null) continue;
        const [own, other] = [p.raw, g.raw];
        if (other.backend !== own.backend || other.size !== own.size) {
          const where = `a parameter of shape ${show(p.shape)} on '${p.device}'`;
          fail(
            'SGD.step',
            `${where} has a gradient of shape ${show(g.shape)} on '${g.device}'`,
            'call zeroGrad() and backward() after moving a model',
          );
        }
        if (guard === undefined || guard.backend === own.backend) continue;
        if (guard.backend.readSync !== undefined && p.backend.readSync !== undefined) continue;
        fail(
          'SGD.step',
          `the guard is on '${guard.device}', a parameter on '${p.device}'`,
          'make it with finiteGuard from tensors on the same device',
        );
      }
    }
  }

  /**
   * A copy of everything that the next step depends on beside parameters and gradients, as tensors by name, for `save`:
   * 'velocity.3' is that of the parameter 3, in the order of the groups; 'paramGroups' is the JSON of the groups' numbers,
   * byte by byte. Programs written before find `velocities` too, by parameter, null before the first step; it is
   * not enumerable, so that files and loops see each tensor once.
   */
  stateDict(): StateDict {
    const state: StateDict = { paramGroups: this.packed() };
    this.all.forEach((p, i) => {
      const momentum = this.#momenta.get(p);
      if (momentum === undefined) return;
      state[`velocity.${i}`] = momentum.velocity.clone();
      if (momentum.started !== null) state[`started.${i}`] = momentum.started.clone();
    });
    const velocities = this.all.map((_, i) => state[`velocity.${i}`] ?? null);
    return Object.defineProperty(state, 'velocities', { value: velocities });
  }

  /**
   * Continues from a saved state: what stateDict() gave, also by way of a file, here or in a version before param groups.
   * The groups keep their parameters and get the state's numbers. Nothing is changed if it does not fit.
   * @throws TapegradError if it belongs to other parameters, or is damaged
   */
  loadStateDict(state: StateDict | SGDState): void {
    const op = 'SGD.loadStateDict';
    const given = isFormer(state) ? fromFormer(op, state, this.all.length) : { groups: state, tensors: state };
    const putNumbers = this.unpacked(op, given.groups);
    const { all } = this;
    const names = new Set(Object.keys(given.tensors));
    names.delete('paramGroups');
    const momenta = all.map((p, i): Momentum | null => {
      const take = (name: string, shape: readonly number[]) =>
        names.delete(name) ? stateTensor(op, name, given.tensors[name], shape, p) : null;
      const [velocity, started] = [take(`velocity.${i}`, p.shape), take(`started.${i}`, [])];
      return velocity && { velocity, started };
    });
    if (names.size > 0) {
      fail(op, `the state has ${[...names].join(', ')}`, 'load the state of an SGD over the same parameters');
    }
    putNumbers();
    momenta.forEach((momentum, i) => {
      if (momentum === null) this.#momenta.delete(all[i]);
      else this.#momenta.set(all[i], momentum);
    });
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
