import { describe, fail, show } from '../../errors.js';
import type { AnyOptimizer, LearningRate, ParamGroup } from '../optimizer.js';

/** The state of a scheduler: numbers, texts, lists and objects of them, so that JSON can hold it. */
export type SchedulerState = { readonly [name: string]: unknown };

/** What training needs of a scheduler, whatever its rule is. */
export interface AnyScheduler {
  /** The optimizer whose learning rates it sets. */
  readonly optimizer: AnyOptimizer;
  /** The learning rate of each group after the last step. */
  readonly lastLr: readonly number[];
  /** Sets the learning rates of the next epoch, or of the next step of the optimizer. */
  step(metric?: number): void;
  /** Everything that the next step depends on, beside the optimizer. */
  stateDict(): SchedulerState;
  /** Continues from a saved state. */
  loadStateDict(state: SchedulerState): void;
}

/**
 * The base class of schedulers that need no metric. A subclass computes the next learning rates in `nextLr`, and calls
 * `begin` at the end of its constructor, which sets the first ones. As
 * [torch.optim.lr_scheduler.LRScheduler](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LRScheduler.html).
 *
 * Most schedulers go on from the learning rate that a group has, so that several of them can be combined, and one that was assigned by
 * hand counts. Each group keeps the learning rate that its first scheduler found, as `group.initialLr`.
 *
 * @typeParam R the numbers of the rule, which the state has, too
 * @example
 * ```ts
 * import { optim, ones } from 'tapegrad';
 *
 * // lr / √n in epoch n
 * class InverseRoot extends optim.lrScheduler.LRScheduler<object> {
 *   constructor(optimizer: optim.AnyOptimizer) {
 *     super('InverseRoot', optimizer, () => ({}), {});
 *     this.begin();
 *   }
 *   protected override nextLr(): number[] {
 *     return this.baseLrs.map((lr) => lr / Math.sqrt(this.lastEpoch + 1));
 *   }
 * }
 *
 * const optimizer = new optim.SGD([ones([2], { requiresGrad: true })], { lr: 0.1 });
 * const scheduler = new InverseRoot(optimizer);
 * for (let epoch = 0; epoch < 4; epoch++) {
 *   optimizer.step();
 *   scheduler.step();
 * }
 * console.log(scheduler.lastLr); // about [0.0447]
 * ```
 */
export abstract class LRScheduler<R extends object = object> implements AnyScheduler {
  /** The optimizer whose learning rates it sets. */
  readonly optimizer: AnyOptimizer;
  /** How many steps there have been; -1 before `begin`. */
  lastEpoch = -1;
  /** The learning rates that the groups had at first. */
  protected baseLrs: readonly number[];
  /** Whether this is the step of the constructor. */
  protected isInitial = false;
  /** The numbers of the rule. */
  protected rule: R;
  /** The name, for errors. @internal */
  protected readonly op: string;
  readonly #check: (op: string, options: object) => R;
  #lastLr: readonly number[] = [];

  /**
   * @param op the scheduler's name, for errors
   * @param optimizer the optimizer whose learning rates are set
   * @param check validates the options and fills in the defaults; also for a state that is loaded
   * @param options the numbers of the rule, which JSON can hold
   * @throws TapegradError for something that is not an optimizer, and for invalid options
   */
  protected constructor(
    op: string,
    optimizer: AnyOptimizer,
    check: (op: string, options: never) => R,
    options: object,
  ) {
    this.op = op;
    this.optimizer = checkOptimizer(op, optimizer);
    this.#check = check as (op: string, options: object) => R;
    this.rule = this.#check(op, options);
    for (const group of optimizer.paramGroups) if (group.initialLr === undefined) setInitialLr(group, group.lr);
    this.baseLrs = optimizer.paramGroups.map((group) => group.initialLr!);
  }

  /**
   * The learning rates of the groups for `lastEpoch`.
   * @returns one for each group
   */
  protected abstract nextLr(): readonly number[];

  /**
   * The learning rates where the scheduler takes over from another one, in SequentialLR.
   * @returns one for each group
   */
  protected firstLr(): readonly number[] {
    return this.baseLrs;
  }

  /** Sets the first learning rates. */
  protected begin(): void {
    this.isInitial = true;
    try {
      this.step();
    } finally {
      this.isInitial = false;
    }
  }

  /** Takes back that the scheduler has begun, as another one comes first. @internal */
  withdraw(): void {
    this.lastEpoch = -1;
  }

  /** Begins again, or where the scheduler comes after another one. @internal */
  restart(after: boolean): void {
    if (!after) this.begin();
    else {
      this.lastEpoch = 0;
      this.set(this.firstLr());
    }
  }

