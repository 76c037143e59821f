import { checkChoice, checkInteger, checkNumber, checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { Module } from '../nn/module.js';
import type { Batches } from './batches.js';
import { isOptimizer, type Optimizer, ownedBy } from './optimizer.js';

/** What a metric may give: a number, or a tensor with one element. */
export type MetricValue = number | Tensor;

/**
 * A number for one batch of outputs and targets; fit averages it over the samples. With `wholeSet` it is taken once of the
 * outputs and targets of all batches, where a mean over batches would be another number.
 */
export interface Metric {
  (output: Tensor, target: Tensor): MetricValue | Promise<MetricValue>;
  readonly wholeSet?: boolean;
}

export type Metrics = Readonly<Record<string, Metric>>;

/** The mean loss, and each metric, on the validation data. */
export type ValidationReport<M extends Metrics = Metrics> = { loss: number } & { -readonly [K in keyof M]: number };

/** What one epoch gave. */
export interface EpochReport<M extends Metrics = Metrics> {
  /** From 1. */
  epoch: number;
  /** The mean training loss of the samples, as they were met. */
  loss: number;
  samples: number;
  /** Training time in seconds, without validation. */
  seconds: number;
  samplesPerSecond: number;
  /** null without validation data. */
  validation: ValidationReport<M> | null;
}

/** What one training batch gave. */
export interface BatchReport {
  /** From 1. */
  epoch: number;
  /** From 0. */
  batch: number;
  /** The mean loss of its samples. */
  loss: number;
  samples: number;
}

export interface FitOptions<M extends Metrics = Metrics> {
  /** Training batches. */
  train: Batches;
  /** Batches to judge each epoch by. */
  validation?: Batches;
  /** A loss that is the mean or the sum over the batch. */
  loss: { forward(prediction: Tensor, target: Tensor): Tensor; readonly reduction?: unknown };
  /** Whether the loss is the mean or the sum over the samples of a batch. Default: the loss's own `reduction`, or 'mean'. */
  lossReduction?: 'mean' | 'sum';
  /** Its parameters are trained: some of the model's at least. The others stay as they are. */
  optimizer: Optimizer;
  /** How many epochs there are in all, those before a resumed checkpoint included. */
  epochs: number;
  /** Take a step only every so many batches, with the gradient of one batch of all their samples. Default 1. */
  accumulate?: number;
  /** Before each step, scale the gradients down to this norm; see nn.utils.clipGradNorm. */
  clipGradNorm?: number;
  /** Taken on the validation data, by name. */
  metrics?: M;
  /** Called after each training batch, and awaited. */
  onBatch?: (report: BatchReport) => unknown;
  /** Called after each epoch, and awaited; return false to stop. */
  onEpoch?: (report: EpochReport<M>) => unknown;
  /** Stop when the validation loss has not fallen by more than `minDelta` (default 0) for `patience` epochs, and go back to the best parameters. */
  earlyStopping?: { patience: number; minDelta?: number };
  /** A file that is written after each epoch. */
  checkpoint?: string;
  /**
   * Go on from the checkpoint if there is one, to the same bits as a run that was never interrupted. The optimizer's
   * options come from the checkpoint, too; `{ lr }` goes on with another learning rate. Default false.
   */
  resume?: boolean | { lr?: number };
  /** Ends training after the step that is under way: fit rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Show a progress bar on a terminal. Default true. */
  progress?: boolean;
}

const OPTIONS = [
  'train',
  'validation',
  'loss',
  'lossReduction',
  'optimizer',
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

/** @throws TapegradError for a model or options that fit cannot work with */
export function checkFit<M extends Metrics>(model: Module, options: FitOptions<M>): void {
  if (!(model instanceof Module)) fail('fit', `the model is ${describe(model)}`, 'pass a module');
  if (options === undefined) fail('fit', 'there are no options', 'pass { train, loss, optimizer, epochs }');
  checkOptions('fit', options, OPTIONS);
  checkData(options);
  lossReduction(options);
  checkOptimizer(model, options.optimizer);
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

/** What the loss says of itself, or else the options. */
export function lossReduction({
  loss,
  lossReduction: said,
}: Pick<FitOptions, 'loss' | 'lossReduction'>): 'mean' | 'sum' {
  if (typeof loss?.forward !== 'function')
    fail('fit', `loss is ${describe(loss)}`, 'pass a loss such as new nn.MSELoss()');
  if (said !== undefined) checkChoice('fit', 'lossReduction', said, ['mean', 'sum']);
  const own = loss.reduction;
  if (own === 'none')
    fail('fit', "the loss has the reduction 'none'", "training needs one number: use the reduction 'mean' or 'sum'");
  if (own !== 'mean' && own !== 'sum') return said ?? 'mean';
  if (said !== undefined && said !== own)
    fail('fit', `lossReduction is '${said}' for a loss with the reduction '${own}'`, 'leave lossReduction out');
  return own;
}

function checkOptimizer(model: Module, optimizer: Optimizer): void {
  if (!isOptimizer(optimizer)) fail('fit', `optimizer is ${describe(optimizer)}`, 'pass an optim.SGD');
  const own = new Set(model.parameters());
  const owned = ownedBy(optimizer);
  const trained = owned.filter((p) => own.has(p));
  if (trained.length === 0)
    fail(
      'fit',
      `none of the ${owned.length} parameters of the optimizer is one of the model's ${own.size}`,
      'make the optimizer from model.parameters() of this very model',
    );
  if (!trained.some((p) => p.requiresGrad))
    fail(
      'fit',
      `none of the ${trained.length} parameters to train requires a gradient`,
      'set requiresGrad = true on those that are not frozen',
    );
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
