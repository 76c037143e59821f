import { DataLoader } from '../data/loader.js';
import { turnIfDue } from '../data/yield.js';
import { describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';

/**
 * Batches of [input, target], such as a DataLoader: a synchronous or asynchronous iterable, which `fit` iterates once per
 * epoch. The optional `length`, the number of batches, is used for the progress bar.
 */
export type Batches = (Iterable<readonly Tensor[]> | AsyncIterable<readonly Tensor[]>) & {
  /** The number of batches in an epoch. */
  readonly length?: number;
};

/** The position of a batch, for messages. */
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
 * Visits all batches of an epoch in order. Yields to the event loop between batches; an abort ends the loop with the reason of
 * the signal. @throws TapegradError for batches that are not [input, target], and if there are none
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
  if (hasAsyncIterator(batches)) {
    await follow(batches[Symbol.asyncIterator](), signal, async (given) => {
      await next(given);
      await turnIfDue();
      signal?.throwIfAborted();
    });
  } else {
    for (const given of batches as Iterable<unknown>) {
      await next(isThenable(given) ? await given : given); // awaited one by one, so that concurrent training loops interleave
      const turn = turnIfDue();
      if (turn !== null) await turn;
      signal?.throwIfAborted();
    }
  }
  if (batch === 0)
    fail(
      'fit',
      `the ${what} data yields no batch in epoch ${epoch}`,
      'pass a DataLoader, an array of batches or an object whose iterations each start from the beginning; an iterator or generator can only be used once',
    );
}

/**
 * Whether to iterate asynchronously. A DataLoader that never waits is iterated synchronously, because this loop yields to the
 * event loop itself.
 */
function hasAsyncIterator(batches: Batches): batches is AsyncIterable<readonly Tensor[]> {
  const { [Symbol.asyncIterator]: own } = batches as Partial<AsyncIterable<unknown>>;
  const isLoader = own === DataLoader.prototype[Symbol.asyncIterator];
  return own !== undefined && !(isLoader && (batches as unknown as DataLoader).immediate);
}

/** Like `for await`, but an abort does not wait for a batch that may never arrive. */
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
      await Promise.resolve(iterator.return?.()).catch(() => {}); // report the first error, not this one
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
      // Not awaited: a generator returns only after its pending promise has settled.
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
