import type { StateDict, TensorModule } from '../nn/module.js';
import { builtin } from '../node.js';
import { type Resumable, readCheckpoint, type TrainingState, writeCheckpoint } from './checkpoint.js';
import { trainEpoch } from './epoch.js';
import { keepModes } from './modes.js';
import { setLearningRate } from './optimizer.js';
import { checkFit, type EpochReport, type FitOptions, type Metrics } from './options.js';
import { silent, terminalProgress } from './progress.js';
import { Trainer } from './step.js';
import { Trained } from './trained.js';
import { validate } from './validate.js';

/**
 * The result of {@link fit}.
 *
 * @typeParam M the metrics by name
 */
export interface History<M extends Metrics = Metrics> {
  /** One report for each epoch, including those before a resumed checkpoint. */
  epochs: EpochReport<M>[];
  /** Why training ended: all epochs are done, early stopping, or `onEpoch` returned false. */
  stopped: 'epochs' | 'earlyStopping' | 'onEpoch';
}

/**
 * Trains a model. Each epoch trains on all batches, then validates, updates early stopping, steps the scheduler and writes the checkpoint, as far
 * as the options enable it. Timers, requests and frames run between batches. Afterwards, also after an error, each module is in
 * the mode (training or evaluation) that it had before.
 *
 * @typeParam M the metrics by name
 * @param model a module that maps one tensor to one tensor
 * @param options data, loss, optimizer and number of epochs; scheduler, validation, metrics, early stopping, checkpoints, callbacks
 * @returns the report of each epoch, and why training ended
 * @throws TapegradError for invalid or contradictory options, for a checkpoint of another model or optimizer, and when a loss,
 *   gradient or weight is not finite. After an error of a loss or gradient the weights are those before that batch. The
 *   checkpoint file stays unchanged
 * @throws the reason of `signal` when it is aborted, and any error of a callback, metric, loss or model
 * @example
 * ```ts
 * import { data, fit, nn, optim, randn } from 'tapegrad';
 *
 * const x = randn([64, 3]);
 * const dataset = new data.TensorDataset(x, x.sum(1, true));
 * const model = new nn.Linear(3, 1);
 * const history = await fit(model, {
 *   train: new data.DataLoader(dataset, { batchSize: 16, shuffle: true }),
 *   loss: new nn.MSELoss(),
 *   optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }),
 *   epochs: 3,
 * });
 * console.log(history.epochs.length, history.stopped); // 3 'epochs'
 * ```
 */
export async function fit<M extends Metrics>(model: TensorModule, options: FitOptions<M>): Promise<History<M>> {
  checkFit(model, options);
  options.signal?.throwIfAborted();
  const restoreModes = keepModes(model);
  try {
    return await run(model, options);
  } finally {
    restoreModes();
  }
}

async function run<M extends Metrics>(model: TensorModule, options: FitOptions<M>): Promise<History<M>> {
  const { train, optimizer, scheduler, epochs, checkpoint, earlyStopping, resume, signal } = options;
  const progress = options.progress === false ? silent : terminalProgress();
  const loader = train as Partial<Resumable>;
  const trainer = new Trainer(model, options);
  const trained = new Trained(model, optimizer);
  let state: TrainingState<M> = { epochs: [], best: null };
  let best: StateDict | null = null;
  if (resume && checkpoint && builtin('node:fs')?.existsSync(checkpoint)) {
    ({ state, best } = await readCheckpoint<M>(checkpoint, trained, optimizer, loader, scheduler));
    // Without early stopping the best parameters of an earlier run are not used.
    if (!earlyStopping) [state.best, best] = [null, null];
    if (typeof resume === 'object' && resume.lr !== undefined) setLearningRate(optimizer, resume.lr);
  }
  const stalled = () =>
    earlyStopping !== undefined &&
    state.best !== null &&
    state.epochs.length - state.best.epoch >= earlyStopping.patience;
  let stopped: History['stopped'] = 'epochs';
  while (state.epochs.length < epochs && !stalled()) {
    signal?.throwIfAborted();
    const epoch = state.epochs.length + 1;
    let report: EpochReport<M>;
    try {
      progress.start(`epoch ${epoch}/${epochs}`, train.length ?? 0);
      report = {
        epoch,
        ...(await trainEpoch(model, trainer, options, epoch, (n, note) => progress.update(n, note))),
        validation: await validate(model, options, epoch),
      };
    } finally {
      progress.stop();
    }
    model.train();
    state.epochs.push(report);
    const loss = report.validation?.loss;
    if (
      earlyStopping &&
      loss !== undefined &&
      (state.best === null || loss < state.best.loss - (earlyStopping.minDelta ?? 0))
    ) {
      state.best = { loss, epoch };
      best = trained.copy();
    }
    if (options.schedulerInterval !== 'step') scheduler?.step(loss ?? report.loss);
    if (checkpoint) await writeCheckpoint(checkpoint, trained, optimizer, loader, state, best, scheduler);
    if ((await options.onEpoch?.(report)) === false) {
      stopped = 'onEpoch';
      break;
    }
  }
  if (stopped === 'epochs' && stalled()) stopped = 'earlyStopping';
  if (best !== null) trained.load(best, true);
  return { epochs: state.epochs, stopped };
}
