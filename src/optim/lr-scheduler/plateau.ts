import { checkChoice, checkInteger, checkNumber, checkOptions, describe, fail } from '../../errors.js';
import { Tensor } from '../../methods.js';
import type { AnyOptimizer } from '../optimizer.js';
import {
  type AnyScheduler,
  checkGroups,
  checkOptimizer,
  checkState,
  perGroup,
  type SchedulerState,
} from './scheduler.js';

/** The options of `ReduceLROnPlateau`. */
export interface ReduceLROnPlateauOptions {
  /** Whether the metric should fall ('min') or rise ('max'). Default 'min'. */
  mode?: 'min' | 'max';
  /** The factor of the learning rate; at least 0, below 1. Default 0.1. */
  factor?: number;
  /** After more than so many steps without a better metric the learning rate is reduced. Default 10. */
  patience?: number;
  /** How much better a metric must be to count. Default 1e-4. */
  threshold?: number;
  /** Whether the threshold is a part of the best metric ('rel') or a difference ('abs'). Default 'rel'. */
  thresholdMode?: 'rel' | 'abs';
  /** So many steps after a reduction are not counted. Default 0. */
  cooldown?: number;
  /** The smallest learning rate; one number, or one for each group. Default 0. */
  minLr?: number | readonly number[];
  /** A smaller reduction is left out. Default 1e-8. */
  eps?: number;
}

type Rule = Required<ReduceLROnPlateauOptions>;

const KNOWN: readonly (keyof Rule)[] = [
  'mode',
  'factor',
  'patience',
  'threshold',
  'thresholdMode',
  'cooldown',
  'minLr',
  'eps',
];
const COUNTS = ['lastEpoch', 'badEpochs', 'cooldownCounter'] as const;

/**
 * Reduces the learning rate when a metric no longer gets better. As
 * [ReduceLROnPlateau](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html).
 *
 * @example
 * ```ts
 * import { optim, ones } from 'tapegrad';
 *
 * const optimizer = new optim.SGD([ones([2], { requiresGrad: true })], { lr: 0.1 });
 * const scheduler = new optim.lrScheduler.ReduceLROnPlateau(optimizer, { factor: 0.5, patience: 1 });
 * for (const loss of [1, 1, 1]) {
 *   optimizer.step();
 *   scheduler.step(loss);
 * }
 * console.log(scheduler.lastLr); // [0.05]
 * ```
 */
export class ReduceLROnPlateau implements AnyScheduler {
  /** The optimizer whose learning rates it sets. */
  readonly optimizer: AnyOptimizer;
  /** How many steps there have been. */
  lastEpoch = 0;
  #rule: Rule;
  /** The best metric so far; null before the first. */
  #best: number | null = null;
  #badEpochs = 0;
  #cooldownCounter = 0;
  #lastLr: readonly number[];

  /**
   * @param optimizer the optimizer whose learning rates are set
   * @param options mode, factor, patience and what counts as better
   * @throws TapegradError for a factor of 1 or more, other invalid numbers, and another number of minLr than of groups
   */
  constructor(optimizer: AnyOptimizer, options: ReduceLROnPlateauOptions = {}) {
    const op = 'ReduceLROnPlateau';
    this.optimizer = checkOptimizer(op, optimizer);
    this.#rule = check(op, options);
    perGroup(op, 'minLr', this.#rule.minLr, optimizer);
    this.#lastLr = this.#current;
  }

  get #current(): readonly number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr);
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
   * Looks at the metric of an epoch, and reduces the learning rates if it has not got better for too long.
   * @param metric a number, or a tensor with one element that the host can read without waiting; NaN is not better
   * @throws TapegradError for anything else, and if the optimizer has got other groups than there are minLr
   */
  step(metric?: number | Tensor): void {
    const op = 'ReduceLROnPlateau';
    const value: unknown = metric instanceof Tensor ? metric.itemSync() : metric;
    if (typeof value !== 'number') fail(op, `the metric is ${describe(value)}`, 'pass a number: step(loss)');
    const { patience, cooldown, minLr } = this.#rule;
    if (Array.isArray(minLr)) checkGroups(op, this.optimizer, minLr.length);
    this.lastEpoch++;
    if (this.#isBetter(value)) {
      this.#best = value;
      this.#badEpochs = 0;
    } else this.#badEpochs++;
    if (this.#cooldownCounter > 0) {
      this.#cooldownCounter--;
      this.#badEpochs = 0;
    }
    if (this.#badEpochs > patience) {
      this.#reduce();
      this.#cooldownCounter = cooldown;
      this.#badEpochs = 0;
    }
    this.#lastLr = this.#current;
  }

  #isBetter(value: number): boolean {
    const { mode, threshold, thresholdMode } = this.#rule;
    const sign = mode === 'min' ? -1 : 1;
    const best = this.#best ?? -sign * Infinity;
    const bound = thresholdMode === 'abs' ? best + sign * threshold : best * (1 + sign * threshold);
    return mode === 'min' ? value < bound : value > bound;
  }

