import { checkFunction, Scope } from './scope.js';

let forced: boolean | null = null;
const quiet = new Scope('noGrad');

/** Whether operations of the running code are recorded for backward. */
export function isGradEnabled(): boolean {
  return forced ?? !quiet.active;
}

/**
 * Runs `fn` without recording: its results do not require a gradient, and no values are saved for one. As
 * [torch.no_grad](https://docs.pytorch.org/docs/stable/generated/torch.no_grad.html).
 *
 * @param fn a function, also an async one in Node: the effect lasts until its promise settles, and does not apply to code
 *   that runs concurrently. For a generator function, each of its steps runs without recording.
 * @returns what `fn` returns
 * @throws TapegradError in environments without AsyncLocalStorage if `fn` returns a promise or an async generator
 * @example
 * const scores = noGrad(() => model.forward(x));
 */
export function noGrad<T>(fn: () => T): T {
  checkFunction('noGrad', fn, 'noGrad(() => model.forward(x))');
  const before = forced;
  forced = null;
  try {
    return quiet.run(fn);
  } finally {
    forced = before;
  }
}

/** Forces recording on or off; null restores the surrounding mode. Returns the forced mode of before. */
export function setRecording(enabled: boolean | null): boolean | null {
  const before = forced;
  forced = enabled;
  return before;
}
