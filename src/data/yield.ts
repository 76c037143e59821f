// A long loop on the CPU that only awaits settled promises never leaves the microtask queue, so timers, requests,
// signals and frames do not run until it ends. Loops over batches therefore yield to the macrotask queue at a fixed time
// interval: reading the clock costs far less than a step, and yielding every few milliseconds has no measurable cost.

/** Milliseconds between yields to the event loop. With a step of the same length, the delay stays below 15 ms. */
const BUDGET_MS = 7;

// Captured at load time, because a test's fake timers replace it later and would stop every loop.
const immediate = /* @__PURE__ */ (() => globalThis.setImmediate as typeof setImmediate | undefined)();

/** Time of the last yield. All loops share it, so that together they keep the budget. */
let lastYield = Number.NEGATIVE_INFINITY;
let pending: Promise<void> | null = null;
let post: ((done: () => void) => void) | null = null;

/** A promise that resolves after a yield to the event loop if one is due, else null: `const turn = turnIfDue(); if (turn) await turn`. */
export function turnIfDue(): Promise<void> | null {
  if (performance.now() - lastYield < BUDGET_MS) return null;
  pending ??= new Promise((resolve) => {
    post ??= macrotask();
    post(() => {
      lastYield = performance.now();
      pending = null;
      resolve();
    });
  });
  return pending;
}

/**
 * Schedules a macrotask. Browsers use a message: setTimeout waits at least 4 ms, and a second in hidden pages; animation
 * frames stop in hidden pages; and continuations of scheduler.yield run before the page's own timers.
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
