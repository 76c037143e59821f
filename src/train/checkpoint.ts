import { fail } from '../errors.js';
import { readFile, writeAtomically } from '../io/files.js';
import { fromSafetensors, toSafetensors } from '../io/safetensors.js';
import type { StateDict } from '../nn/module.js';
import { generator } from '../random.js';
import { fromJson, toJson } from './json.js';
import { type FormerOptimizer, loadOptimizer, type Optimizer, saveOptimizer } from './optimizer.js';
import type { EpochReport, Metrics } from './options.js';
import { prefixed, type Trained, withPrefix } from './trained.js';

/** What fit must know beside the model and the optimizer to go on as if it had never stopped. */
export interface TrainingState<M extends Metrics = Metrics> {
  epochs: EpochReport<M>[];
  /** The best validation loss so far, and how many epochs ago it was; for early stopping. */
  best: { loss: number; epoch: number } | null;
}

/** Version 1 had the optimizer's numbers here, version 2 has them among the tensors. */
type Contents = TrainingState &
  Partial<FormerOptimizer> & {
    format: 'tapegrad-checkpoint';
    version: 1 | 2;
    random: { seed: number; block: number };
    loader: unknown;
  };

/** Something whose order of batches can be saved; DataLoader is. */
export interface Resumable {
  state: unknown;
}

/** Writes one safetensors file with everything; a crash leaves the one before. */
export async function writeCheckpoint<M extends Metrics>(
  path: string,
  trained: Trained,
  optimizer: Optimizer,
  loader: Partial<Resumable>,
  state: TrainingState<M>,
  best: StateDict | null,
): Promise<void> {
  const contents = {
    format: 'tapegrad-checkpoint',
    version: 2,
    ...state,
    random: generator.state,
    loader: loader.state ?? null,
  };
  const tensors = {
    ...trained.state(),
    ...prefixed('best.', best ?? {}),
    ...saveOptimizer(optimizer),
  };
  await writeAtomically('fit', path, await toSafetensors(tensors, { checkpoint: toJson(contents) }));
}

/** Brings back what writeCheckpoint wrote. Nothing is changed if it does not fit. @throws TapegradError if the file is no checkpoint of this model and optimizer */
export async function readCheckpoint<M extends Metrics>(
  path: string,
  trained: Trained,
  optimizer: Optimizer,
  loader: Partial<Resumable>,
): Promise<{ state: TrainingState<M>; best: StateDict | null }> {
  const { tensors, metadata } = fromSafetensors(await readFile('fit', path));
  const contents = contentsOf(path, metadata.checkpoint);
  const { epochs, best: bestSoFar, random, loader: order, version, options, velocities } = contents;
  const former = version === 1;
  const before = trained.copy();
  trained.load(tensors, former);
  try {
    loadOptimizer(optimizer, tensors, former ? { options: options!, velocities: velocities! } : null);
    if (order !== null && 'state' in loader) loader.state = order;
  } catch (error) {
    trained.load(before);
    throw error;
  }
  generator.state = random;
  const best = prefixed(former ? 'model.' : '', withPrefix('best.', tensors));
  return {
    state: { epochs: epochs.map(withoutNull) as EpochReport<M>[], best: bestSoFar && lost(bestSoFar) },
    best: Object.keys(best).length > 0 ? best : null,
  };
}

function contentsOf(path: string, text: string | undefined): Contents {
  let contents: Contents | null = null;
  try {
    contents = fromJson(text ?? 'null') as Contents | null;
  } catch {
    // Said below.
  }
  if (contents?.format !== 'tapegrad-checkpoint' || ![1, 2].includes(contents.version)) {
    fail('fit', `${path} is no checkpoint that this version can read`, 'remove it, or pass { resume: false }');
  }
  return contents;
}

// Checkpoints of before 0.2 have null for NaN and for Infinity.

/** The numbers of a report with NaN for null. */
function withoutNull(report: EpochReport): EpochReport {
  const numbers = <T extends object>(row: T): T =>
    Object.fromEntries(Object.entries(row).map(([key, value]) => [key, value ?? Number.NaN])) as T;
  const { validation, ...rest } = report;
  return { ...numbers(rest), validation: validation && numbers(validation) };
}

/** A best loss that was not finite is one that any other beats. */
function lost(best: { loss: number | null; epoch: number }): { loss: number; epoch: number } {
  const { loss, epoch } = best;
  return { loss: loss === null || Number.isNaN(loss) ? Number.POSITIVE_INFINITY : loss, epoch };
}
