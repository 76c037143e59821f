import { checkFunction, Scope } from './scope.js';

let forced: boolean | null = null;
const quiet = new Scope('noGrad');

/** Whether operations are being recorded for backward, here and now. */
export function isGradEnabled(): boolean {
  return forced ?? !quiet.active;
}

/**
 * Runs `fn` without recording: its results need no gradient and keep nothing alive for one. As torch.no_grad.
 *
 * @param fn may be async in Node, where the effect follows it through every await until its promise settles, and touches
 *   nothing that runs beside it. A generator function may be passed, too: each of its steps runs without recording.
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

/** Forces recording on or off, or leaves it to what surrounds with null; returns what was forced before. */
export function setRecording(enabled: boolean | null): boolean | null {
  const before = forced;
  forced = enabled;
  return before;
}
