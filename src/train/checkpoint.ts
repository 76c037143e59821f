import { fail } from '../errors.js';
import { readFile, writeAtomically } from '../io/files.js';
import { fromSafetensors, toSafetensors } from '../io/safetensors.js';
import type { Module, StateDict } from '../nn/module.js';
import type { SGD, SGDState } from '../optim/sgd.js';
import { generator } from '../random.js';
import type { EpochReport } from './fit.js';

/** What fit must know beside the model and the optimizer to go on as if it had never stopped. */
export interface TrainingState {
  epochs: EpochReport[];
  /** The best validation loss so far, and how many epochs ago it was; for early stopping. */
  best: { loss: number; epoch: number } | null;
}

interface Contents extends TrainingState {
  format: 'tapegrad-checkpoint';
  version: 1;
  random: { seed: number; block: number };
  loader: unknown;
  options: SGDState['options'];
  velocities: boolean[];
}

/** Something whose order of batches can be saved; DataLoader is. */
export interface Resumable {
  state: unknown;
}

const prefixed = (prefix: string, state: StateDict): StateDict =>
  Object.fromEntries(Object.entries(state).map(([key, value]) => [prefix + key, value]));

const withPrefix = (prefix: string, tensors: StateDict): StateDict =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([key, value]) =>
      key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [],
    ),
  );

/** Writes one safetensors file with everything; a crash leaves the one before. */
export async function writeCheckpoint(
  path: string,
  model: Module,
  optimizer: SGD,
  loader: Partial<Resumable>,
  state: TrainingState,
  best: StateDict | null,
): Promise<void> {
  const { options, velocities } = optimizer.stateDict();
  const contents: Contents = {
    format: 'tapegrad-checkpoint',
    version: 1,
    ...state,
    random: generator.state,
    loader: loader.state ?? null,
    options,
    velocities: velocities.map((v) => v !== null),
  };
  const tensors = {
    ...prefixed('model.', model.stateDict()),
    ...prefixed('best.', best ?? {}),
    ...Object.fromEntries(velocities.flatMap((v, i) => (v ? [[`velocity.${i}`, v]] : []))),
  };
  await writeAtomically('fit', path, await toSafetensors(tensors, { checkpoint: JSON.stringify(contents) }));
}

/** Brings back what writeCheckpoint wrote. @throws TapegradError if the file is no checkpoint of this model and optimizer */
export async function readCheckpoint(
  path: string,
  model: Module,
  optimizer: SGD,
  loader: Partial<Resumable>,
): Promise<{ state: TrainingState; best: StateDict | null }> {
  const { tensors, metadata } = fromSafetensors(await readFile('fit', path));
  const contents = JSON.parse(metadata.checkpoint ?? 'null') as Contents | null;
  if (contents?.format !== 'tapegrad-checkpoint' || contents.version !== 1) {
    fail('fit', `${path} is no checkpoint that this version can read`, 'remove it, or pass { resume: false }');
  }
  model.loadStateDict(withPrefix('model.', tensors));
  optimizer.loadStateDict({
    options: contents.options,
    velocities: contents.velocities.map((kept, i) => (kept ? tensors[`velocity.${i}`] : null)),
  });
  generator.state = contents.random;
  if (contents.loader !== null && 'state' in loader) loader.state = contents.loader;
  const best = withPrefix('best.', tensors);
  return { state: { epochs: contents.epochs, best: contents.best }, best: Object.keys(best).length > 0 ? best : null };
}
