import { describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import { type GroupNumbers, packGroups, unpackGroups } from './state.js';

/** Parameters with numbers of their own, as they are passed to an optimizer. */
export type ParamGroupOptions<O> = Partial<O> & { params: Iterable<Tensor> | Tensor };

/** Parameters that are updated by the same numbers, which may be changed between steps. */
export type ParamGroup<O> = Required<O> & { readonly params: readonly Tensor[] };

/** Requires an optimizer's numbers, and fills in the defaults; takes whole groups, too. */
export type CheckRule<O> = (op: string, options: O) => Required<O>;

/** The base of all optimizers: who holds the parameters, in groups, and what is saved of them. */
export abstract class Optimizer<O extends object> {
  /** The parameters with their numbers, one group unless there were more; `group.lr` may be changed between steps. */
  readonly paramGroups: readonly ParamGroup<O>[] = [];
  readonly #defaults: Partial<O>;
  readonly #check: CheckRule<O>;
  /** The optimizer's name, for errors. @internal */
  protected readonly op: string;

  /** @internal */
  protected constructor(
    op: string,
    check: CheckRule<O>,
    parameters: Iterable<Tensor> | Iterable<ParamGroupOptions<O>>,
    options: Partial<O> | undefined,
  ) {
    this.op = op;
    this.#check = check;
    const items: readonly (Tensor | ParamGroupOptions<O>)[] = [
      ...checkIterable<Tensor | ParamGroupOptions<O>>(op, parameters),
    ];
    if (items.length === 0)
      fail(op, 'there are no parameters', 'pass model.parameters() of a model whose layers are ordinary fields');
    if (options !== undefined && (typeof options !== 'object' || options === null || 'params' in options))
      fail(op, `options are ${describe(options)}`, 'pass an object such as { lr: 0.1 }');
    this.#defaults = { ...options };
    if (isGroup(items[0])) {
      for (const group of items) this.addParamGroup(group as ParamGroupOptions<O>);
    } else {
      this.addParamGroup({ params: items } as unknown as ParamGroupOptions<O>);
    }
  }

  /** Every parameter once, in the order of the groups. @internal */
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

  /** The present numbers of a group, checked. @internal */
  protected rule(group: ParamGroup<O>): Required<O> {
    return this.#check(this.op, group);
  }

  /** Updates every parameter that has a gradient, in place. */
  abstract step(): void;

  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    for (const { params } of this.paramGroups) for (const p of params) p.grad = null;
  }

  /** Refuses: JSON.stringify would drop what the optimizer remembers. @throws TapegradError always */
  toJSON(): never {
    fail(this.op, 'an optimizer cannot be written as JSON', 'use save(optimizer.stateDict(), path)');
  }

  /** The groups' numbers as a tensor of text. @internal */
  protected packed(): Tensor {
    return packGroups(this.paramGroups.map((group) => ({ params: group.params.length, ...this.rule(group) })));
  }

  /**
   * Checks the groups' numbers of a state against the present groups, and returns what puts them in.
   * @internal
   */
  protected unpacked(op: string, state: StateDict | readonly GroupNumbers[]): () => void {
    const groups = Array.isArray(state) ? (state as readonly GroupNumbers[]) : unpackGroups(op, state as StateDict);
    const sizes = groups.map(({ params }) => params);
    const own = this.paramGroups.map(({ params }) => params.length);
    if (sizes.join() !== own.join()) {
      const problem = `the state is of groups of ${show(sizes)} parameters, the optimizer has groups of ${show(own)}`;
      fail(op, problem, 'load the state of an optimizer over the same parameters');
    }
    const rules = groups.map((group) => this.#check(op, group as unknown as O));
    // The groups stay the same objects: schedules hold them.
    return () => this.paramGroups.forEach((group, i) => void Object.assign(group, rules[i]));
  }
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
