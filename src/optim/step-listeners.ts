/** The part of an optimizer that listeners get before each step. */
export interface Stepping {
  /** A string that changes when the next step would do another computation than the last one, such as with another learning rate. */
  signature(): string;
}

const listeners = new Set<(optimizer: Stepping) => void>();

/**
 * Calls `listener` before every step of an optimizer while `fn` runs.
 * @param listener gets the optimizer that is about to step
 * @param fn a synchronous function
 * @returns the result of `fn`
 */
export function whileListening<T>(listener: (optimizer: Stepping) => void, fn: () => T): T {
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
  if (listeners.size > 0) for (const listener of listeners) listener(optimizer);
}
