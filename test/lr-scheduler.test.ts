import { describe, expect, it } from 'vitest';
import { optim, tensor, zeros } from '../src/index.js';
import { errorOf } from './helpers.js';
import { golden } from './trajectories.js';

const {
  CosineAnnealingLR,
  ExponentialLR,
  LambdaLR,
  LinearLR,
  LRScheduler,
  MultiStepLR,
  OneCycleLR,
  ReduceLROnPlateau,
  SequentialLR,
  StepLR,
} = optim.lrScheduler;

type Scheduler = Pick<optim.lrScheduler.AnyScheduler, 'step' | 'stateDict' | 'loadStateDict'>;

const sgd = (...rates: number[]) =>
  new optim.SGD(rates.map((lr) => ({ params: [zeros([1], { requiresGrad: true })], lr }))); // biome-ignore format: short
const lrOf = (o: optim.AnyOptimizer) => o.paramGroups.map(({ lr }) => lr);

/** Several schedulers, one after the other. */
const together = (...parts: Scheduler[]): Scheduler => ({
  step: () => parts.forEach((part) => void part.step()),
  stateDict: () => ({ parts: parts.map((part) => part.stateDict()) }),
  loadStateDict: ({ parts: states }) =>
    parts.forEach((part, i) => void part.loadStateDict((states as optim.lrScheduler.SchedulerState[])[i])),
});

/** The schedulers of test/golden/optim.py by name. */
const makers: Record<string, (o: optim.AnyOptimizer) => Scheduler> = {
  step: (o) => new StepLR(o, { stepSize: 3 }),
  'step, by hand': (o) => new StepLR(o, { stepSize: 4, gamma: 0.5 }),
  'multi-step': (o) => new MultiStepLR(o, { milestones: [2, 5, 5, 11] }),
  'multi-step, by hand': (o) => new MultiStepLR(o, { milestones: [8, 2], gamma: 0.3 }),
  exponential: (o) => new ExponentialLR(o, { gamma: 0.9 }),
  'exponential, by hand': (o) => new ExponentialLR(o, { gamma: 0.8 }),
  cosine: (o) => new CosineAnnealingLR(o, { tMax: 10 }),
  'cosine, by hand': (o) => new CosineAnnealingLR(o, { tMax: 5, etaMin: 0.01 }),
  linear: (o) => new LinearLR(o),
  'linear, by hand': (o) => new LinearLR(o, { startFactor: 0.5, endFactor: 0.9, totalIters: 8 }),
  'one cycle': (o) => new OneCycleLR(o, { maxLr: 0.5, totalSteps: 16 }),
  'one cycle, linear in three phases': (o) =>
    new OneCycleLR(o, {
      maxLr: [0.5, 2],
      totalSteps: 16,
      pctStart: 0.4,
      annealStrategy: 'linear',
      threePhase: true,
      baseMomentum: 0.6,
      maxMomentum: 0.8,
      divFactor: 10,
      finalDivFactor: 100,
    }),
  'one cycle of Adam': (o) => new OneCycleLR(o, { maxLr: 0.5, totalSteps: 13 }),
  'one cycle without momentum': (o) => new OneCycleLR(o, { maxLr: 0.5, totalSteps: 16, cycleMomentum: false }),
  lambda: (o) => new LambdaLR(o, { lrLambda: (n) => 0.95 ** n }),
  lambdas: (o) => new LambdaLR(o, { lrLambda: [(n) => 1 / (1 + n), (n) => n] }),
  'warm-up, then cosine': (o) =>
    new SequentialLR(o, {
      schedulers: [new LinearLR(o, { startFactor: 0.1, totalIters: 4 }), new CosineAnnealingLR(o, { tMax: 9 })],
      milestones: [4],
    }),
  'three in a row': (o) =>
    new SequentialLR(o, {
      schedulers: [
        new LinearLR(o, { startFactor: 0.5, totalIters: 2 }),
        new StepLR(o, { stepSize: 2 }),
        new ExponentialLR(o, { gamma: 0.7 }),
      ],
      milestones: [3, 9],
    }),
  plateau: (o) => new ReduceLROnPlateau(o, { patience: 1 }),
  'plateau of a maximum': (o) =>
    new ReduceLROnPlateau(o, { mode: 'max', factor: 0.5, patience: 2, threshold: 0.1, cooldown: 2, minLr: 0.01 }),
  'plateau with absolute threshold': (o) =>
    new ReduceLROnPlateau(o, {
      factor: 0.3,
      patience: 0,
      threshold: 0.06,
      thresholdMode: 'abs',
      minLr: [0.02, 0.001],
      eps: 0.01,
    }),
  'plateau with NaN': (o) => new ReduceLROnPlateau(o, { patience: 0, factor: 0.5 }),
  'two at once': (o) => together(new ExponentialLR(o, { gamma: 0.9 }), new StepLR(o, { stepSize: 4, gamma: 0.5 })),
};

