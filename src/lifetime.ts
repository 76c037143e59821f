import { FOREVER, type Storage } from './backends/backend.js';

// Nobody has to free a tensor: what nobody holds is collected. But the library knows some storages to be dead long before
// a collector does, and hands those back at once, so that the next operation finds them warm: the gradients that a
// backward pass computes on its way, and gradients of parameters that were never shown to anyone. `holders` counts who
// still needs such a storage; one that people can see gets a holder that never lets go.

/** Storages born later than this belong to the running pass. */
let since = Number.POSITIVE_INFINITY;
let made: Storage[] = [];

/** Notes what a tensor is made on; called for every tensor. */
export function track(storage: Storage): void {
  storage.tensors++;
  if (storage.born > since) made.push(storage);
}

/** Runs a pass from whose storages only those survive that are held at its end. `birth` is that of a storage made just before. */
export function within<T>(birth: number, pass: () => T): T {
  const before = since;
  const madeBefore = made;
  since = birth;
  made = [];
  try {
    return pass();
  } finally {
    sweepOut();
    since = before;
    made = madeBefore;
  }
}

/** Frees what the pass has made so far and nobody holds. */
export function sweepOut(): void {
  for (let i = 0; i < made.length; i++) {
    const storage = made[i];
    if (storage.holders === 0) storage.backend.free(storage);
  }
  if (made.length > 0) made.length = 0;
}

export function hold(storage: Storage): void {
  storage.holders++;
}

/** Keeps a storage that people can see, or that the pass did not make, out of all this for good. */
export function show(storage: Storage): void {
  if (storage.holders < FOREVER) storage.holders += FOREVER;
}

/** Lets go; the last one to do so frees the storage. */
export function drop(storage: Storage): void {
  if (--storage.holders === 0) storage.backend.free(storage);
}

/** A tensor is done with a storage by somebody's word; freed if it was the only one and nothing else needs it. */
export function abandon(storage: Storage): void {
  if (storage.tensors === 1 && storage.holders === 0) storage.backend.free(storage);
}

/** Whether the running pass made a storage. */
export function isOwn(storage: Storage): boolean {
  return storage.born > since;
}
