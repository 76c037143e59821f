import { fail } from '../errors.js';
import { readFile, writeAtomically } from '../io/disk.js';
import { fromSafetensors, toSafetensors } from '../io/safetensors.js';
import type { StateDict } from '../nn/module.js';
import type { AnyScheduler, SchedulerState } from '../optim/lr-scheduler/index.js';
import { generator } from '../random.js';
import { fromJson, toJson } from './json.js';
import { loadOptimizer, type Optimizer, type OptimizerV1, saveOptimizer } from './optimizer.js';
import type { EpochReport, Metrics } from './options.js';
import { prefixed, type Trained, withPrefix } from './trained.js';

/** The state that fit needs, besides model and optimizer, to resume with identical results. */
export interface TrainingState<M extends Metrics = Metrics> {
  epochs: EpochReport<M>[];
  /** The best validation loss so far and its epoch, for early stopping. */
  best: { loss: number; epoch: number } | null;
}

/** Version 1 stores the optimizer's options here, version 2 stores them as tensors. */
type Contents = TrainingState &
  Partial<OptimizerV1> & {
    format: 'tapegrad-checkpoint';
    version: 1 | 2;
    random: { seed: number; block: number };
    loader: unknown;
    /** Absent in files of versions without schedulers, null where there was none. */
    scheduler?: SchedulerState | null;
  };

/** An object whose order of batches can be saved and restored, such as a DataLoader. */
export interface Resumable {
  state: unknown;
}

/** Writes a checkpoint as one safetensors file; a crash leaves the previous file. */
export async function writeCheckpoint<M extends Metrics>(
  path: string,
  trained: Trained,
  optimizer: Optimizer,
  loader: Partial<Resumable>,
  state: TrainingState<M>,
  best: StateDict | null,
  scheduler?: AnyScheduler,
): Promise<void> {
  const contents = {
    format: 'tapegrad-checkpoint',
    version: 2,
    ...state,
    random: generator.state,
    loader: loader.state ?? null,
    scheduler: scheduler?.stateDict() ?? null,
  };
  const tensors = {
    ...trained.state(),
    ...prefixed('best.', best ?? {}),
    ...saveOptimizer(optimizer),
  };
  await writeAtomically('fit', path, await toSafetensors(tensors, { checkpoint: toJson(contents) }));
}

/** Restores a checkpoint; on an error nothing is changed. @throws TapegradError if the file is not a checkpoint of this model and optimizer */
export async function readCheckpoint<M extends Metrics>(
  path: string,
  trained: Trained,
  optimizer: Optimizer,
  loader: Partial<Resumable>,
  scheduler?: AnyScheduler,
): Promise<{ state: TrainingState<M>; best: StateDict | null }> {
  const { tensors, metadata } = fromSafetensors(await readFile('fit', path));
  const contents = contentsOf(path, metadata.checkpoint);
  const { epochs, best: bestSoFar, random, loader: order, version, options, velocities } = contents;
  const isV1 = version === 1;
  const { scheduler: schedule = null } = contents;
  if (scheduler !== undefined && schedule === null)
    fail('fit', `${path} has no state of a scheduler`, 'resume without one, or pass { resume: false }');
  const before = trained.copy();
  const scheduleBefore = scheduler?.stateDict();
  trained.load(tensors, isV1);
  try {
    scheduler?.loadStateDict(schedule!);
    loadOptimizer(optimizer, tensors, isV1 ? { options: options!, velocities: velocities! } : null);
    if (order !== null && 'state' in loader) loader.state = order;
  } catch (error) {
    trained.load(before);
    scheduler?.loadStateDict(scheduleBefore!);
    throw error;
  }
  generator.state = random;
  const best = prefixed(isV1 ? 'model.' : '', withPrefix('best.', tensors));
  return {
    state: { epochs: epochs.map(withoutNull) as EpochReport<M>[], best: bestSoFar && restoreBest(bestSoFar) },
    best: Object.keys(best).length > 0 ? best : null,
  };
}

function contentsOf(path: string, text: string | undefined): Contents {
  let contents: Contents | null = null;
  try {
    contents = fromJson(text ?? 'null') as Contents | null;
  } catch {
    // Reported below.
  }
  if (contents?.format !== 'tapegrad-checkpoint' || ![1, 2].includes(contents.version)) {
    fail('fit', `${path} is not a checkpoint that this version can read`, 'remove it, or pass { resume: false }');
  }
  return contents;
}

// Checkpoints written before 0.2 contain null for NaN and for Infinity.

/** A report with NaN in place of null. */
function withoutNull(report: EpochReport): EpochReport {
  const numbers = <T extends object>(row: T): T =>
    Object.fromEntries(Object.entries(row).map(([key, value]) => [key, value ?? Number.NaN])) as T;
  const { validation, ...rest } = report;
  return { ...numbers(rest), validation: validation && numbers(validation) };
}

/** A best loss that is not finite becomes Infinity, so that any finite loss is better. */
function restoreBest(best: { loss: number | null; epoch: number }): { loss: number; epoch: number } {
  const { loss, epoch } = best;
  return { loss: loss === null || Number.isNaN(loss) ? Number.POSITIVE_INFINITY : loss, epoch };
}
