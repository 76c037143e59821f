/** What an optimizer tells of itself when it steps. */
export interface Stepping {
  /** A text that changes when the next step would compute something else than the last one, parameters and gradients aside. */
  signature(): string;
}

const listeners = new Set<(optimizer: Stepping) => void>();

/** Calls `listener` before every step of an optimizer while `fn` runs. */
export function whileListening<T>(listener: (optimizer: Stepping) => void, fn: () => T): T {
  listeners.add(listener);
  try {
    return fn();
  } finally {
    listeners.delete(listener);
  }
}

export function announceStep(optimizer: Stepping): void {
  for (const listener of listeners) listener(optimizer);
}