describe(`schedulers as in PyTorch ${golden.torch}`, () => {
  it.each(golden.schedulers.map((c) => [c.name, c] as const))('%s, resumed in the middle as well', (name, c) => {
    const setUp = () => {
      const groups = c.groups.map((lr) => ({ params: [zeros([1], { requiresGrad: true })], lr }));
      const optimizer = c.optimizer === 'SGD' ? new optim.SGD(groups, c.options) : new optim.Adam(groups);
      return { optimizer, scheduler: makers[name](optimizer) };
    };
    const check = ({ optimizer }: ReturnType<typeof setUp>, at: number) => {
      const close = (actual: number[], expected: number[], what: string) =>
        actual.forEach((x, i) => void expect(Math.abs(x / expected[i] - 1) || 0, `${what} ${at}`).toBeLessThan(1e-12));
      close(lrOf(optimizer), c.rates[at], 'rate');
      const groups: readonly { momentum?: number; betas?: readonly number[] }[] = optimizer.paramGroups;
      close(
        groups.map(({ momentum, betas }) => momentum ?? betas![0]),
        c.momenta[at],
        'momentum',
      );
    };
    const runs = [setUp()];
    check(runs[0], 0);
    for (let i = 0; i + 1 < c.rates.length; i++) {
      for (const { optimizer, scheduler } of runs) {
        optimizer.step();
        if (c.byHand?.[i] !== undefined) optimizer.paramGroups[0].lr = c.byHand[i];
        scheduler.step(c.metrics === null ? undefined : Number(String(c.metrics[i]).replace('inf', 'Infinity')));
      }
      for (const run of runs) check(run, i + 1);
      if (i % 5 !== 3) continue;
      const resumed = setUp();
      resumed.optimizer.loadStateDict(runs[0].optimizer.stateDict());
      resumed.scheduler.loadStateDict(JSON.parse(JSON.stringify(runs[0].scheduler.stateDict())));
      runs.push(resumed);
    }
    expect(runs.length).toBeGreaterThan(1);
  });
});

