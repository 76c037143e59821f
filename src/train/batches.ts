import { DataLoader } from '../data/loader.js';
import { turnIfDue } from '../data/yield.js';
import { describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';

/** Batches of [input, target], such as a DataLoader. Asked for anew in each epoch. */
export type Batches = (Iterable<readonly Tensor[]> | AsyncIterable<readonly Tensor[]>) & { readonly length?: number };

/** Where a batch stands, for messages. */
export interface Place {
  readonly what: 'training' | 'validation';
  /** From 1. */
  readonly epoch: number;
  /** From 0. */
  readonly batch: number;
}

export const placeName = ({ what, epoch, batch }: Place): string =>
  `${what === 'validation' ? 'validation ' : ''}batch ${batch} of epoch ${epoch}`;

type Visit = (x: Tensor, y: Tensor, place: Place) => void | Promise<void>;

/**
 * Visits all batches of an epoch in turn. Between them the event loop gets its turns, and an abort ends the loop with the
 * signal's reason. @throws TapegradError for batches that are not [input, target], and for none
 */
export async function eachBatch(
  batches: Batches,
  what: Place['what'],
  epoch: number,
  signal: AbortSignal | undefined,
  visit: Visit,
): Promise<void> {
  let batch = 0;
  const next = (given: unknown) => {
    const place = { what, epoch, batch: batch++ };
    const [x, y] = checkBatch(place, given);
    return visit(x, y, place);
  };
  signal?.throwIfAborted();
  if (hasAwaitedOrder(batches)) {
    await follow(batches[Symbol.asyncIterator](), signal, async (given) => {
      await next(given);
      await turnIfDue();
      signal?.throwIfAborted();
    });
  } else {
    for (const given of batches as Iterable<unknown>) {
      await next(isThenable(given) ? await given : given); // awaited in any case, so that others that train come in between
      const turn = turnIfDue();
      if (turn !== null) await turn;
      signal?.throwIfAborted();
    }
  }
  if (batch === 0)
    fail(
      'fit',
      `the ${what} data gave no batch in epoch ${epoch}`,
      'pass a DataLoader, an array of batches or an object that starts anew with each iteration; an iterator or generator can only be used once',
    );
}

/** A DataLoader's own asynchronous order adds nothing to what happens here, but costs. */
function hasAwaitedOrder(batches: Batches): batches is AsyncIterable<readonly Tensor[]> {
  const { [Symbol.asyncIterator]: own } = batches as Partial<AsyncIterable<unknown>>;
  return own !== undefined && own !== DataLoader.prototype[Symbol.asyncIterator];
}

/** As `for await`, but an abort does not wait for a batch that may never come. */
async function follow(
  iterator: AsyncIterator<unknown>,
  signal: AbortSignal | undefined,
  one: (given: unknown) => Promise<void>,
): Promise<void> {
  for (;;) {
    const next = await abortable(iterator, signal);
    if (next.done) return;
    try {
      await one(next.value);
    } catch (error) {
      await Promise.resolve(iterator.return?.()).catch(() => {}); // the first error is the one to tell
      throw error;
    }
  }
}

async function abortable(
  iterator: AsyncIterator<unknown>,
  signal: AbortSignal | undefined,
): Promise<IteratorResult<unknown>> {
  const next = iterator.next();
  if (signal === undefined) return next;
  let abort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => {
      // Not awaited: a generator returns only once what it waits for has come.
      Promise.resolve(iterator.return?.()).catch(() => {});
      reject(signal.reason);
    };
    signal.addEventListener('abort', abort);
  });
  try {
    return await Promise.race([next, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function checkBatch(place: Place, batch: unknown): readonly [Tensor, Tensor] {
  if (!Array.isArray(batch) || batch.length !== 2 || !batch.every((t) => t instanceof Tensor))
    fail(
      'fit',
      `${placeName(place)} is ${batch instanceof Tensor ? `a single tensor of shape ${show(batch.shape)}` : describe(batch)}`,
      'yield [input, target], two tensors',
    );
  const [x, y] = batch as [Tensor, Tensor];
  if (x.ndim === 0)
    fail(
      'fit',
      `the input of ${placeName(place)} is a scalar`,
      'give inputs whose first dimension counts the samples',
      {
        shapes: [x.shape],
      },
    );
  return [x, y];
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
