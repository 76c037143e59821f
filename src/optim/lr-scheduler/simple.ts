import { checkInteger, checkNumber, checkOptions, describe, fail } from '../../errors.js';
import type { AnyOptimizer } from '../optimizer.js';
import { LRScheduler, perGroup } from './scheduler.js';

/** The options of `StepLR`. */
export interface StepLROptions {
  /** After so many steps the learning rate is multiplied by gamma. */
  stepSize: number;
  /** The factor. Default 0.1. */
  gamma?: number;
}

/**
 * Multiplies the learning rate by gamma every `stepSize` steps. As
 * [StepLR](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.StepLR.html).
 *
 * @example
 * ```ts
 * import { optim, ones } from 'tapegrad';
 *
 * const optimizer = new optim.SGD([ones([2], { requiresGrad: true })], { lr: 0.1 });
 * const scheduler = new optim.lrScheduler.StepLR(optimizer, { stepSize: 2, gamma: 0.5 });
 * for (let epoch = 0; epoch < 4; epoch++) {
 *   optimizer.step();
 *   scheduler.step();
 * }
 * console.log(scheduler.lastLr); // [0.025]
 * ```
 */
export class StepLR extends LRScheduler<Required<StepLROptions>> {
  /**
   * @param optimizer the optimizer whose learning rates are set
   * @param options stepSize, gamma
   * @throws TapegradError for a stepSize that is no positive integer, and a gamma that is not finite
   */
  constructor(optimizer: AnyOptimizer, options: StepLROptions) {
    super('StepLR', optimizer, checkStep, options);
    this.begin();
  }

  protected override nextLr(): readonly number[] {
    const { stepSize, gamma } = this.rule;
    const { lastEpoch, currentLr } = this;
    return lastEpoch === 0 || lastEpoch % stepSize !== 0 ? currentLr : currentLr.map((lr) => lr * gamma);
  }
}

function checkStep(op: string, options: StepLROptions): Required<StepLROptions> {
  checkOptions(op, options, ['stepSize', 'gamma']);
  const { stepSize, gamma = 0.1 } = options ?? {};
  return { stepSize: checkInteger(op, 'stepSize', stepSize), gamma: checkNumber(op, 'gamma', gamma) };
}

/** The options of `MultiStepLR`. */
export interface MultiStepLROptions {
  /** After these numbers of steps the learning rate is multiplied by gamma; one that occurs twice counts twice. */
  milestones: readonly number[];
  /** The factor. Default 0.1. */
  gamma?: number;
}

/**
 * Multiplies the learning rate by gamma at each milestone. As
 * [MultiStepLR](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.MultiStepLR.html).
 *
 * @example
 * ```ts
 * import { optim, ones } from 'tapegrad';
 *
 * const optimizer = new optim.SGD([ones([2], { requiresGrad: true })], { lr: 0.1 });
 * const scheduler = new optim.lrScheduler.MultiStepLR(optimizer, { milestones: [30, 80] });
 * console.log(scheduler.lastLr); // [0.1]
 * ```
 */
export class MultiStepLR extends LRScheduler<Required<MultiStepLROptions>> {
  /**
   * @param optimizer the optimizer whose learning rates are set
   * @param options milestones, gamma
   * @throws TapegradError for milestones that are no integers of at least 0, and a gamma that is not finite
   */
  constructor(optimizer: AnyOptimizer, options: MultiStepLROptions) {
    super('MultiStepLR', optimizer, checkMultiStep, options);
    this.begin();
  }

