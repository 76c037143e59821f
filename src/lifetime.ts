import { ESCAPED, newestId, type Storage } from './backends/storage.js';
import type { Tensor } from './tensor.js';

// Nobody has to free a tensor: what nothing refers to is collected as garbage. But the library knows some storages to be
// dead long before a collector does, and frees those at once, so that the next operation finds their memory in the
// processor's caches: the gradients that a backward pass computes on its way, gradients of parameters that no code outside
// the library has seen, and copies that an operation made for its kernel. `references` counts who still needs such a
// storage. One that code outside the library can reach has escaped: it is left to the collector.

/** Storages with higher numbers were made in the running scope. */
let scopeStart = Number.POSITIVE_INFINITY;
let made: Storage[] = [];
/** Copies that running operations made of operands for their kernels. */
const temporaries: Storage[] = [];

/** Notes the storage of a new tensor; called for every tensor. */
export function track(storage: Storage): void {
  storage.tensors++;
  if (storage.id > scopeStart) made.push(storage);
}

/** Runs a function from whose storages only those survive that are retained at its end, or have escaped. */
export function scope<T>(fn: () => T): T {
  const outerStart = scopeStart;
  const outerMade = made;
  scopeStart = newestId();
  made = [];
  try {
    return fn();
  } finally {
    collect();
    scopeStart = outerStart;
    made = outerMade;
  }
}

/** Runs a function whose storages belong to no scope: code outside the library, which may keep what it makes. */
export function outside<T>(fn: () => T): T {
  const outerStart = scopeStart;
  scopeStart = Number.POSITIVE_INFINITY;
  try {
    return fn();
  } finally {
    scopeStart = outerStart;
  }
}

/** Frees what the running scope has made so far and nobody retains. */
export function collect(): void {
  for (let i = 0; i < made.length; i++) {
    const storage = made[i];
    if (storage.references === 0) storage.backend.free(storage);
  }
  if (made.length > 0) made.length = 0;
}

/** Whether the running scope made a storage. */
export function isOwn(storage: Storage): boolean {
  return storage.id > scopeStart;
}

/** Counts one who needs a storage. */
export function retain(storage: Storage): void {
  storage.references++;
}

/** Counts one less; the last one frees the storage. */
export function release(storage: Storage): void {
  if (--storage.references === 0) storage.backend.free(storage);
}

/** Leaves a storage to the garbage collector from now on. */
export function markEscaped(storage: Storage): void {
  if (storage.references < ESCAPED) storage.references += ESCAPED;
}

/** One of a storage's tensors was disposed of: frees the storage if it was the only one and nobody retains it. */
export function dispose(storage: Storage): void {
  if (storage.tensors === 1 && storage.references === 0) storage.backend.free(storage);
}

/** How many temporaries there are; an operation frees those that came after it began. */
export function temporaryCount(): number {
  return temporaries.length;
}

/** Notes a storage that is needed until its operation ends. */
export function temporary(storage: Storage): Storage {
  temporaries.push(storage);
  return storage;
}

/** Frees the temporaries beyond the first `count`. */
export function freeTemporaries(count: number): void {
  while (temporaries.length > count) {
    const storage = temporaries.pop()!;
    storage.backend.free(storage);
  }
}

let changes = 0;

/**
 * Counts a change of what a step does on the host: a parameter with another storage or frozen, another mode, hook or
 * optimizer. A step that was captured before it is captured again.
 */
export function noteChange(): void {
  changes++;
}

/** How many such changes there have been so far. */
export function changeCount(): number {
  return changes;
}

/** The groups of an optimizer: their parameters and hyperparameters. */
export type Groups = readonly { readonly params: readonly Tensor[] }[];

/** The state of an optimizer: tensors by parameter and name. */
export type OptimizerState = ReadonlyMap<Tensor, Map<string, Tensor>>;

/** Is told what a step does on the host while `compile` records it. */
export interface StepWatcher {
  /** A leaf is about to get another gradient; `storage` is that of the present one, if there is one. */
  gradient(leaf: Tensor, next: Tensor | null, storage: Storage | null | undefined): void;
  /** An optimizer is about to step. */
  step(groups: Groups, state: OptimizerState): void;
}

export let watcher: StepWatcher | null = null;

/** Sets or removes the watcher. */
export function watch(next: StepWatcher | null): void {
  watcher = next;
}
