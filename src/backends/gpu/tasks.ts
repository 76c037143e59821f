/** Calls back once the running task has ended: later than microtasks, and without the delay of timers where that is possible. */
export const later: (fn: () => void) => void = /* @__PURE__ */ (() => {
  if (typeof setImmediate === 'function') return (fn: () => void) => void setImmediate(fn);
  return (fn: () => void) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      fn();
    };
    port2.postMessage(null);
  };
})();

/** Gives each caller a task of its own, in the order of the calls, so that none of them keeps the thread for long. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  next(): Promise<void> {
    this.#last = this.#last.then(() => new Promise(later));
    return this.#last;
  }
}
