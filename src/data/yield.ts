// A long loop on the CPU that only awaits finished promises never leaves the microtask queue, and timers, requests,
// signals and frames wait for its end. So loops over batches leave for the macrotask queue, by the clock: looking at it
// costs far less than a step, and a turn of the event loop every few milliseconds costs nothing that can be measured.

/** After so many milliseconds the event loop gets its turn: together with a step as long as this, it waits for less than 15. */
const BUDGET_MS = 7;

// Taken here, so that a test's fake clock, which replaces it later, does not stop every loop.
const immediate = /* @__PURE__ */ (() => globalThis.setImmediate as typeof setImmediate | undefined)();

/** When the event loop had its last turn, as far as this file knows. All loops share it: together they keep the budget. */
let turned = Number.NEGATIVE_INFINITY;
let pending: Promise<void> | null = null;
let post: ((done: () => void) => void) | null = null;

/** A promise for the next turn of the event loop if that is due, else null: `const turn = turnIfDue(); if (turn) await turn`. */
export function turnIfDue(): Promise<void> | null {
  if (performance.now() - turned < BUDGET_MS) return null;
  pending ??= new Promise((resolve) => {
    post ??= macrotask();
    post(() => {
      turned = performance.now();
      pending = null;
      resolve();
    });
  });
  return pending;
}

/**
 * The way into the macrotask queue. In browsers a message: setTimeout waits for 4 ms, and a second in hidden pages;
 * animation frames stop there; and what follows scheduler.yield goes before the page's own timers.
 */
function macrotask(): (done: () => void) => void {
  if (immediate !== undefined) return (done) => void immediate(done);
  if (typeof MessageChannel !== 'function') return (done) => void setTimeout(done, 0);
  const { port1, port2 } = new MessageChannel();
  let waiting: (() => void) | null = null;
  port1.onmessage = () => {
    port(port1).unref?.(); // in Node without setImmediate, as in jsdom: an open port would keep the process alive
    waiting?.();
  };
  return (done) => {
    waiting = done;
    port(port1).ref?.();
    port2.postMessage(null);
  };
}

const port = (p: MessagePort) => p as MessagePort & { ref?(): void; unref?(): void };
