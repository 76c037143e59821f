import { checkOptions, describe, fail, show } from '../errors.js';
import { noteChange, watcher } from '../lifetime.js';
import { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import { sameShape } from '../shape.js';
import { verdictOf } from './guard.js';
import { type GroupNumbers, packGroups, stateTensor, unpackGroups } from './state.js';

/** The hyperparameter that every optimizer has. */
export interface LearningRate {
  /** The learning rate. */
  lr: number;
}

/** A param group as it is passed to an optimizer: parameters, and hyperparameters of their own. */
export type ParamGroupOptions<O> = Partial<O> & {
  /** The parameters: leaf tensors. */
  params: Iterable<Tensor> | Tensor;
};

/** A param group: parameters that are updated with the same hyperparameters, which may be changed between steps. */
export type ParamGroup<O> = Required<O> & {
  /** The parameters, each once. */
  readonly params: readonly Tensor[];
  /** The learning rate that a scheduler began with. It is not enumerable: no hyperparameter, and not in state dicts. */
  readonly initialLr?: number;
};

/**
 * Validates the hyperparameters of an optimizer and fills in the defaults. Gets whole param groups, too: it must accept the
 * key `params`.
 */
export type CheckRule<O> = (op: string, options: O) => Required<O>;

/** The state of one parameter: tensors by name, such as its velocity. */
export type ParameterState = Map<string, Tensor>;

/** The tensors that the state of a parameter may have, by name: 'like parameter' has its shape, 'scalar' the shape []. */
export type StateNames = { readonly [name: string]: 'like parameter' | 'scalar' };

/** Options of `Optimizer.step`. */
export interface StepOptions {
  /**
   * A scalar tensor such as finiteGuard(values). Unless it is 0, parameters and state do not change. On the GPU the device
   * tests it, and the host does not wait for the result.
   */
  guard?: Tensor;
}

/** What training needs of an optimizer, whatever its numbers are. */
export interface AnyOptimizer {
  /** The parameters in groups, each with its numbers. */
  readonly paramGroups: readonly ParamGroup<LearningRate>[];
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
 * The base class of optimizers: param groups, the state of each parameter as named tensors, and the state dict. A subclass
 * defines its hyperparameters and its state, and updates one parameter. As
 * [torch.optim.Optimizer](https://docs.pytorch.org/docs/stable/optim.html#torch.optim.Optimizer).
 *
 * @example
 * ```ts
 * import { noGrad, ones, optim, Tensor } from 'tapegrad';
 *
 * // θ ← θ - lr sign(∇J)
 * class SignDescent extends optim.Optimizer<{ lr: number }> {
 *   constructor(parameters: Iterable<Tensor>, options: { lr: number }) {
 *     super('SignDescent', (_op, { lr }) => ({ lr }), {}, parameters, options);
 *   }
 *   protected override update(p: Tensor, g: Tensor, _state: optim.ParameterState, { lr }: { lr: number }): void {
 *     noGrad(() => p.copyFrom(p.sub(g.gt(0).sub(g.lt(0)).mul(lr))));
 *   }
 * }
 *
 * const w = ones([2], { requiresGrad: true });
 * const optimizer = new SignDescent([w], { lr: 0.1 });
 * w.mul(w).sum().backward();
 * optimizer.step();
 * console.log(w.toArraySync()); // about [0.9, 0.9]
 * ```
 */
export abstract class Optimizer<O extends LearningRate> implements AnyOptimizer {
  /** The param groups; one if the parameters were passed as a list. `group.lr` may be changed between steps. */
  readonly paramGroups: readonly ParamGroup<O>[] = [];
  /** The state of each parameter; a parameter has none before its first step. */
  protected readonly state = new Map<Tensor, ParameterState>();
  /** The optimizer's name, for errors. @internal */
  protected readonly op: string;
  readonly #defaults: Partial<O>;
  readonly #check: CheckRule<O>;
  readonly #names: StateNames;
  /** The hyperparameters of the groups as they were last validated. */
  readonly #checked: Required<O>[] = [];

  /**
   * @param op the optimizer's name, for errors
   * @param check validates the hyperparameters of a group and fills in the defaults
   * @param names the tensors that `state` may have for a parameter
   * @param parameters leaf tensors, or param groups
   * @param options the hyperparameters of groups that do not have their own
   * @throws TapegradError for no parameters, tensors that are not leaves, and invalid hyperparameters
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
   * Adds a param group, for example the parameters of layers that are unfrozen during training. As
   * [add_param_group](https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.add_param_group.html).
   * @param group the parameters and their hyperparameters; the ones left out are those of the constructor
   * @throws TapegradError for tensors that are not leaves, parameters of another group, and invalid hyperparameters
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
    noteChange();
  }

  /** Validates the hyperparameters of a group if they have changed since the last step. */
  #checkRule(index: number): void {
    const group = this.paramGroups[index];
    const known = this.#checked[index];
    if (known === undefined || !sameNumbers(known as Record<string, unknown>, group as Record<string, unknown>))
      this.#checked[index] = this.#check(this.op, group);
  }

  /**
   * Updates every parameter that has a gradient, in place.
   * @param options `guard`: a scalar tensor; unless it is 0, nothing changes
   * @throws TapegradError for invalid hyperparameters, for a gradient of another shape or device than its parameter, and for
   *   a guard on another device; nothing changes then
   */
  step(options: StepOptions = NO_OPTIONS): void {
    const op = `${this.op}.step`;
    if (options !== NO_OPTIONS) checkOptions(op, options, ['guard']);
    const { paramGroups } = this;
    for (let i = 0; i < paramGroups.length; i++) this.#checkRule(i);
    const verdict = options.guard === undefined ? 'go' : verdictOf(op, options.guard);
    this.#checkPlaces(op, options.guard);
    if (verdict === 'stop') return;
    watcher?.step(paramGroups, this.state);
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
   * @param parameter the parameter
   * @param gradient its gradient, of the same shape
   * @param state the state of the parameter; empty at its first step
   * @param rule the validated hyperparameters of its group
   * @param guard null, or a scalar on a device that the host cannot read: unless it is 0, nothing may change
   */
  protected abstract update(
    parameter: Tensor,
    gradient: Tensor,
    state: ParameterState,
    rule: Required<O>,
    guard: Tensor | null,
  ): void;

  /**
   * The state tensor of a name, made on first use. It outlives a step that `compile` captures.
   * @param parameter whose state it is
   * @param state of the parameter, as `update` was given it
   * @param name one of those that the constructor was given
   * @param make makes the tensor before the first step, such as `() => zerosLike(p)`
   * @returns the tensor
   */
  protected initState(parameter: Tensor, state: ParameterState, name: string, make: () => Tensor): Tensor {
    const known = state.get(name);
    if (known !== undefined) return known;
    const made = lasting(parameter, make);
    state.set(name, made);
    return made;
  }

  /** The state of a parameter, on the device of the parameter. */
  #stateOf(p: Tensor): ParameterState {
    let state = this.state.get(p);
    if (state === undefined) {
      state = new Map();
      this.state.set(p, state);
    }
    if (state.size > 0)
      for (const [name, t] of state)
        if (t.backend !== p.backend)
          state.set(
            name,
            lasting(p, () => t.to(p.device)),
          );
    return state;
  }

  /** Requires gradients of the shape and device of their parameters, and a guard on a device where it can be read. */
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

  /**
   * Sets the gradients of all parameters to null. As
   * [zero_grad](https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html).
   */
  zeroGrad(): void {
    for (const { params } of this.paramGroups) for (const p of params) p.grad = null;
  }

  /**
   * A copy of the optimizer's state, for `save`.
   * @returns tensors by name: 'velocity.3' is the state `velocity` of parameter 3, counted in the order of the groups;
   *   'paramGroups' is the JSON of the hyperparameters of the groups, one byte for each element
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
   * Restores a state. The groups keep their parameters and get the hyperparameters of the state.
   * @param state a result of stateDict(), also one that was saved and loaded
   * @throws TapegradError if it belongs to other parameters, or is damaged; nothing changes then
   */
  loadStateDict(state: StateDict): void {
    this.restore(unpackGroups(`${this.op}.loadStateDict`, state), state);
  }

  /** Restores the hyperparameters of the groups and the tensors of a state. @internal */
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
    // The group objects are kept, because schedulers refer to them.
    this.paramGroups.forEach((group, i) => void Object.assign(group, rules[i]));
    this.all.forEach((p, i) => void this.state.set(p, states[i]));
  }

  /**
   * Always throws: JSON.stringify would lose the state of the parameters.
   * @throws TapegradError always
   */
  toJSON(): never {
    fail(this.op, 'an optimizer cannot be written as JSON', 'use save(optimizer.stateDict(), path)');
  }
}

/** What `make` makes on the device of a parameter; it outlives a step that `compile` captures. */
function lasting({ backend }: Tensor, make: () => Tensor): Tensor {
  return backend.uncaptured?.(make) ?? make();
}

/** Whether a group has exactly these hyperparameters. */
function sameNumbers(numbers: Record<string, unknown>, group: Record<string, unknown>): boolean {
  let own = 0;
  for (const key in numbers) {
    if (!sameValue(numbers[key], group[key])) return false;
    own++;
  }
  let all = 0;
  for (const _ in group) all++;
  return all === own + 1;
}

/** Hyperparameters are numbers, booleans or lists of numbers, which may be changed in place. */
function sameValue(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a)) return a === b;
  return Array.isArray(b) && a.length === b.length && a.every((x, i) => x === b[i]);
}

function isGroup(value: unknown): value is { params: unknown } {
  return typeof value === 'object' && value !== null && !(value instanceof Tensor) && 'params' in value;
}

/** Requires an iterable. */
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
