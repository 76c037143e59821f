import type { Tensor } from '../methods.js';

/** The part of an optimizer that listeners get before each step. */
export interface Stepping {
  readonly paramGroups: readonly { readonly params: readonly Tensor[] }[];
  /** A string that changes when the next step would do another computation than the last one, such as with another learning rate. */
  signature(): string;
}

/** Is told what optimizers do. */
export interface StepListener {
  /** An optimizer is about to step. */
  step(optimizer: Stepping): void;
  /** An optimizer has made a tensor of its state; `undo` forgets it. */
  made(undo: () => void): void;
}

const listeners = new Set<StepListener>();

/**
 * Tells `listener` what optimizers do while `fn` runs.
 * @param listener gets each optimizer that is about to step
 * @param fn a synchronous function
 * @returns the result of `fn`
 */
export function whileListening<T>(listener: StepListener, fn: () => T): T {
  listeners.add(listener);
  try {
    return fn();
  } finally {
    listeners.delete(listener);
  }
}

/**
 * Calls the listeners; every optimizer does so before a step.
 * @param optimizer the optimizer that is about to step
 */
export function announceStep(optimizer: Stepping): void {
  if (listeners.size > 0) for (const listener of listeners) listener.step(optimizer);
}

/**
 * Tells the listeners of a new tensor of an optimizer's state.
 * @param undo forgets it
 */
export function announceState(undo: () => void): void {
  for (const listener of listeners) listener.made(undo);
}