describe('a scheduler', () => {
  it('keeps the first learning rate of a group, out of reach of options and states', () => {
    const optimizer = sgd(0.1, 0.2);
    const scheduler = new LinearLR(optimizer, { startFactor: 0.5 });
    expect(lrOf(optimizer)).toEqual([0.05, 0.1]);
    expect(optimizer.paramGroups.map(({ initialLr }) => initialLr)).toEqual([0.1, 0.2]);
    expect(scheduler.getLastLr()).toEqual(scheduler.lastLr);
    optimizer.step();
    expect(Object.keys(optimizer.paramGroups[0])).not.toContain('initialLr');
    // Another scheduler begins with the same.
    new LambdaLR(optimizer, { lrLambda: () => 1 });
    expect(lrOf(optimizer)).toEqual([0.1, 0.2]);
  });
  it('has a state of its own numbers, which comes with the numbers of its rule', () => {
    const scheduler = new StepLR(sgd(0.1), { stepSize: 2 });
    const state = scheduler.stateDict();
    expect(state).toEqual({ stepSize: 2, gamma: 0.1, lastEpoch: 0, baseLrs: [0.1], lastLr: [0.1] });
    (state.lastLr as number[])[0] = 7;
    expect(scheduler.lastLr).toEqual([0.1]);
    const other = new StepLR(sgd(0.5), { stepSize: 9 });
    other.loadStateDict(scheduler.stateDict());
    expect(other.stateDict()).toEqual(scheduler.stateDict());
  });
  it('takes a tensor for a metric', () => {
    const optimizer = sgd(0.1);
    const scheduler = new ReduceLROnPlateau(optimizer, { patience: 0, factor: 0.5 });
    for (const loss of [1, 1]) scheduler.step(tensor(loss));
    expect(lrOf(optimizer)).toEqual([0.05]);
  });
  it('lets a phase of no length end at once', () => {
    const optimizer = sgd(0.1);
    const scheduler = new OneCycleLR(optimizer, { maxLr: 1, totalSteps: 10, pctStart: 0.1, cycleMomentum: false });
    expect(lrOf(optimizer)).toEqual([1]);
    for (let i = 0; i < 9; i++) scheduler.step();
    expect(lrOf(optimizer)[0]).toBeCloseTo(1 / 25 / 1e4, 12);
  });
  it('may stand in a row within a row', () => {
    const optimizer = sgd(1);
    const inner = new SequentialLR(optimizer, {
      schedulers: [new LambdaLR(optimizer, { lrLambda: () => 0.5 }), new LambdaLR(optimizer, { lrLambda: () => 0.25 })],
      milestones: [2],
    });
    const outer = new SequentialLR(optimizer, {
      schedulers: [new LambdaLR(optimizer, { lrLambda: () => 2 }), inner],
      milestones: [1],
    });
    const seen = [lrOf(optimizer)[0]];
    for (let i = 0; i < 4; i++) {
      outer.step();
      seen.push(outer.lastLr[0]);
    }
    expect(seen).toEqual([2, 0.5, 0.5, 0.25, 0.25]);
  });
  it('can be written by anyone', () => {
    class Halving extends LRScheduler {
      constructor(o: optim.AnyOptimizer) {
        super('Halving', o, () => ({}), {});
        this.begin();
      }
      protected override nextLr() {
        return this.baseLrs.map((lr) => lr * 0.5 ** this.lastEpoch);
      }
    }
    const optimizer = sgd(1, 4);
    const scheduler = new Halving(optimizer);
    scheduler.step();
    scheduler.step();
    expect(lrOf(optimizer)).toEqual([0.25, 1]);
  });
});

