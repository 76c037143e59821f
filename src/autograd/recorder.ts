import type { Tensor } from '../tensor.js';
import type { Node } from './node.js';

// The interface between checkpoints and recorded steps. checkpoint.ts observes steps through it while it runs its function,
// so that node.ts does not depend on checkpoints.

/** Recomputes the values that a step needs for its gradient. */
export interface ValueSource {
  /** The outermost source around this one, which exists as long as the graph; this one if it is not nested. */
  readonly root: ValueSource;
  /** Runs the function again and fills its steps, or assigns the steps of nested checkpoints to their sources. */
  recompute(): void;
}

/** Observes steps while they are recorded. */
export interface Recorder {
  /** Gets a new step. @returns the source of its values in the backward pass; null if the step keeps them itself */
  note(node: Node, inputs: readonly Tensor[]): ValueSource | null;
}

/** The current observer. */
export let recorder: Recorder | null = null;

/** Replaces the observer; returns the previous one. */
export function setRecorder(next: Recorder | null): Recorder | null {
  const before = recorder;
  recorder = next;
  return before;
}

/** How many steps refer to a tensor that has no other references. */
const holders = new WeakMap<Tensor, number>();

/** Counts one more step that refers to a computed value. */
export function holdValue(t: Tensor): void {
  if (t.hidden) holders.set(t, (holders.get(t) ?? 0) + 1);
}

/** Counts one step less; the last one frees the tensor if it has no other references. */
export function letGo(t: Tensor): void {
  if (!t.hidden) return;
  const left = (holders.get(t) ?? 1) - 1;
  holders.set(t, left);
  if (left === 0) t.backend.free(t.storage);
}
