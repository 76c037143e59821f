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

/** What fit did. */
export interface History<M extends Metrics = Metrics> {
  epochs: EpochReport<M>[];
  /** Why it ended. */
  stopped: 'epochs' | 'earlyStopping' | 'onEpoch';
}

/**
 * Trains a model: for each epoch the loop over the batches, validation, and what the options ask for. Timers, requests
 * and frames run meanwhile. However it ends, each module is in the mode, training or evaluation, in which it was before.
 *
 * @throws TapegradError for options that do not go together, a checkpoint that does not fit, and a loss, gradient or
 * weight that is no longer finite. After a loss or gradient the weights are those before that batch; the checkpoint stays as it was
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
  const { train, optimizer, epochs, checkpoint, earlyStopping, resume, signal } = options;
  const progress = options.progress === false ? silent : terminalProgress();
  const loader = train as Partial<Resumable>;
  const trainer = new Trainer(model, options);
  const trained = new Trained(model, optimizer);
  let state: TrainingState<M> = { epochs: [], best: null };
  let best: StateDict | null = null;
  if (resume && checkpoint && builtin('node:fs')?.existsSync(checkpoint)) {
    ({ state, best } = await readCheckpoint<M>(checkpoint, trained, optimizer, loader));
    // Without early stopping nobody goes back to the best: what an earlier run thought of it is over.
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
    if (checkpoint) await writeCheckpoint(checkpoint, trained, optimizer, loader, state, best);
    if ((await options.onEpoch?.(report)) === false) {
      stopped = 'onEpoch';
      break;
    }
  }
  if (stopped === 'epochs' && stalled()) stopped = 'earlyStopping';
  if (best !== null) trained.load(best, true);
  return { epochs: state.epochs, stopped };
}