  /** The learning rate of each group after the last step. */
  get lastLr(): readonly number[] {
    return this.#lastLr;
  }

  /**
   * The learning rate of each group after the last step. As get_last_lr.
   * @returns the same as `lastLr`
   */
  getLastLr(): readonly number[] {
    return this.#lastLr;
  }

  /**
   * Sets the learning rates of the next epoch, or of the next step of the optimizer: call it after `optimizer.step()`.
   * @throws TapegradError if the optimizer has got other groups since
   */
  step(): void {
    checkGroups(this.op, this.optimizer, this.baseLrs.length);
    this.lastEpoch++;
    this.set(this.nextLr());
  }

  /** Sets the learning rates of the groups. @internal */
  protected set(rates: readonly number[]): void {
    const { paramGroups } = this.optimizer;
    for (let i = 0; i < paramGroups.length; i++) paramGroups[i].lr = rates[i];
    this.#lastLr = rates.slice();
  }

  /** The learning rates of the groups as they are. */
  protected get currentLr(): readonly number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr);
  }

  /**
   * The state, for checkpoints. As state_dict.
   * @returns an object that JSON can hold: the numbers of the rule, `lastEpoch`, `baseLrs` and `lastLr`
   */
  stateDict(): SchedulerState {
    const { lastEpoch, baseLrs, lastLr } = this;
    return structuredClone({ ...this.rule, lastEpoch, baseLrs, lastLr });
  }

  /**
   * Restores a state. The learning rates of the groups are part of the optimizer's state, and do not change here.
   * @param state a result of stateDict() of the same kind of scheduler
   * @throws TapegradError for anything else; nothing changes then
   */
  loadStateDict(state: SchedulerState): void {
    const op = `${this.op}.loadStateDict`;
    const numbers = checkState(op, state, [...Object.keys(this.rule), 'lastEpoch', 'baseLrs', 'lastLr']);
    const { lastEpoch, baseLrs, lastLr, ...rule } = numbers;
    const groups = this.optimizer.paramGroups.length;
    for (const [name, value] of Object.entries({ baseLrs, lastLr })) {
      const rates: readonly unknown[] | null = Array.isArray(value) ? value : null;
      if (rates?.length !== groups || !rates.every((x) => typeof x === 'number'))
        fail(op, `${name} is ${describe(value)} for ${groups} groups`, OTHER);
    }
    if (!Number.isInteger(lastEpoch)) fail(op, `lastEpoch is ${describe(lastEpoch)}`, OTHER);
    this.rule = this.#check(op, rule);
    this.lastEpoch = lastEpoch as number;
    this.baseLrs = baseLrs as number[];
    this.#lastLr = lastLr as number[];
  }
}

const OTHER = 'load a result of stateDict() of the same kind of scheduler';

/** A copy of a state; requires the given properties. */
export function checkState(op: string, state: unknown, names: readonly string[]): Record<string, unknown> {
  if (typeof state !== 'object' || state === null) fail(op, `the state is ${describe(state)}`, OTHER);
  for (const name of names) if (!(name in state)) fail(op, `the state has no ${name}`, OTHER);
  const known = names.map((name) => [name, (state as SchedulerState)[name]]);
  return structuredClone(Object.fromEntries(known)) as Record<string, unknown>;
}

export function checkOptimizer(op: string, optimizer: unknown): AnyOptimizer {
  const groups = (optimizer as Partial<AnyOptimizer> | null | undefined)?.paramGroups;
  if (!Array.isArray(groups))
    fail(op, `the optimizer is ${describe(optimizer)}`, 'pass an optimizer such as new optim.SGD(…)');
  return optimizer as AnyOptimizer;
}

/** Requires as many groups as the optimizer had when the scheduler was made. */
export function checkGroups(op: string, { paramGroups }: AnyOptimizer, count: number): void {
  if (paramGroups.length === count) return;
  fail(
    op,
    `the optimizer has ${paramGroups.length} groups, and had ${count} when the scheduler was made`,
    'make the scheduler after addParamGroup',
  );
}

/** One value for each group. */
export function perGroup<T>(op: string, name: string, value: T | readonly T[], optimizer: AnyOptimizer): readonly T[] {
  const { length } = optimizer.paramGroups;
  if (!Array.isArray(value)) return new Array<T>(length).fill(value as T);
  if (value.length !== length)
    fail(op, `${name} has ${show([value.length])} values for ${length} groups`, 'pass one, or one for each group');
  return [...value];
}

/** Notes the learning rate that a group began with. It is not enumerable, as optimizers check what they are given. */
export function setInitialLr(group: ParamGroup<LearningRate>, lr: number): void {
  Object.defineProperty(group, 'initialLr', { value: lr, configurable: true });
}
