import type { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import { SGD, type SGDState } from '../optim/sgd.js';

// What fit and its checkpoints know of optimizers, in one place.

export type Optimizer = SGD;

export const isOptimizer = (value: unknown): value is Optimizer => value instanceof SGD;

/** What an optimizer updates. */
export const ownedBy = (optimizer: Optimizer): readonly Tensor[] => optimizer.parameters;

/** Updates the parameters; on the device itself only where `guard` is finite. */
export function step(optimizer: Optimizer, guard?: Tensor): void {
  const guarded: { step(options?: { guard?: Tensor }): void } = optimizer;
  if (guard === undefined) guarded.step();
  else guarded.step({ guard });
}

export function setLearningRate(optimizer: Optimizer, lr: number): void {
  optimizer.options.lr = lr;
}

/** An optimizer's state in a checkpoint: what JSON can hold, and tensors by name. */
export interface SavedOptimizer {
  json: { options: SGDState['options']; velocities: boolean[] };
  tensors: StateDict;
}

export function saveOptimizer(optimizer: Optimizer): SavedOptimizer {
  const { options, velocities } = optimizer.stateDict();
  return {
    json: { options, velocities: velocities.map((v) => v !== null) },
    tensors: Object.fromEntries(velocities.flatMap((v, i) => (v ? [[`velocity.${i}`, v]] : []))),
  };
}

export function loadOptimizer(optimizer: Optimizer, { json, tensors }: SavedOptimizer): void {
  const { options, velocities } = json;
  optimizer.loadStateDict({
    options,
    velocities: velocities.map((kept, i) => (kept ? tensors[`velocity.${i}`] : null)),
  });
}