  /** The factor of this step. */
  get #factor(): number {
    const { milestones, gamma } = this.rule;
    return gamma ** milestones.filter((m) => m === this.lastEpoch).length;
  }

  protected override nextLr(): readonly number[] {
    return this.currentLr.map((lr) => lr * this.#factor);
  }

  protected override firstLr(): readonly number[] {
    return this.baseLrs.map((lr) => lr * this.#factor);
  }
}

function checkMultiStep(op: string, options: MultiStepLROptions): Required<MultiStepLROptions> {
  checkOptions(op, options, ['milestones', 'gamma']);
  const { milestones, gamma = 0.1 } = options ?? {};
  return { milestones: checkMilestones(op, milestones), gamma: checkNumber(op, 'gamma', gamma) };
}

export function checkMilestones(op: string, milestones: unknown): readonly number[] {
  if (!Array.isArray(milestones)) fail(op, `milestones are ${describe(milestones)}`, 'pass an array of integers');
  return milestones.map((m, i) => checkInteger(op, `milestone ${i}`, m, 0));
}

/** The options of `ExponentialLR`. */
export interface ExponentialLROptions {
  /** The factor of every step. */
  gamma: number;
}

/**
 * Multiplies the learning rate by gamma in every step. As
 * [ExponentialLR](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ExponentialLR.html).
 *
 * @example
 * ```ts
 * import { optim, ones } from 'tapegrad';
 *
 * const optimizer = new optim.SGD([ones([2], { requiresGrad: true })], { lr: 0.1 });
 * const scheduler = new optim.lrScheduler.ExponentialLR(optimizer, { gamma: 0.5 });
 * optimizer.step();
 * scheduler.step();
 * console.log(scheduler.lastLr); // [0.05]
 * ```
 */
export class ExponentialLR extends LRScheduler<ExponentialLROptions> {
  /**
   * @param optimizer the optimizer whose learning rates are set
   * @param options gamma
   * @throws TapegradError for a gamma that is not finite
   */
  constructor(optimizer: AnyOptimizer, options: ExponentialLROptions) {
    super('ExponentialLR', optimizer, checkExponential, options);
    this.begin();
  }

  protected override nextLr(): readonly number[] {
    const { gamma } = this.rule;
    return this.isInitial ? this.currentLr : this.currentLr.map((lr) => lr * gamma);
  }
}

function checkExponential(op: string, options: ExponentialLROptions): ExponentialLROptions {
  checkOptions(op, options, ['gamma']);
  return { gamma: checkNumber(op, 'gamma', options?.gamma) };
}

/** The options of `LinearLR`. */
export interface LinearLROptions {
  /** The factor of the learning rate at first; in (0, 1]. Default 1/3. */
  startFactor?: number;
  /** Its factor at the end; in [0, 1]. Default 1. */
  endFactor?: number;
  /** The number of steps from one to the other. Default 5. */
  totalIters?: number;
}

/**
 * Changes the learning rate along a line, such as for a warm-up. As
 * [LinearLR](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LinearLR.html).
 *
 * @example
 * ```ts
 * import { optim, ones } from 'tapegrad';
 *
 * const optimizer = new optim.SGD([ones([2], { requiresGrad: true })], { lr: 0.1 });
 * const scheduler = new optim.lrScheduler.LinearLR(optimizer, { startFactor: 0.5, totalIters: 10 });
 * console.log(scheduler.lastLr); // [0.05]
 * ```
 */
export class LinearLR extends LRScheduler<Required<LinearLROptions>> {
  /**
   * @param optimizer the optimizer whose learning rates are set
   * @param options startFactor, endFactor, totalIters
   * @throws TapegradError for a startFactor outside of (0, 1], an endFactor outside of [0, 1], and totalIters that are no
   *   positive integer
   */
  constructor(optimizer: AnyOptimizer, options: LinearLROptions = {}) {
    super('LinearLR', optimizer, checkLinear, options);
    this.begin();
  }

  protected override nextLr(): readonly number[] {
    const { startFactor, endFactor, totalIters } = this.rule;
    const { lastEpoch, currentLr } = this;
    if (lastEpoch === 0) return currentLr.map((lr) => lr * startFactor);
    if (this.isInitial || lastEpoch > totalIters) return currentLr;
    const way = endFactor - startFactor;
    const factor = 1 + way / (totalIters * startFactor + (lastEpoch - 1) * way);
    return currentLr.map((lr) => lr * factor);
  }

  protected override firstLr(): readonly number[] {
    return this.baseLrs.map((lr) => lr * this.rule.startFactor);
  }
}

function checkLinear(op: string, options: LinearLROptions): Required<LinearLROptions> {
  checkOptions(op, options, ['startFactor', 'endFactor', 'totalIters']);
  const { startFactor = 1 / 3, endFactor = 1, totalIters = 5 } = options;
  if (!(startFactor > 0 && startFactor <= 1))
    fail(op, `startFactor is ${describe(startFactor)}`, 'pass a number above 0, at most 1');
  if (!(endFactor >= 0 && endFactor <= 1)) fail(op, `endFactor is ${describe(endFactor)}`, 'pass a number from 0 to 1');
  return { startFactor, endFactor, totalIters: checkInteger(op, 'totalIters', totalIters) };
}

/** The options of `CosineAnnealingLR`. */
export interface CosineAnnealingLROptions {
  /** The number of steps from the first learning rate to the smallest. */
  tMax: number;
  /** The smallest learning rate. Default 0. */
  etaMin?: number;
}

/**
 * Lowers the learning rate along half a cosine, to `etaMin` after `tMax` steps, and raises it again after those. As
 * [CosineAnnealingLR](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html)
 * ([SGDR](https://arxiv.org/abs/1608.03983), without its restarts).
 *
 * @example
 * ```ts
 * import { optim, ones } from 'tapegrad';
 *
 * const optimizer = new optim.SGD([ones([2], { requiresGrad: true })], { lr: 0.1 });
 * const scheduler = new optim.lrScheduler.CosineAnnealingLR(optimizer, { tMax: 2 });
 * optimizer.step();
 * scheduler.step();
 * console.log(scheduler.lastLr); // about [0.05]
 * ```
 */
export class CosineAnnealingLR extends LRScheduler<Required<CosineAnnealingLROptions>> {
  /**
   * @param optimizer the optimizer whose learning rates are set
   * @param options tMax, etaMin
   * @throws TapegradError for a tMax that is no positive integer, and an etaMin that is not finite
   */
  constructor(optimizer: AnyOptimizer, options: CosineAnnealingLROptions) {
    super('CosineAnnealingLR', optimizer, checkCosine, options);
    this.begin();
  }

  protected override nextLr(): readonly number[] {
    const { tMax, etaMin } = this.rule;
    const { lastEpoch, baseLrs, currentLr } = this;
    if (this.isInitial) return currentLr;
    const turn = (lastEpoch - 1 - tMax) % (2 * tMax) === 0;
    // From the smallest learning rate there is no factor that leads on.
    if (turn) return currentLr.map((lr, i) => lr + ((baseLrs[i] - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2);
    const at = (epoch: number) => 1 + Math.cos((Math.PI * epoch) / tMax);
    const factor = at(lastEpoch) / at(lastEpoch - 1);
    return currentLr.map((lr) => factor * (lr - etaMin) + etaMin);
  }
}

function checkCosine(op: string, options: CosineAnnealingLROptions): Required<CosineAnnealingLROptions> {
  checkOptions(op, options, ['tMax', 'etaMin']);
  const { tMax, etaMin = 0 } = options ?? {};
  return { tMax: checkInteger(op, 'tMax', tMax), etaMin: checkNumber(op, 'etaMin', etaMin) };
}

/** The options of `LambdaLR`. */
export interface LambdaLROptions {
  /** The factor of the first learning rate for the number of steps so far; or one such function for each group. */
  lrLambda: ((epoch: number) => number) | readonly ((epoch: number) => number)[];
}

/**
 * Multiplies the first learning rate by what a function gives for the number of steps so far. The state does not have the
 * function. As [LambdaLR](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LambdaLR.html).
 *
 * @example
 * ```ts
 * import { optim, ones } from 'tapegrad';
 *
 * const optimizer = new optim.SGD([ones([2], { requiresGrad: true })], { lr: 0.1 });
 * const scheduler = new optim.lrScheduler.LambdaLR(optimizer, { lrLambda: (epoch) => 0.5 ** epoch });
 * optimizer.step();
 * scheduler.step();
 * console.log(scheduler.lastLr); // [0.05]
 * ```
 */
export class LambdaLR extends LRScheduler {
  readonly #lambdas: readonly ((epoch: number) => number)[];

  /**
   * @param optimizer the optimizer whose learning rates are set
   * @param options lrLambda
   * @throws TapegradError for what is no function, and for another number of functions than of groups
   */
  constructor(optimizer: AnyOptimizer, options: LambdaLROptions) {
    const op = 'LambdaLR';
    super(op, optimizer, () => ({}), {});
    checkOptions(op, options, ['lrLambda']);
    this.#lambdas = perGroup(op, 'lrLambda', options?.lrLambda, optimizer);
    for (const f of this.#lambdas)
      if (typeof f !== 'function') fail(op, `lrLambda is ${describe(f)}`, 'pass a function of the number of steps');
    this.begin();
  }

  protected override nextLr(): readonly number[] {
    return this.baseLrs.map((lr, i) => lr * this.#lambdas[i](this.lastEpoch));
  }

  protected override firstLr(): readonly number[] {
    return this.nextLr();
  }
}