  #reduce(): void {
    const { factor, minLr, eps } = this.#rule;
    const least = perGroup('ReduceLROnPlateau', 'minLr', minLr, this.optimizer);
    this.optimizer.paramGroups.forEach((group, i) => {
      const lr = Math.max(group.lr * factor, least[i]);
      if (group.lr - lr > eps) group.lr = lr;
    });
  }

  /**
   * The state, for checkpoints. As state_dict.
   * @returns an object that JSON can hold: the options, the best metric (null before the first), and the counts
   */
  stateDict(): SchedulerState {
    const counts = { lastEpoch: this.lastEpoch, badEpochs: this.#badEpochs, cooldownCounter: this.#cooldownCounter };
    return structuredClone({ ...this.#rule, best: this.#best, ...counts, lastLr: this.#lastLr });
  }

  /**
   * Restores a state. The learning rates of the groups are part of the optimizer's state, and do not change here.
   * @param state a result of stateDict()
   * @throws TapegradError for anything else; nothing changes then
   */
  loadStateDict(state: SchedulerState): void {
    const op = 'ReduceLROnPlateau.loadStateDict';
    const names = [...KNOWN, ...COUNTS, 'best', 'lastLr'];
    const { best, lastLr, lastEpoch, badEpochs, cooldownCounter, ...rest } = checkState(op, state, names);
    for (const [name, count] of Object.entries({ lastEpoch, badEpochs, cooldownCounter }))
      checkInteger(op, name, count, 0);
    if (best !== null && typeof best !== 'number')
      fail(op, `best is ${describe(best)}`, 'load a result of stateDict()');
    if (!Array.isArray(lastLr)) fail(op, `lastLr is ${describe(lastLr)}`, 'load a result of stateDict()');
    const rule = check(op, rest as ReduceLROnPlateauOptions);
    perGroup(op, 'minLr', rule.minLr, this.optimizer);
    this.#rule = rule;
    this.#best = best as number | null;
    this.#lastLr = lastLr as number[];
    this.lastEpoch = lastEpoch as number;
    this.#badEpochs = badEpochs as number;
    this.#cooldownCounter = cooldownCounter as number;
  }
}

function check(op: string, options: ReduceLROnPlateauOptions): Rule {
  checkOptions(op, options, KNOWN);
  const {
    mode = 'min',
    factor = 0.1,
    patience = 10,
    threshold = 1e-4,
    thresholdMode = 'rel',
    cooldown = 0,
    minLr = 0,
    eps = 1e-8,
  } = options;
  checkChoice(op, 'mode', mode, ['min', 'max']);
  if (!(factor >= 0 && factor < 1)) fail(op, `factor is ${describe(factor)}`, 'pass a number of at least 0, below 1');
  checkInteger(op, 'patience', patience, 0);
  checkNumber(op, 'threshold', threshold);
  checkChoice(op, 'thresholdMode', thresholdMode, ['rel', 'abs']);
  checkInteger(op, 'cooldown', cooldown, 0);
  for (const lr of Array.isArray(minLr) ? minLr : [minLr]) checkNumber(op, 'minLr', lr, 0);
  checkNumber(op, 'eps', eps, 0);
  return { mode, factor, patience, threshold, thresholdMode, cooldown, minLr, eps };
}
