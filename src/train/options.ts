import { checkChoice, checkInteger, checkNumber, checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { Module } from '../nn/module.js';
import type { AnyScheduler } from '../optim/lr-scheduler/index.js';
import { ReduceLROnPlateau } from '../optim/lr-scheduler/plateau.js';
import type { Batches } from './batches.js';
import { isOptimizer, type Optimizer, ownedBy } from './optimizer.js';

/** The result of a metric: a number, or a tensor with one element. */
export type MetricValue = number | Tensor;

/**
 * A metric of validation: a function of the outputs and targets of one batch, whose result `fit` averages over the samples.
 * With `wholeSet` it is computed once from the outputs and targets of all batches, for metrics that are not a mean over
 * batches.
 */
export interface Metric {
  /**
   * Computes the metric.
   *
   * @param output the model's output, shape [n, ..]
   * @param target the targets of the same samples, shape [n, ..]
   * @returns a number or a tensor with one element, or a promise of one
   */
  (output: Tensor, target: Tensor): MetricValue | Promise<MetricValue>;
  /** Whether the metric needs all outputs and targets at once. Default false. */
  readonly wholeSet?: boolean;
}

/** Metrics by name. */
export type Metrics = Readonly<Record<string, Metric>>;

/**
 * The mean loss and each metric on the validation data.
 *
 * @typeParam M the metrics by name
 */
export type ValidationReport<M extends Metrics = Metrics> = {
  /** The mean loss of the samples. */
  loss: number;
} & { -readonly [K in keyof M]: number };

/**
 * The results of one epoch.
 *
 * @typeParam M the metrics by name
 */
export interface EpochReport<M extends Metrics = Metrics> {
  /** The number of the epoch, from 1. */
  epoch: number;
  /** The mean training loss of the samples, each computed with the weights at its batch. */
  loss: number;
  /** The number of training samples. */
  samples: number;
  /** Training time in seconds, without validation. */
  seconds: number;
  /** Training samples per second. */
  samplesPerSecond: number;
  /** Loss and metrics on the validation data; null without validation data. */
  validation: ValidationReport<M> | null;
}

/** The results of one training batch. */
export interface BatchReport {
  /** The number of the epoch, from 1. */
  epoch: number;
  /** The index of the batch in the epoch, from 0. */
  batch: number;
  /** The mean loss of its samples. */
  loss: number;
  /** The number of its samples. */
  samples: number;
}

/**
 * Options of {@link fit}.
 *
 * @typeParam M the metrics by name
 */
export interface FitOptions<M extends Metrics = Metrics> {
  /** The training batches. */
  train: Batches;
  /** The validation batches, evaluated after each epoch. */
  validation?: Batches;
  /** A loss that is the mean or the sum over the samples of a batch, such as `new nn.MSELoss()`. */
  loss: {
    /** Computes the loss. @param prediction the model's output @param target the targets @returns a tensor with one element */
    forward(prediction: Tensor, target: Tensor): Tensor;
    /** Whether the loss is the mean ('mean') or the sum ('sum') over the samples of a batch. */
    readonly reduction?: unknown;
  };
  /** Whether the loss is the mean or the sum over the samples of a batch. Default: the `reduction` of the loss, or 'mean'. */
  lossReduction?: 'mean' | 'sum';
  /** The optimizer, with at least one parameter of the model. Only its parameters are trained. */
  optimizer: Optimizer;
  /**
   * A scheduler of the optimizer's learning rates, such as `new optim.lrScheduler.StepLR(optimizer, { stepSize: 10 })`. Its state
   * is part of checkpoints. ReduceLROnPlateau gets the validation loss, or the training loss if there is no validation data.
   */
  scheduler?: AnyScheduler;
  /** Whether the scheduler takes a step after each epoch or after each step of the optimizer. Default 'epoch'. */
  schedulerInterval?: 'epoch' | 'step';
  /** The total number of epochs, including those before a resumed checkpoint. */
  epochs: number;
  /** Gradient accumulation: the number of batches per step. The gradient is that of one batch with all their samples. Default 1. */
  accumulate?: number;
  /** The largest norm of the gradients; larger ones are scaled down before each step. See nn.utils.clipGradNorm. */
  clipGradNorm?: number;
  /** Metrics by name, computed on the validation data. */
  metrics?: M;
  /** Called and awaited after each training batch. */
  onBatch?: (report: BatchReport) => unknown;
  /** Called and awaited after each epoch; training stops if it returns false. */
  onEpoch?: (report: EpochReport<M>) => unknown;
  /**
   * Stops when the validation loss has not decreased by more than `minDelta` (default 0) for `patience` epochs, and restores
   * the parameters of the best epoch.
   */
  earlyStopping?: {
    /** The number of epochs without a sufficient decrease after which training stops. */
    patience: number;
    /** The smallest decrease of the validation loss that counts. Default 0. */
    minDelta?: number;
  };
  /** The path of a checkpoint file, written after each epoch. */
  checkpoint?: string;
  /**
   * Whether to continue from the checkpoint file if it exists. The results are bitwise identical to an uninterrupted run. The
   * options of the optimizer are those in the checkpoint; `{ lr }` sets another learning rate. Default false.
   */
  resume?:
    | boolean
    | {
        /** A learning rate that replaces the one in the checkpoint. */
        lr?: number;
      };
  /** Aborts training after the current step; fit rejects with the reason of the signal. */
  signal?: AbortSignal;
  /** Whether to show a progress bar on a terminal. Default true. */
  progress?: boolean;
}

const OPTIONS = [
  'train',
  'validation',
  'loss',
  'lossReduction',
  'optimizer',
  'scheduler',
  'schedulerInterval',
  'epochs',
  'accumulate',
  'clipGradNorm',
  'metrics',
  'onBatch',
  'onEpoch',
  'earlyStopping',
  'checkpoint',
  'resume',
  'signal',
  'progress',
];

/** Checks model and options. @throws TapegradError for those that fit cannot use */
export function checkFit<M extends Metrics>(model: Module, options: FitOptions<M>): void {
  if (!(model instanceof Module)) fail('fit', `the model is ${describe(model)}`, 'pass a module');
  if (options === undefined) fail('fit', 'there are no options', 'pass { train, loss, optimizer, epochs }');
  checkOptions('fit', options, OPTIONS);
  checkData(options);
  lossReduction(options);
  checkOptimizer(model, options.optimizer);
  checkScheduler(options);
  checkInteger('fit', 'epochs', options.epochs);
  if (options.accumulate !== undefined) checkInteger('fit', 'accumulate', options.accumulate);
  if (options.clipGradNorm !== undefined) checkNumber('fit', 'clipGradNorm', options.clipGradNorm, Number.MIN_VALUE);
  checkCalls(options);
  checkRun(options);
}

function checkData({ train, validation }: Pick<FitOptions, 'train' | 'validation'>): void {
  const iterable = (v: unknown) =>
    typeof v === 'object' && v !== null && (Symbol.iterator in v || Symbol.asyncIterator in v);
  if (!iterable(train)) fail('fit', `train is ${describe(train)}`, 'pass a DataLoader');
  if (validation !== undefined && !iterable(validation))
    fail('fit', `validation is ${describe(validation)}`, 'pass a DataLoader');
}

/** The reduction of the loss: its own property, or else the option. */
export function lossReduction({
  loss,
  lossReduction: option,
}: Pick<FitOptions, 'loss' | 'lossReduction'>): 'mean' | 'sum' {
  if (typeof loss?.forward !== 'function')
    fail('fit', `loss is ${describe(loss)}`, 'pass a loss such as new nn.MSELoss()');
  if (option !== undefined) checkChoice('fit', 'lossReduction', option, ['mean', 'sum']);
  const own = loss.reduction;
  if (own === 'none')
    fail('fit', "the loss has the reduction 'none'", "training needs one number: use the reduction 'mean' or 'sum'");
  if (own !== 'mean' && own !== 'sum') return option ?? 'mean';
  if (option !== undefined && option !== own)
    fail('fit', `lossReduction is '${option}' for a loss with the reduction '${own}'`, 'leave lossReduction out');
  return own;
}

function checkOptimizer(model: Module, optimizer: Optimizer): void {
  if (!isOptimizer(optimizer))
    fail(
      'fit',
      `optimizer is ${describe(optimizer)}`,
      'pass an optimizer such as new optim.SGD(model.parameters(), { lr: 0.1 })',
    );
  const own = new Set(model.parameters());
  const owned = ownedBy(optimizer);
  const trained = owned.filter((p) => own.has(p));
  if (trained.length === 0)
    fail(
      'fit',
      `none of the ${owned.length} parameters of the optimizer is one of the model's ${own.size}`,
      'create the optimizer with the parameters() of this model',
    );
  if (!trained.some((p) => p.requiresGrad))
    fail(
      'fit',
      `none of the ${trained.length} parameters to train requires a gradient`,
      'set requiresGrad = true on those that are not frozen',
    );
}

function checkScheduler({
  optimizer,
  scheduler,
  schedulerInterval: interval,
}: Omit<FitOptions, 'metrics' | 'onEpoch'>) {
  if (interval !== undefined) checkChoice('fit', 'schedulerInterval', interval, ['epoch', 'step']);
  if (scheduler === undefined) {
    if (interval !== undefined) fail('fit', 'schedulerInterval without a scheduler', 'pass a scheduler');
    return;
  }
  const { step, stateDict, loadStateDict }: Partial<AnyScheduler> = scheduler ?? {};
  if (![step, stateDict, loadStateDict].every((f) => typeof f === 'function'))
    fail('fit', `scheduler is ${describe(scheduler)}`, 'pass one of optim.lrScheduler');
  if (scheduler.optimizer !== optimizer)
    fail('fit', 'the scheduler is of another optimizer', 'make it with the optimizer that fit gets');
  if (interval === 'step' && scheduler instanceof ReduceLROnPlateau)
    fail('fit', "ReduceLROnPlateau with schedulerInterval 'step'", "its metric is that of an epoch: pass 'epoch'");
}

function checkCalls(options: { metrics?: Metrics; onBatch?: unknown; onEpoch?: unknown }): void {
  const { metrics = {}, onBatch, onEpoch } = options;
  if (typeof metrics !== 'object' || metrics === null || Array.isArray(metrics))
    fail('fit', `metrics are ${describe(metrics)}`, 'pass functions by name: { accuracy: metrics.accuracy }');
  for (const [name, metric] of Object.entries(metrics)) {
    if (typeof metric !== 'function' || name === 'loss')
      fail(
        'fit',
        `the metric ${name} is ${describe(metric)}`,
        "pass functions of output and target, under names other than 'loss'",
      );
  }
  for (const [name, call] of Object.entries({ onBatch, onEpoch })) {
    if (call !== undefined && typeof call !== 'function')
      fail('fit', `${name} is ${describe(call)}`, 'pass a function of a report');
  }
}

function checkRun(options: Omit<FitOptions, 'metrics' | 'onEpoch'>): void {
  const { checkpoint, resume, signal, earlyStopping, validation } = options;
  if (checkpoint !== undefined && (typeof checkpoint !== 'string' || checkpoint === ''))
    fail('fit', `checkpoint is ${describe(checkpoint)}`, 'pass the path of a file');
  if (resume && !checkpoint) fail('fit', 'resume without a checkpoint', 'name the checkpoint file');
  if (resume !== undefined && typeof resume !== 'boolean') {
    checkOptions('fit', resume, ['lr']);
    if (resume.lr !== undefined) checkNumber('fit', 'resume.lr', resume.lr, 0);
  }
  if (signal !== undefined && !(typeof signal === 'object' && signal !== null && 'throwIfAborted' in signal))
    fail('fit', `signal is ${describe(signal)}`, 'pass the signal of an AbortController');
  if (earlyStopping === undefined) return;
  checkOptions('fit', earlyStopping, ['patience', 'minDelta']);
  checkInteger('fit', 'earlyStopping.patience', earlyStopping.patience);
  checkNumber('fit', 'earlyStopping.minDelta', earlyStopping.minDelta ?? 0, 0);
  if (validation === undefined) fail('fit', 'earlyStopping without validation data', 'pass validation batches');
}
