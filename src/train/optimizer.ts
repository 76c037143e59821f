import type { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import type { AnyOptimizer as Optimizer } from '../optim/optimizer.js';

// Everything in fit and its checkpoints that depends on the optimizer.

export type { Optimizer };

export function isOptimizer(value: unknown): value is Optimizer {
  if (typeof value !== 'object' || value === null) return false;
  const { paramGroups, step, stateDict, loadStateDict } = value as Partial<Optimizer>;
  return Array.isArray(paramGroups) && [step, stateDict, loadStateDict].every((f) => typeof f === 'function');
}

/** The parameters that an optimizer updates. */
export const ownedBy = (optimizer: Optimizer): readonly Tensor[] =>
  optimizer.paramGroups.flatMap(({ params }) => params);

/** Updates the parameters; with `guard` the device skips the update if it is not finite. */
export function step(optimizer: Optimizer, guard?: Tensor): void {
  if (guard === undefined) optimizer.step();
  else optimizer.step({ guard });
}

export function setLearningRate(optimizer: Optimizer, lr: number): void {
  for (const group of optimizer.paramGroups) group.lr = lr;
}

/** The optimizer state in checkpoints of version 1: options, and which velocities are stored as tensors. */
export interface OptimizerV1 {
  options: object;
  velocities: boolean[];
}

/** Restores an optimizer from the tensors of a checkpoint of version 2, or with `v1` of version 1. */
export function loadOptimizer(optimizer: Optimizer, tensors: StateDict, v1: OptimizerV1 | null): void {
  if (v1 === null) {
    const state = Object.entries(tensors).flatMap(([key, value]): [string, Tensor][] =>
      key.startsWith(PREFIX) ? [[key.slice(PREFIX.length), value]] : [],
    );
    optimizer.loadStateDict(Object.fromEntries(state));
  } else {
    const kept = v1.velocities.map((stored, i) => (stored ? tensors[`velocity.${i}`] : null));
    // Version 1 does not count frozen parameters.
    const owned = ownedBy(optimizer);
    const trained = owned.filter((p) => p.requiresGrad);
    const velocities =
      kept.length === trained.length ? owned.map((p) => (p.requiresGrad ? kept[trained.indexOf(p)] : null)) : kept;
    // Only SGD existed then; it accepts this form.
    const { loadStateDict }: { loadStateDict(state: object): void } = optimizer;
    loadStateDict.call(optimizer, { options: v1.options, velocities });
  }
}

const PREFIX = 'optimizer.';

export const saveOptimizer = (optimizer: Optimizer): StateDict =>
  Object.fromEntries(Object.entries(optimizer.stateDict()).map(([key, value]) => [PREFIX + key, value]));
