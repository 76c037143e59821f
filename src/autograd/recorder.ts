import type { Tensor } from '../tensor.js';
import type { Node } from './node.js';

// What a checkpoint and a recorded step know of each other. checkpoint.ts watches steps through this while it runs its
// function, so that node.ts does not depend on checkpoints.

/** Whoever can compute again what a step needs for its gradient. */
export interface ValueSource {
  /** The outermost source around this one, which is there for as long as the graph; this one, if none is around it. */
  readonly root: ValueSource;
  /** Runs the function again and fills its steps, or gives them sources of their own that do. */
  recompute(): void;
}

/** Watches steps while they are recorded. */
export interface Recorder {
  /** Sees a new step. @returns where its values come from later; null if the step shall keep them itself */
  note(node: Node, inputs: readonly Tensor[]): ValueSource | null;
}

/** Who watches now. */
export let recorder: Recorder | null = null;

/** Puts another watcher in its place; returns who was there before. */
export function setRecorder(next: Recorder | null): Recorder | null {
  const before = recorder;
  recorder = next;
  return before;
}

/** How many steps hold a tensor that nobody but they can see. */
const holders = new WeakMap<Tensor, number>();

/** Counts one more step that holds a computed value. */
export function holdValue(t: Tensor): void {
  if (t.hidden) holders.set(t, (holders.get(t) ?? 0) + 1);
}

/** One step less; the last one frees what nobody else can see. */
export function letGo(t: Tensor): void {
  if (!t.hidden) return;
  const left = (holders.get(t) ?? 1) - 1;
  holders.set(t, left);
  if (left === 0) t.backend.free(t.storage);
}
