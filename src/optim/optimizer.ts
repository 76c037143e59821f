import { checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import { sameShape } from '../shape.js';
import { verdictOf } from './guard.js';
import { type GroupNumbers, packGroups, stateTensor, unpackGroups } from './state.js';
import { announceStep } from './step-listeners.js';

/** Parameters with numbers of their own, as they are passed to an optimizer. */
export type ParamGroupOptions<O> = Partial<O> & { params: Iterable<Tensor> | Tensor };

/** Parameters that are updated by the same numbers, which may be changed between steps. */
export type ParamGroup<O> = Required<O> & { readonly params: readonly Tensor[] };

/** Requires an optimizer's numbers, and fills in the defaults; takes whole groups, too. */
export type CheckRule<O> = (op: string, options: O) => Required<O>;

/** What an optimizer remembers of one parameter: tensors by name. */
export type ParameterState = Map<string, Tensor>;

/** The tensors that an optimizer may remember of a parameter: of the parameter's shape, or single numbers. */
export type StateNames = { readonly [name: string]: 'like parameter' | 'scalar' };

export interface StepOptions {
  /**
   * A scalar tensor such as finiteGuard(values). Unless it is 0, parameters and state keep their bits. On the GPU the device
   * decides, and nothing waits for it.
   */
  guard?: Tensor;
}

/** What training needs of an optimizer, whatever its numbers are. */
export interface AnyOptimizer {
  /** The parameters in groups, each with its numbers. */
  readonly paramGroups: readonly { readonly params: readonly Tensor[]; lr: number }[];
  /** Updates every parameter that has a gradient, in place. */
  step(options?: StepOptions): void;
  /** Forgets the gradients of all parameters. */
  zeroGrad(): void;
  /** Everything that the next step depends on beside parameters and gradients, as tensors by name. */
  stateDict(): StateDict;
  /** Continues from a saved state. */
  loadStateDict(state: StateDict): void;
}

const NO_OPTIONS: StepOptions = {};

/**
 * The base of all optimizers: parameters in groups, their state as named tensors, and what is saved of them. A subclass
 * names its numbers and its state, and updates one parameter. As torch.optim.Optimizer.
 */
export abstract class Optimizer<O extends { lr: number }> implements AnyOptimizer {
  /** The parameters with their numbers, one group unless there were more; `group.lr` may be changed between steps. */
  readonly paramGroups: readonly ParamGroup<O>[] = [];
  /** What is remembered of each parameter; nothing before its first step. */
  protected readonly state = new Map<Tensor, ParameterState>();
  /** The optimizer's name, for errors. @internal */
  protected readonly op: string;
  readonly #defaults: Partial<O>;
  readonly #check: CheckRule<O>;
  readonly #names: StateNames;
  /** The groups' numbers as they were checked last. */
  readonly #checked: Required<O>[] = [];

  /**
   * @param op the optimizer's name, for errors
   * @param check requires the numbers of a group, and fills in the defaults
   * @param names the tensors that `state` may hold for a parameter
   */
  protected constructor(
    op: string,
    check: CheckRule<O>,
    names: StateNames,
    parameters: Iterable<Tensor> | Iterable<ParamGroupOptions<O>>,
    options: Partial<O> | undefined,
  ) {
    this.op = op;
    this.#check = check;
    this.#names = names;
    const items: readonly (Tensor | ParamGroupOptions<O>)[] = [
      ...checkIterable<Tensor | ParamGroupOptions<O>>(op, parameters),
    ];
    if (items.length === 0)
      fail(op, 'there are no parameters', 'pass model.parameters() of a model whose layers are ordinary fields');
    if (options !== undefined && (typeof options !== 'object' || options === null || 'params' in options))
      fail(op, `options are ${describe(options)}`, 'pass an object such as { lr: 0.1 }');
    this.#defaults = { ...(options as Partial<O>) };
    if (isGroup(items[0])) {
      for (const group of items) this.addParamGroup(group as ParamGroupOptions<O>);
    } else {
      this.addParamGroup({ params: items } as unknown as ParamGroupOptions<O>);
    }
  }

  /** Every parameter once, in the order of the groups. */
  protected get all(): readonly Tensor[] {
    return this.paramGroups.flatMap((group) => group.params);
  }

  /**
   * Adds parameters, such as those of layers that shall be trained from now on. Numbers that are not given are those that
   * the optimizer was made with.
   * @throws TapegradError for results in the place of leaves, parameters of another group, and wrong numbers
   */
  addParamGroup(group: ParamGroupOptions<O>): void {
    const { op } = this;
    if (!isGroup(group)) fail(op, `group ${this.paramGroups.length} is ${describe(group)}`, 'pass { params, … }');
    const { params } = group;
    const list = [...new Set(params instanceof Tensor ? [params] : checkIterable<Tensor>(op, params))];
    if (list.length === 0) fail(op, `group ${this.paramGroups.length} has no parameters`, 'pass { params: [ … ] }');
    const known = new Set(this.all);
    list.forEach((p: unknown, i) => {
      if (!(p instanceof Tensor))
        fail(op, `parameter ${i} is ${describe(p)}`, 'pass tensors, such as model.parameters()');
      const which = `parameter ${i} of shape ${show(p.shape)}`;
      if (!p.isLeaf) fail(op, `${which} is a result, not a leaf`, 'pass leaves, such as model.parameters()');
      if (known.has(p)) fail(op, `${which} is in another group already`, 'put every parameter into one group');
    });
    const rule = this.#check(op, { ...this.#defaults, ...group } as unknown as O);
    (this.paramGroups as ParamGroup<O>[]).push({ params: list, ...rule });
  }

  /** Checks the numbers of a group where they are not those of the step before. */
  #checkRule(index: number): void {
    const group = this.paramGroups[index];
    const known = this.#checked[index];
    if (known === undefined || !sameNumbers(known as Record<string, unknown>, group as Record<string, unknown>))
      this.#checked[index] = this.#check(this.op, group);
  }

  /**
   * Updates every parameter that has a gradient, in place; nothing if none has.
   * @throws TapegradError for numbers of a group that are wrong, and for a guard or a gradient that is somewhere else than
   *   its parameter; nothing is changed then
   */
  step(options: StepOptions = NO_OPTIONS): void {
    const op = `${this.op}.step`;
    if (options !== NO_OPTIONS) checkOptions(op, options, ['guard']);
    const { paramGroups } = this;
    for (let i = 0; i < paramGroups.length; i++) this.#checkRule(i);
    const verdict = options.guard === undefined ? 'go' : verdictOf(op, options.guard);
    this.#checkPlaces(op, options.guard);
    if (verdict === 'stop') return;
    announceStep(this);
    const guard = verdict === 'go' ? null : verdict;
    for (let i = 0; i < paramGroups.length; i++) {
      const { params } = paramGroups[i];
      const rule = this.#checked[i];
      for (let j = 0; j < params.length; j++) {
        const p = params[j];
        const g = p.gradient;
        if (g !== null) this.update(p, g, this.#stateOf(p), rule, guard);
      }
    }
  }

  /**
   * Updates one parameter and its state, in place.
   * @param rule the checked numbers of its group
   * @param guard null, or one number on a device that the host cannot read: unless it is 0, nothing may change
   */
  protected abstract update(
    parameter: Tensor,
    gradient: Tensor,
    state: ParameterState,
    rule: Required<O>,
    guard: Tensor | null,
  ): void;

  /** What is remembered of a parameter, where the parameter is. */
  #stateOf(p: Tensor): ParameterState {
    let state = this.state.get(p);
    if (state === undefined) {
      state = new Map();
      this.state.set(p, state);
    }
    if (state.size > 0) for (const [name, t] of state) if (t.backend !== p.backend) state.set(name, t.to(p.device));
    return state;
  }

  /** @internal */
  signature(): string {
    const count = [...this.state.values()].reduce((sum, tensors) => sum + tensors.size, 0);
    return JSON.stringify([count, this.paramGroups.map(({ params, ...numbers }) => [params.length, numbers])]);
  }

  /** Requires gradients that fit their parameters, and the guard where its numbers are needed. */
  #checkPlaces(op: string, guard: Tensor | undefined): void {
    for (const { params } of this.paramGroups) {
      for (let i = 0; i < params.length; i++) {
        const p = params[i];
        const g = p.gradient;
        if (g === null) continue;
        if (g.backend !== p.backend || !sameShape(g.dims, p.dims)) {
          const where = `a parameter of shape ${show(p.shape)} on '${p.device}'`;
          fail(
            op,
            `${where} has a gradient of shape ${show(g.shape)} on '${g.device}'`,
            'call zeroGrad() and backward() after moving a model',
          );
        }
        if (guard === undefined || guard.backend === p.backend) continue;
        if (guard.backend.readSync !== undefined && p.backend.readSync !== undefined) continue;
        fail(
          op,
          `the guard is on '${guard.device}', a parameter on '${p.device}'`,
          'make it with finiteGuard from tensors on the same device',
        );
      }
    }
  }

  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    for (const { params } of this.paramGroups) for (const p of params) p.grad = null;
  }

  /**
   * A copy of everything that the next step depends on beside parameters and gradients, as tensors by name, for `save`:
   * 'velocity.3' is the state `velocity` of parameter 3, in the order of the groups; 'paramGroups' is the JSON of the groups'
   * numbers, byte by byte.
   */
  stateDict(): StateDict {
    const groups = this.paramGroups.map((group) => ({ params: group.params.length, ...this.#check(this.op, group) }));
    const state: StateDict = { paramGroups: packGroups(groups) };
    this.all.forEach((p, i) => {
      for (const [name, t] of this.state.get(p) ?? []) state[`${name}.${i}`] = t.clone();
    });
    return state;
  }

  /**
   * Continues from a saved state: what stateDict() gave, also by way of a file. The groups keep their parameters and get the
   * state's numbers. Nothing is changed if it does not fit.
   * @throws TapegradError if it belongs to other parameters, or is damaged
   */
  loadStateDict(state: StateDict): void {
    this.restore(unpackGroups(`${this.op}.loadStateDict`, state), state);
  }

  /** Puts in the numbers of groups and the named tensors of a state. @internal */
  protected restore(groups: readonly GroupNumbers[], tensors: StateDict): void {
    const op = `${this.op}.loadStateDict`;
    const sizes = groups.map(({ params }) => params);
    const own = this.paramGroups.map(({ params }) => params.length);
    if (sizes.join() !== own.join()) {
      const problem = `the state is of groups of ${show(sizes)} parameters, the optimizer has groups of ${show(own)}`;
      fail(op, problem, 'load the state of an optimizer over the same parameters');
    }
    const rules = groups.map((group) => this.#check(op, group as unknown as O));
    const unknown = new Set(Object.keys(tensors));
    unknown.delete('paramGroups');
    const states = this.all.map((p, i): ParameterState => {
      const found: ParameterState = new Map();
      for (const [name, kind] of Object.entries(this.#names)) {
        const key = `${name}.${i}`;
        if (!unknown.delete(key)) continue;
        found.set(name, stateTensor(op, key, tensors[key], kind === 'scalar' ? [] : p.shape, p));
      }
      return found;
    });
    if (unknown.size > 0) {
      fail(op, `the state has ${[...unknown].join(', ')}`, `load the state of an ${this.op} over the same parameters`);
    }
    // The groups stay the same objects: schedules hold them.
    this.paramGroups.forEach((group, i) => void Object.assign(group, rules[i]));
    this.all.forEach((p, i) => void this.state.set(p, states[i]));
  }

  /** Refuses: JSON.stringify would drop what the optimizer remembers. @throws TapegradError always */
  toJSON(): never {
    fail(this.op, 'an optimizer cannot be written as JSON', 'use save(optimizer.stateDict(), path)');
  }
}

/** Whether a group has just these numbers beside its parameters. */
function sameNumbers(numbers: Record<string, unknown>, group: Record<string, unknown>): boolean {
  let own = 0;
  for (const key in numbers) {
    if (numbers[key] !== group[key]) return false;
    own++;
  }
  let all = 0;
  for (const _ in group) all++;
  return all === own + 1;
}

function isGroup(value: unknown): value is { params: unknown } {
  return typeof value === 'object' && value !== null && !(value instanceof Tensor) && 'params' in value;
}

/** Requires something to iterate over. */
function checkIterable<T>(op: string, value: unknown): Iterable<T> {
  if (typeof value === 'object' && value !== null && Symbol.iterator in value) return value as Iterable<T>;
  const remedy =
    value instanceof Tensor
      ? 'pass an array: [parameter]'
      : isGroup(value)
        ? 'pass an array of groups: [{ params, … }]'
        : 'pass model.parameters()';
  fail(op, `the parameters are ${describe(value)}`, remedy);
}
