import type { AsyncLocalStorage } from 'node:async_hooks';
import { fail } from '../errors.js';
import { builtin } from '../node.js';

// Whether operations are recorded. The synchronous part of a noGrad function counts in `depth`. What it awaits runs
// later, among other people's code, so there the answer follows the asynchronous context instead of a global flag.

let depth = 0;
let forced: boolean | null = null;
let pending = 0;
let context: AsyncLocalStorage<boolean> | null | undefined;

/** Whether operations are being recorded for backward, here and now. */
export function isGradEnabled(): boolean {
  if (forced !== null) return forced;
  return depth === 0 && (pending === 0 || context?.getStore() !== true);
}

/**
 * Runs `fn` without recording: its results need no gradient and keep nothing alive for one. As torch.no_grad.
 *
 * @param fn may be async in Node, where the effect follows it through every await and touches nothing that runs beside it
 * @returns what `fn` returns
 * @throws TapegradError in environments without AsyncLocalStorage if `fn` returns a promise
 */
export function noGrad<T>(fn: () => T): T {
  if (typeof fn !== 'function')
    fail('noGrad', `the argument is ${String(fn)}`, 'pass a function: noGrad(() => model.forward(x))');
  if (context === undefined) {
    const hooks = builtin('node:async_hooks');
    context = hooks ? new hooks.AsyncLocalStorage<boolean>() : null;
  }
  const result = context ? context.run(true, quietly, fn) : quietly(fn);
  if (isThenable(result)) {
    if (context === null) {
      result.then(null, () => {});
      fail(
        'noGrad',
        'the function is asynchronous, which this environment cannot follow',
        'await first and use noGrad around the synchronous part',
      );
    }
    pending++;
    const done = () => {
      pending--;
    };
    result.then(done, done);
  }
  return result;
}

function quietly<T>(fn: () => T): T {
  const before = forced;
  forced = null;
  depth++;
  try {
    return fn();
  } finally {
    depth--;
    forced = before;
  }
}

/** Forces recording on or off, or leaves it to what surrounds with null; returns what was forced before. */
export function setRecording(enabled: boolean | null): boolean | null {
  const before = forced;
  forced = enabled;
  return before;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function';
}
