import { checkBoolean, checkChoice, checkInteger, checkNumber, checkOptions, describe, fail } from '../../errors.js';
import type { AnyOptimizer, LearningRate, ParamGroup } from '../optimizer.js';
import { LRScheduler, perGroup, setInitialLr } from './scheduler.js';

/** The options of `OneCycleLR`. */
export interface OneCycleLROptions {
  /** The largest learning rate; one number, or one for each group. */
  maxLr: number | readonly number[];
  /** The number of steps of the cycle. */
  totalSteps: number;
  /** The part of the steps in which the learning rate grows; from 0 to 1. Default 0.3. */
  pctStart?: number;
  /** Along what the learning rate changes. Default 'cos'. */
  annealStrategy?: 'cos' | 'linear';
  /** Whether the momentum (SGD, RMSprop) or the first of the betas (Adam) goes the other way. Default true. */
  cycleMomentum?: boolean;
  /** The smallest momentum; one number, or one for each group. Default 0.85. */
  baseMomentum?: number | readonly number[];
  /** The largest momentum; one number, or one for each group. Default 0.95. */
  maxMomentum?: number | readonly number[];
  /** The first learning rate is maxLr / divFactor. Default 25. */
  divFactor?: number;
  /** The last learning rate is the first one / finalDivFactor. Default 1e4. */
  finalDivFactor?: number;
  /** Whether the learning rate first falls to where it began, as long as it grew, and then to the last one. Default false. */
  threePhase?: boolean;
}

type Rule = Required<OneCycleLROptions>;

/** Where a phase ends, and between what numbers it leads. */
interface Phase {
  readonly end: number;
  readonly lr: readonly [from: keyof Rates, to: keyof Rates];
  readonly momentum: readonly [from: 0 | 1, to: 0 | 1];
}

interface Rates {
  readonly initial: number;
  readonly max: number;
  readonly min: number;
}

const KNOWN: readonly (keyof Rule)[] = [
  'maxLr',
  'totalSteps',
  'pctStart',
  'annealStrategy',
  'cycleMomentum',
  'baseMomentum',
  'maxMomentum',
  'divFactor',
  'finalDivFactor',
  'threePhase',
];

/** The numbers that may be cycled. */
type Cycled = ParamGroup<LearningRate> & { momentum?: number; betas?: readonly [number, number] };

/**
 * One cycle: the learning rate grows from maxLr / divFactor to maxLr and falls far below where it began, while the momentum goes
 * the other way. `step()` is called after every step of the optimizer, not of an epoch. As
 * [OneCycleLR](https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html)
 * ([Super-convergence](https://arxiv.org/abs/1708.07120)).
 *
 * @example
 * ```ts
 * import { optim, ones } from 'tapegrad';
 *
 * const optimizer = new optim.Adam([ones([2], { requiresGrad: true })]);
 * const scheduler = new optim.lrScheduler.OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: 100 });
 * console.log(scheduler.lastLr, optimizer.paramGroups[0].betas[0]); // about [0.004], 0.95
 * ```
 */
export class OneCycleLR extends LRScheduler<Rule> {
  /**
   * @param optimizer the optimizer whose learning rates are set
   * @param options maxLr, totalSteps and the form of the cycle
   * @throws TapegradError for invalid numbers, for another number of maxLr or momenta than of groups, and with cycleMomentum
   *   for an optimizer that has neither momentum nor betas
   */
  constructor(optimizer: AnyOptimizer, options: OneCycleLROptions) {
    const op = 'OneCycleLR';
    super(op, optimizer, check, options);
    const { maxLr, divFactor, cycleMomentum, baseMomentum, maxMomentum } = this.rule;
    const most = perGroup(op, 'maxLr', maxLr, optimizer);
    perGroup(op, 'baseMomentum', baseMomentum, optimizer);
    perGroup(op, 'maxMomentum', maxMomentum, optimizer);
    const groups: readonly Cycled[] = optimizer.paramGroups;
    if (cycleMomentum && !groups.every((group) => 'betas' in group || 'momentum' in group))
      fail(op, 'the optimizer has neither momentum nor betas', 'pass { cycleMomentum: false }');
    this.baseLrs = most.map((lr) => lr / divFactor);
    groups.forEach((group, i) => void setInitialLr(group, this.baseLrs[i]));
    this.begin();
  }

