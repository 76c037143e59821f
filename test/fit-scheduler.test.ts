import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { data, type FitOptions, fit, manualSeed, nn, optim, randn, tensor, useDevice } from '../src/index.js';
import { errorOf, startLateDevice } from './helpers.js';

const { CosineAnnealingLR, LinearLR, OneCycleLR, ReduceLROnPlateau, SequentialLR, StepLR } = optim.lrScheduler;

const file = () => join(mkdtempSync(join(tmpdir(), 'tapegrad-schedule-')), 'c');

function setUp(make: (o: optim.AdamW) => optim.lrScheduler.AnyScheduler) {
  manualSeed(3);
  const model = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 1));
  const x = randn([40, 3]);
  const dataset = new data.TensorDataset(x, x.sum(1, true));
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.02, amsgrad: true });
  const scheduler = make(optimizer);
  const train = new data.DataLoader(dataset, { batchSize: 8, shuffle: true, seed: 1 });
  const options: FitOptions = { train, loss: new nn.MSELoss(), optimizer, scheduler, epochs: 1, progress: false };
  return { model, optimizer, scheduler, options };
}

const warmUp = (o: optim.AnyOptimizer) =>
  new SequentialLR(o, {
    schedulers: [new LinearLR(o, { totalIters: 3 }), new CosineAnnealingLR(o, { tMax: 5 })],
    milestones: [3],
  });

describe('fit with a scheduler', () => {
  it.each<[string, Parameters<typeof setUp>[0], FitOptions['schedulerInterval'], number]>([
    ['epochs', (o) => new StepLR(o, { stepSize: 2 }), undefined, 6],
    ['epochs in a row of two', warmUp, 'epoch', 6],
    ['steps of a cycle', (o) => new OneCycleLR(o, { maxLr: 0.1, totalSteps: 30 }), 'step', 30],
    ['metrics', (o) => new ReduceLROnPlateau(o, { patience: 0, threshold: 0.5 }), undefined, 6],
  ])('counts %s, and resumes to the same bits', async (_, make, schedulerInterval, steps) => {
    const run = async (epochs: number, checkpoint: string) => {
      const { model, optimizer, scheduler, options } = setUp(make);
      await fit(model, { ...options, schedulerInterval, epochs, checkpoint, resume: true });
      expect(scheduler.lastLr).toEqual(optimizer.paramGroups.map(({ lr }) => lr));
      return {
        weights: model.parameters().map((p) => [...p.dataSync()]),
        state: scheduler.stateDict(),
        lr: optimizer.paramGroups[0].lr,
        betas: optimizer.paramGroups[0].betas,
        step: optimizer.stateDict()['step.0'].itemSync(),
      };
    };
    const [one, two] = [file(), file()];
    const whole = await run(6, one);
    await run(2, two);
    await run(3, two);
    expect(await run(6, two)).toEqual(whole);
    expect(whole.state.lastEpoch).toBe(steps);
    expect(whole.step).toBe(30);
    expect(whole.lr).not.toBe(0.02);
  });
  it('gives a plateau the validation loss, or the training loss without one', async () => {
    for (const validate of [true, false]) {
      const seen: unknown[] = [];
      const { model, options, scheduler } = setUp((o) => new ReduceLROnPlateau(o));
      const own = scheduler.step.bind(scheduler);
      scheduler.step = (metric) => {
        seen.push(metric);
        own(metric);
      };
      const validation = validate ? [[tensor([[1, 2, 3]]), tensor([[6]])] as const] : undefined;
      const { epochs } = await fit(model, { ...options, validation: validation as never, epochs: 3 });
      expect(seen).toEqual(epochs.map((e) => e.validation?.loss ?? e.loss));
      expect(epochs[0].validation !== null).toBe(validate);
    }
  });
  it('steps once for batches that are accumulated', async () => {
    const { model, options, scheduler } = setUp((o) => new StepLR(o, { stepSize: 100 }));
    await fit(model, { ...options, schedulerInterval: 'step', accumulate: 2, epochs: 2 });
    expect(scheduler.stateDict().lastEpoch).toBe(6); // five batches: two steps, and one for the last batch
  });
  it('steps on a device whose values arrive later', async () => {
    const onCpu = setUp((o) => new StepLR(o, { stepSize: 3, gamma: 0.5 }));
    await fit(onCpu.model, { ...onCpu.options, schedulerInterval: 'step', epochs: 2 });
    startLateDevice();
    const late = setUp((o) => new StepLR(o, { stepSize: 3, gamma: 0.5 }));
    late.model.to('gpu');
    const batches = [...(late.options.train as data.DataLoader)];
    const train = batches.map(([x, y]) => [x.to('gpu'), y.to('gpu')] as const);
    await fit(late.model, { ...late.options, train: train as never, schedulerInterval: 'step', epochs: 2 });
    expect(late.scheduler.stateDict()).toEqual(onCpu.scheduler.stateDict());
    await useDevice('cpu');
  });
  it.each<[string, (s: ReturnType<typeof setUp>) => Partial<FitOptions>, string]>([
    ['a text', () => ({ scheduler: 'cosine' as never }), "scheduler is 'cosine'; pass one of optim.lrScheduler"],
    ['null', () => ({ scheduler: null as never }), 'scheduler is null'],
    [
      'one of another optimizer',
      () => ({ scheduler: setUp(warmUp).scheduler }),
      'the scheduler is of another optimizer',
    ],
    ['an unknown interval', () => ({ schedulerInterval: 'batch' as never }), "schedulerInterval is 'batch'"],
    [
      'an interval without a scheduler',
      () => ({ scheduler: undefined, schedulerInterval: 'step' }),
      'schedulerInterval without a scheduler',
    ],
    [
      'a plateau for every step',
      ({ optimizer }) => ({ scheduler: new ReduceLROnPlateau(optimizer), schedulerInterval: 'step' }),
      "ReduceLROnPlateau with schedulerInterval 'step'",
    ],
  ])('refuses %s', async (_, more, text) => {
    const set = setUp(warmUp);
    expect((await errorOf(() => fit(set.model, { ...set.options, ...more(set) }))).message).toContain(text);
  });
  it('does not resume from a checkpoint of another scheduler or of none, and changes nothing then', async () => {
    const checkpoint = file();
    const before = setUp(warmUp);
    await fit(before.model, { ...before.options, scheduler: undefined, checkpoint });
    const first = file();
    const other = setUp((o) => new StepLR(o, { stepSize: 2 }));
    await fit(other.model, { ...other.options, checkpoint: first });
    for (const [path, text] of [
      [checkpoint, 'has no state of a scheduler; resume without one'],
      [first, 'SequentialLR.loadStateDict'],
    ]) {
      const { model, scheduler, optimizer, options } = setUp(warmUp);
      const now = () => [scheduler.stateDict(), optimizer.paramGroups[0].lr, model.parameters()[0].toArraySync()];
      const kept = now();
      const error = await errorOf(() => fit(model, { ...options, checkpoint: path, resume: true, epochs: 3 }));
      expect(error.message).toContain(text);
      expect(now()).toEqual(kept);
    }
    // Without one a checkpoint with a scheduler goes on with the learning rate that it has.
    const { model, optimizer, options } = setUp(warmUp);
    await fit(model, { ...options, scheduler: undefined, checkpoint: first, resume: true, epochs: 2 });
    expect(optimizer.paramGroups[0].lr).toBe(0.02);
  });
});
