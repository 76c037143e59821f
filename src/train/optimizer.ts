import type { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import { SGD, type SGDState } from '../optim/sgd.js';

// What fit and its checkpoints know of optimizers, in one place.

export type Optimizer = SGD;

export const isOptimizer = (value: unknown): value is Optimizer => value instanceof SGD;

/** What an optimizer updates. */
export const ownedBy = (optimizer: Optimizer): readonly Tensor[] =>
  optimizer.paramGroups.flatMap(({ params }) => params);

/** Updates the parameters; on the device itself only where `guard` is finite. */
export function step(optimizer: Optimizer, guard?: Tensor): void {
  if (guard === undefined) optimizer.step();
  else optimizer.step({ guard });
}

export function setLearningRate(optimizer: Optimizer, lr: number): void {
  for (const group of optimizer.paramGroups) group.lr = lr;
}

/** What checkpoints of before param groups hold of an optimizer: numbers in JSON, and which velocities there are. */
export interface FormerOptimizer {
  options: SGDState['options'];
  velocities: boolean[];
}

/** The state of an optimizer in a checkpoint's tensors, with their prefix or as files of before had it. */
export function loadOptimizer(optimizer: Optimizer, tensors: StateDict, former: FormerOptimizer | null): void {
  if (former === null) {
    const state = Object.entries(tensors).flatMap(([key, value]): [string, Tensor][] =>
      key.startsWith(PREFIX) ? [[key.slice(PREFIX.length), value]] : [],
    );
    optimizer.loadStateDict(Object.fromEntries(state));
  } else {
    const kept = former.velocities.map((there, i) => (there ? tensors[`velocity.${i}`] : null));
    // Those versions did not count frozen parameters.
    const owned = ownedBy(optimizer);
    const trained = owned.filter((p) => p.requiresGrad);
    const velocities =
      kept.length === trained.length ? owned.map((p) => (p.requiresGrad ? kept[trained.indexOf(p)] : null)) : kept;
    optimizer.loadStateDict({ options: former.options, velocities });
  }
}

const PREFIX = 'optimizer.';

export const saveOptimizer = (optimizer: Optimizer): StateDict =>
  Object.fromEntries(Object.entries(optimizer.stateDict()).map(([key, value]) => [PREFIX + key, value]));