  /**
   * Sets the learning rates and momenta of the next step of the optimizer: call it after `optimizer.step()`.
   * @throws TapegradError beyond totalSteps, and if the optimizer has got other groups since
   */
  override step(): void {
    const { totalSteps } = this.rule;
    if (this.lastEpoch >= totalSteps)
      fail('OneCycleLR', `step ${this.lastEpoch + 1} of ${totalSteps}`, 'pass a larger totalSteps, or stop after them');
    super.step();
  }

  protected override nextLr(): readonly number[] {
    const { maxLr, finalDivFactor, annealStrategy, cycleMomentum, baseMomentum, maxMomentum } = this.rule;
    const { optimizer, op, baseLrs, lastEpoch } = this;
    const [phase, part] = this.#phase(lastEpoch);
    const anneal = annealStrategy === 'cos' ? alongCosine : alongLine;
    const most = perGroup(op, 'maxLr', maxLr, optimizer);
    if (cycleMomentum) {
      const ends = [baseMomentum, maxMomentum].map((m) => perGroup(op, 'momenta', m, optimizer));
      const [from, to] = phase.momentum;
      optimizer.paramGroups.forEach((group: Cycled, i) => {
        const momentum = anneal(ends[from][i], ends[to][i], part);
        if (group.betas !== undefined) group.betas = [momentum, group.betas[1]];
        else group.momentum = momentum;
      });
    }
    return baseLrs.map((initial, i) => {
      const rates: Rates = { initial, max: most[i], min: initial / finalDivFactor };
      const [from, to] = phase.lr;
      return anneal(rates[from], rates[to], part);
    });
  }

  protected override firstLr(): readonly number[] {
    return this.nextLr();
  }

  /** The phase of a step, and the part of it that has passed. */
  #phase(step: number): [phase: Phase, part: number] {
    const { totalSteps, pctStart, threePhase } = this.rule;
    const up: Phase = { end: pctStart * totalSteps - 1, lr: ['initial', 'max'], momentum: [1, 0] };
    const phases: Phase[] = threePhase
      ? [
          up,
          { end: 2 * pctStart * totalSteps - 2, lr: ['max', 'initial'], momentum: [0, 1] },
          { end: totalSteps - 1, lr: ['initial', 'min'], momentum: [1, 1] },
        ]
      : [up, { end: totalSteps - 1, lr: ['max', 'min'], momentum: [0, 1] }];
    const found = phases.findIndex(({ end }) => step <= end);
    const i = found < 0 ? phases.length - 1 : found;
    const start = i === 0 ? 0 : phases[i - 1].end;
    const { end } = phases[i];
    // A phase of no length ends at once.
    return [phases[i], end === start ? 1 : (step - start) / (end - start)];
  }
}

const alongCosine = (from: number, to: number, part: number) => to + ((from - to) / 2) * (Math.cos(Math.PI * part) + 1);
const alongLine = (from: number, to: number, part: number) => (to - from) * part + from;

function check(op: string, options: OneCycleLROptions): Rule {
  checkOptions(op, options, KNOWN);
  const {
    maxLr,
    totalSteps,
    pctStart = 0.3,
    annealStrategy = 'cos',
    cycleMomentum = true,
    baseMomentum = 0.85,
    maxMomentum = 0.95,
    divFactor = 25,
    finalDivFactor = 1e4,
    threePhase = false,
  } = options ?? {};
  for (const [name, values] of Object.entries({ maxLr, baseMomentum, maxMomentum }))
    for (const value of Array.isArray(values) ? values : [values]) checkNumber(op, name, value, 0);
  checkInteger(op, 'totalSteps', totalSteps);
  if (!(pctStart >= 0 && pctStart <= 1)) fail(op, `pctStart is ${describe(pctStart)}`, 'pass a number from 0 to 1');
  checkChoice(op, 'annealStrategy', annealStrategy, ['cos', 'linear']);
  checkBoolean(op, 'cycleMomentum', cycleMomentum);
  checkNumber(op, 'divFactor', divFactor, Number.MIN_VALUE);
  checkNumber(op, 'finalDivFactor', finalDivFactor, Number.MIN_VALUE);
  checkBoolean(op, 'threePhase', threePhase);
  return {
    maxLr,
    totalSteps,
    pctStart,
    annealStrategy,
    cycleMomentum,
    baseMomentum,
    maxMomentum,
    divFactor,
    finalDivFactor,
    threePhase,
  };
}
