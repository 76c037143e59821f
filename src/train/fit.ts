import { noGrad } from '../autograd/mode.js';
import { checkInteger, checkNumber, checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { Module, type StateDict, type TensorModule } from '../nn/module.js';
import { builtin } from '../node.js';
import { SGD } from '../optim/sgd.js';
import { type Resumable, readCheckpoint, type TrainingState, writeCheckpoint } from './checkpoint.js';
import { silent, terminalProgress } from './progress.js';

/** Batches of [input, target], such as a DataLoader. */
export type Batches = (Iterable<Tensor[]> | AsyncIterable<Tensor[]>) & { readonly length?: number };

/** A number for one batch of outputs and targets; fit averages it over the samples. */
export type Metric = (output: Tensor, target: Tensor) => number | Promise<number>;

/** What one epoch gave. */
export interface EpochReport {
  /** From 1. */
  epoch: number;
  /** The mean training loss of the samples, as they were met. */
  loss: number;
  samples: number;
  /** Training time in seconds, without validation. */
  seconds: number;
  samplesPerSecond: number;
  /** The mean loss, and each metric, on the validation data. */
  validation: { loss: number; [metric: string]: number } | null;
}

export interface FitOptions {
  /** Training batches. */
  train: Batches;
  /** Batches to judge each epoch by. */
  validation?: Batches;
  /** A loss with the mean over the batch. */
  loss: { forward(prediction: Tensor, target: Tensor): Tensor };
  optimizer: SGD;
  /** How many epochs there are in all, those before a resumed checkpoint included. */
  epochs: number;
  /** Taken on the validation data, by name. */
  metrics?: Readonly<Record<string, Metric>>;
  /** Called after each epoch; return false to stop. */
  onEpoch?: (report: EpochReport) => unknown;
  /** Stop when the validation loss has not fallen by more than `minDelta` (default 0) for `patience` epochs, and go back to the best parameters. */
  earlyStopping?: { patience: number; minDelta?: number };
  /** A file that is written after each epoch. */
  checkpoint?: string;
  /** Go on from the checkpoint if there is one, to the same bits as a run that was never interrupted. Default false. */
  resume?: boolean;
  /** Show a progress bar on a terminal. Default true. */
  progress?: boolean;
}

/** What fit did. */
export interface History {
  epochs: EpochReport[];
  /** Why it ended. */
  stopped: 'epochs' | 'earlyStopping' | 'onEpoch';
}

const OPTIONS = [
  'train',
  'validation',
  'loss',
  'optimizer',
  'epochs',
  'metrics',
  'onEpoch',
  'earlyStopping',
  'checkpoint',
  'resume',
  'progress',
];

/**
 * Trains a model: for each epoch the loop over the batches, validation, and what the options ask for.
 *
 * @throws TapegradError for options that do not go together, a loss that is no longer finite, and a checkpoint that
 * does not fit
 */
export async function fit(model: TensorModule, options: FitOptions): Promise<History> {
  check(model, options);
  const { train, optimizer, epochs, checkpoint, earlyStopping } = options;
  const progress = options.progress === false ? silent : terminalProgress();
  const loader = train as Partial<Resumable>;
  let state: TrainingState = { epochs: [], best: null };
  let best: StateDict | null = null;
  if (options.resume && checkpoint && builtin('node:fs')?.existsSync(checkpoint)) {
    ({ state, best } = await readCheckpoint(checkpoint, model, optimizer, loader));
  }
  const stalled = () =>
    earlyStopping !== undefined &&
    state.best !== null &&
    state.epochs.length - state.best.epoch >= earlyStopping.patience;
  let stopped: History['stopped'] = 'epochs';
  while (state.epochs.length < epochs && !stalled()) {
    const epoch = state.epochs.length + 1;
    try {
      progress.start(`epoch ${epoch}/${epochs}`, train.length ?? 0);
      const report = {
        epoch,
        ...(await trainEpoch(model, options, epoch, (n, note) => progress.update(n, note))),
        validation: await validate(model, options),
      };
      state.epochs.push(report);
    } finally {
      progress.stop();
    }
    const report = state.epochs[epoch - 1];
    if (
      earlyStopping &&
      (state.best === null || report.validation!.loss < state.best.loss - (earlyStopping.minDelta ?? 0))
    ) {
      state.best = { loss: report.validation!.loss, epoch };
      best = Object.fromEntries(Object.entries(model.stateDict()).map(([key, value]) => [key, value.clone()]));
    }
    if (checkpoint) await writeCheckpoint(checkpoint, model, optimizer, loader, state, best);
    if ((await options.onEpoch?.(report)) === false) {
      stopped = 'onEpoch';
      break;
    }
  }
  if (stopped === 'epochs' && stalled()) stopped = 'earlyStopping';
  if (best !== null) model.loadStateDict(best);
  return { epochs: state.epochs, stopped };
}

async function trainEpoch(
  model: TensorModule,
  options: FitOptions,
  epoch: number,
  tell: (batch: number, note: string) => void,
): Promise<Omit<EpochReport, 'epoch' | 'validation'>> {
  const { train, loss, optimizer } = options;
  model.train();
  const start = performance.now();
  let total = 0;
  let samples = 0;
  let batch = 0;
  for await (const [x, y] of train) {
    const cost = loss.forward(model.forward(x), y);
    optimizer.zeroGrad();
    cost.backward();
    optimizer.step();
    const value = await cost.item();
    if (!Number.isFinite(value))
      fail(
        'fit',
        `the loss is ${value} in batch ${batch} of epoch ${epoch}`,
        'use a smaller learning rate, and check the data for NaN',
      );
    total += value * x.shape[0];
    samples += x.shape[0];
    batch++;
    if (batch % 16 === 0)
      tell(
        batch,
        `loss ${(total / samples).toFixed(4)} | ${Math.round(samples / ((performance.now() - start) / 1000))} samples/s`,
      );
  }
  if (samples === 0)
    fail(
      'fit',
      'the training data gave no batch',
      'pass a loader with at least one; an iterator can only be used once',
    );
  const seconds = (performance.now() - start) / 1000;
  return { loss: total / samples, samples, seconds, samplesPerSecond: samples / seconds };
}

async function validate(
  model: TensorModule,
  { validation, loss, metrics = {} }: FitOptions,
): Promise<EpochReport['validation']> {
  if (validation === undefined) return null;
  model.eval();
  const sums: { loss: number; [metric: string]: number } = { loss: 0 };
  let samples = 0;
  for await (const [x, y] of validation) {
    const n = x.shape[0];
    const [output, cost] = noGrad(() => {
      const out = model.forward(x);
      return [out, loss.forward(out, y)];
    });
    sums.loss += n * (await cost.item());
    for (const [name, metric] of Object.entries(metrics))
      sums[name] = (sums[name] ?? 0) + n * (await metric(output, y));
    samples += n;
  }
  model.train();
  if (samples === 0)
    fail(
      'fit',
      'the validation data gave no batch',
      'pass a loader with at least one; an iterator can only be used once',
    );
  for (const name of Object.keys(sums)) sums[name] /= samples;
  return sums;
}

function check(model: Module, options: FitOptions): void {
  if (!(model instanceof Module)) fail('fit', `the model is ${describe(model)}`, 'pass a module');
  checkOptions('fit', options, OPTIONS);
  const { train, validation, loss, optimizer, earlyStopping, metrics = {} } = options ?? {};
  const iterable = (v: unknown) =>
    typeof v === 'object' && v !== null && (Symbol.iterator in v || Symbol.asyncIterator in v);
  if (!iterable(train)) fail('fit', `train is ${describe(train)}`, 'pass a DataLoader');
  if (validation !== undefined && !iterable(validation))
    fail('fit', `validation is ${describe(validation)}`, 'pass a DataLoader');
  if (typeof loss?.forward !== 'function')
    fail('fit', `loss is ${describe(loss)}`, 'pass a loss such as new nn.MSELoss()');
  if (!(optimizer instanceof SGD)) fail('fit', `optimizer is ${describe(optimizer)}`, 'pass an optim.SGD');
  checkInteger('fit', 'epochs', options.epochs);
  for (const [name, metric] of Object.entries(metrics)) {
    if (typeof metric !== 'function' || name === 'loss')
      fail(
        'fit',
        `the metric ${name} is ${describe(metric)}`,
        "pass functions of output and target, under names other than 'loss'",
      );
  }
  if (options.resume && !options.checkpoint) fail('fit', 'resume without a checkpoint', 'name the checkpoint file');
  if (earlyStopping === undefined) return;
  checkOptions('fit', earlyStopping, ['patience', 'minDelta']);
  checkInteger('fit', 'earlyStopping.patience', earlyStopping.patience);
  checkNumber('fit', 'earlyStopping.minDelta', earlyStopping.minDelta ?? 0, 0);
  if (validation === undefined) fail('fit', 'earlyStopping without validation data', 'pass validation batches');
}