describe('refused is', () => {
  const o = () => sgd(0.1);
  const step = () => new StepLR(o(), { stepSize: 1 });
  it.each<[string, () => unknown, string]>([
    ['no optimizer', () => new StepLR(null as never, { stepSize: 1 }), '[StepLR] the optimizer is null'],
    ['no options', () => new StepLR(o(), undefined as never), 'stepSize is undefined'],
    ['a fraction of a step', () => new StepLR(o(), { stepSize: 0.5 }), 'stepSize is 0.5'],
    ['a misspelt option', () => new StepLR(o(), { stepsize: 1 } as never), "unknown option 'stepsize'"],
    ['a gamma of NaN', () => new ExponentialLR(o(), { gamma: Number.NaN }), '[ExponentialLR] gamma is NaN'],
    ['a milestone below 0', () => new MultiStepLR(o(), { milestones: [1, -1] }), 'milestone 1 is -1'],
    ['no milestones', () => new MultiStepLR(o(), {} as never), 'milestones are undefined'],
    ['a startFactor of 0', () => new LinearLR(o(), { startFactor: 0 }), '[LinearLR] startFactor is 0'],
    ['an endFactor of 2', () => new LinearLR(o(), { endFactor: 2 }), 'endFactor is 2'],
    ['a tMax of 0', () => new CosineAnnealingLR(o(), { tMax: 0 }), '[CosineAnnealingLR] tMax is 0'],
    ['no function', () => new LambdaLR(o(), { lrLambda: 0.5 as never }), '[LambdaLR] lrLambda is 0.5'],
    ['two functions', () => new LambdaLR(o(), { lrLambda: [Math.abs, Math.abs] }), 'lrLambda has [2] values for 1'],
    ['a pctStart of 2', () => new OneCycleLR(o(), { maxLr: 1, totalSteps: 9, pctStart: 2 }), 'pctStart is 2'],
    ['no steps', () => new OneCycleLR(o(), { maxLr: 1 } as never), 'totalSteps is undefined'],
    ['two maxLr', () => new OneCycleLR(o(), { maxLr: [1, 2], totalSteps: 9 }), 'maxLr has [2] values for 1 groups'],
    [
      'an unknown strategy',
      () => new OneCycleLR(o(), { maxLr: 1, totalSteps: 9, annealStrategy: 'sine' as never }),
      "annealStrategy is 'sine'",
    ],
    [
      'a cycle of no momentum',
      () => new OneCycleLR(new optim.Adagrad([zeros([1])]), { maxLr: 1, totalSteps: 9 }),
      'neither momentum nor betas; pass { cycleMomentum: false }',
    ],
    ['a factor of 1', () => new ReduceLROnPlateau(o(), { factor: 1 }), '[ReduceLROnPlateau] factor is 1'],
    ['an unknown mode', () => new ReduceLROnPlateau(o(), { mode: 'mean' as never }), "mode is 'mean'"],
    ['two minLr', () => new ReduceLROnPlateau(o(), { minLr: [0, 0] }), 'minLr has [2] values for 1 groups'],
    ['no metric', () => new ReduceLROnPlateau(o()).step(), 'the metric is undefined; pass a number: step(loss)'],
    ['no schedulers', () => new SequentialLR(o(), { schedulers: [], milestones: [] }), 'schedulers are []'],
    [
      'one of another optimizer',
      () => new SequentialLR(o(), { schedulers: [step()], milestones: [] }),
      'scheduler 0 has another optimizer',
    ],
    [
      'one that needs a metric',
      () => new SequentialLR(o(), { schedulers: [new ReduceLROnPlateau(o()) as never], milestones: [] }),
      'pass schedulers whose step() needs no metric',
    ],
    [
      'a milestone too many',
      () => {
        const s = step();
        return new SequentialLR(s.optimizer, { schedulers: [s], milestones: [1] });
      },
      '1 milestones for 1 schedulers',
    ],
    ['a state of null', () => step().loadStateDict(null as never), '[StepLR.loadStateDict] the state is null'],
    ['a state of another kind', () => step().loadStateDict(new LinearLR(o()).stateDict()), 'the state has no stepSize'],
    [
      'a state of other groups',
      () => step().loadStateDict(new StepLR(sgd(1, 2), { stepSize: 1 }).stateDict()),
      'baseLrs is [1, 2] for 1 groups',
    ],
    [
      'a state with a bad number',
      () => step().loadStateDict({ ...step().stateDict(), stepSize: 0 }),
      '[StepLR.loadStateDict] stepSize is 0',
    ],
    [
      'a bad state of a plateau',
      () => {
        const s = new ReduceLROnPlateau(o());
        s.loadStateDict({ ...s.stateDict(), badEpochs: -1 });
      },
      'badEpochs is -1',
    ],
  ])('%s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
  it('a step beyond the last one of a cycle', async () => {
    const scheduler = new OneCycleLR(o(), { maxLr: 1, totalSteps: 3, cycleMomentum: false });
    for (let i = 0; i < 3; i++) scheduler.step();
    expect((await errorOf(() => scheduler.step())).message).toContain('[OneCycleLR] step 4 of 3');
  });
  it('a group that came later', async () => {
    const optimizer = o();
    const scheduler = new ExponentialLR(optimizer, { gamma: 0.5 });
    optimizer.addParamGroup({ params: [zeros([1])], lr: 1 });
    expect((await errorOf(() => scheduler.step())).message).toContain('has 2 groups, and had 1 when');
    expect(lrOf(optimizer)).toEqual([0.1, 1]);
  });
  it('half of a row of states', async () => {
    const row = (optimizer: optim.SGD) =>
      new SequentialLR(optimizer, {
        schedulers: [new LinearLR(optimizer), new StepLR(optimizer, { stepSize: 1 })],
        milestones: [2],
      });
    const [one, two] = [row(o()), row(o())];
    one.step();
    const state = one.stateDict() as { schedulers: object[] };
    const before = two.stateDict();
    const spoilt = { ...state, schedulers: [state.schedulers[0], {}] };
    expect((await errorOf(() => two.loadStateDict(spoilt as never))).message).toContain('the state has no stepSize');
    expect(two.stateDict()).toEqual(before);
  });
});
