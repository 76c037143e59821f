import { checkOptions, describe, fail } from '../../errors.js';
import type { AnyOptimizer } from '../optimizer.js';
import { checkState, LRScheduler, type SchedulerState } from './scheduler.js';
import { checkMilestones } from './simple.js';

/** The options of `SequentialLR`. */
export interface SequentialLROptions {
  /** Schedulers of the same optimizer, in their order; no ReduceLROnPlateau. */
  schedulers: readonly LRScheduler[];
  /** After so many steps the second, third … scheduler takes over; ascending, one less than schedulers. */
  milestones: readonly number[];
}

/**
 * Runs one scheduler after the other, such as a warm-up and what follows it. A scheduler begins with the learning rate that the
 * group had at first. As
 * [SequentialLR](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.SequentialLR.html).
 *
 * @example
 * ```ts
 * import { optim, ones } from 'tapegrad';
 *
 * const { CosineAnnealingLR, LinearLR, SequentialLR } = optim.lrScheduler;
 * const optimizer = new optim.AdamW([ones([2], { requiresGrad: true })]);
 * const scheduler = new SequentialLR(optimizer, {
 *   schedulers: [new LinearLR(optimizer, { startFactor: 0.1 }), new CosineAnnealingLR(optimizer, { tMax: 95 })],
 *   milestones: [5],
 * });
 * console.log(scheduler.lastLr); // about [0.0001]
 * ```
 */
export class SequentialLR extends LRScheduler<Pick<SequentialLROptions, 'milestones'>> {
  readonly #schedulers: readonly LRScheduler[];

  /**
   * @param optimizer the optimizer of all schedulers
   * @param options schedulers, milestones
   * @throws TapegradError for no schedulers, one of another optimizer or that needs a metric, and for milestones that do not
   *   ascend or are not one less than schedulers
   */
  constructor(optimizer: AnyOptimizer, options: SequentialLROptions) {
    const op = 'SequentialLR';
    super(op, optimizer, check, { milestones: options?.milestones });
    checkOptions(op, options, ['schedulers', 'milestones']);
    const schedulers: readonly unknown[] = options.schedulers;
    if (!Array.isArray(schedulers) || schedulers.length === 0)
      fail(op, `schedulers are ${describe(schedulers)}`, 'pass an array of schedulers');
    this.#schedulers = schedulers.map((s, i) => {
      if (!(s instanceof LRScheduler))
        fail(op, `scheduler ${i} is ${describe(s)}`, 'pass schedulers whose step() needs no metric');
      if (s.optimizer !== optimizer) fail(op, `scheduler ${i} has another optimizer`, 'make all with this optimizer');
      return s;
    });
    const { length } = this.rule.milestones;
    if (length !== schedulers.length - 1)
      fail(op, `${length} milestones for ${schedulers.length} schedulers`, 'pass one milestone less than schedulers');
    this.restart(false);
  }

  /** The scheduler of a step. */
  #at(step: number): LRScheduler {
    return this.#schedulers[this.rule.milestones.filter((m) => m <= step).length];
  }

  /** The learning rate of each group after the last step. */
  override get lastLr(): readonly number[] {
    return this.#at(this.lastEpoch).lastLr;
  }

  /**
   * The learning rate of each group after the last step. As get_last_lr.
   * @returns the same as `lastLr`
   */
  override getLastLr(): readonly number[] {
    return this.lastLr;
  }

  /** Takes back that the schedulers have begun. @internal */
  override withdraw(): void {
    super.withdraw();
    for (const s of this.#schedulers) s.withdraw();
  }

  /** Begins anew. @internal */
  override restart(after: boolean): void {
    this.set(this.baseLrs);
    this.withdraw();
    this.lastEpoch = 0;
    this.#at(0).restart(after);
  }

  /**
   * Sets the learning rates of the next epoch, or of the next step of the optimizer: call it after `optimizer.step()`.
   * @throws TapegradError if the optimizer has got other groups since
   */
  override step(): void {
    this.lastEpoch++;
    const scheduler = this.#at(this.lastEpoch);
    if (this.rule.milestones.includes(this.lastEpoch)) scheduler.restart(true);
    else scheduler.step();
  }

  protected override nextLr(): readonly number[] {
    return this.lastLr;
  }

  /**
   * The state, for checkpoints. As state_dict.
   * @returns an object that JSON can hold: that of each scheduler under `schedulers`, `milestones`, `lastEpoch`
   */
  override stateDict(): SchedulerState {
    return { ...super.stateDict(), schedulers: this.#schedulers.map((s) => s.stateDict()) };
  }

  /**
   * Restores a state. The learning rates of the groups are part of the optimizer's state, and do not change here.
   * @param state a result of stateDict() of the same kinds of schedulers
   * @throws TapegradError for anything else
   */
  override loadStateDict(state: SchedulerState): void {
    const op = 'SequentialLR.loadStateDict';
    const { schedulers, milestones } = checkState(op, state, ['schedulers', 'milestones']);
    const known = this.#schedulers;
    if (!Array.isArray(schedulers) || schedulers.length !== known.length)
      fail(op, `schedulers are ${describe(schedulers)}`, `load a state of ${known.length} schedulers`);
    if (!Array.isArray(milestones) || milestones.length !== known.length - 1)
      fail(op, `milestones are ${describe(milestones)}`, `load a state of ${known.length} schedulers`);
    const before = known.map((s) => s.stateDict());
    try {
      known.forEach((s, i) => void s.loadStateDict(schedulers[i] as SchedulerState));
      super.loadStateDict(state);
    } catch (error) {
      known.forEach((s, i) => void s.loadStateDict(before[i]));
      throw error;
    }
  }
}

function check(op: string, { milestones }: { milestones: unknown }): { milestones: readonly number[] } {
  const checked = checkMilestones(op, milestones);
  if (checked.some((m, i) => i > 0 && m < checked[i - 1]))
    fail(op, `milestones are ${describe(milestones)}`, 'pass them in ascending order');
  return { milestones: checked };
}
