// The program of a worker thread, as source text, so that bundlers, minifiers and coverage instrumentation do not change it.
//
// A job is in the shared memory: a kernel, its arguments, and their increments from one chunk to the next. The thread that
// decrements `remaining` owns that chunk, so the others do the work of a worker that is late or has not started. A worker
// ends, between chunks, when the epoch has changed. `remaining` has the epoch above its lowest 8 bits, so that a worker of a former
// epoch, which may lack the kernel, takes no chunk before it notices.

/** Where the job begins in the memory: integers first, then arguments and steps as float64. */
export const CONTROL = 32768;
/** Positions among the integers; what different threads write lies on cache lines of its own. */
export const SLOT = {
  /** The epoch times 256, and the number of chunks that no thread has taken. */
  remaining: 0,
  /** The number of computed chunks. */
  done: 16,
  /** Changes when sleeping workers must wake up. */
  signal: 32,
  sleepers: 33,
  epoch: 34,
  /** The number of running workers. */
  up: 35,
  failed: 36,
  /** Whether the caller sleeps until `done` changes. */
  joining: 37,
  kernel: 48,
  count: 49,
  counted: 50,
  per: 51,
  total: 52,
};
export const ARGS = CONTROL + 256;
export const MAX_ARGS = 16;
export const STEPS = ARGS + MAX_ARGS * 8;

const S = SLOT;

/** How long a worker polls for work before it sleeps, in milliseconds. */
const PATIENCE = 0.5;

export const workerSource = `
const begin = ({ modules, memory, epoch }, end) => {
  const i = new Int32Array(memory.buffer, ${CONTROL}, 64);
  const args = new Float64Array(memory.buffer, ${ARGS}, ${MAX_ARGS});
  const steps = new Float64Array(memory.buffer, ${STEPS}, ${MAX_ARGS});
  const kernels = modules.flatMap((module) => Object.values(new WebAssembly.Instance(module, { env: { memory } }).exports));
  const run = (chunk) => {
    const a = [];
    for (let k = 0; k < i[${S.count}]; k++) a.push(args[k] + chunk * steps[k]);
    a[i[${S.counted}]] = Math.min(i[${S.per}], i[${S.total}] - chunk * i[${S.per}]);
    kernels[i[${S.kernel}]](...a);
  };
  const waits = (left) => left >> 8 === epoch && (left & 255) > 0;
  Atomics.add(i, ${S.up}, 1);
  let idleSince = performance.now();
  for (let spins = 1; Atomics.load(i, ${S.epoch}) === epoch; spins++) {
    const left = Atomics.load(i, ${S.remaining});
    if (waits(left)) {
      if (Atomics.compareExchange(i, ${S.remaining}, left, left - 1) !== left) continue;
      try {
        run((left & 255) - 1);
      } catch {
        Atomics.store(i, ${S.failed}, 1);
      }
      Atomics.add(i, ${S.done}, 1);
      if (Atomics.load(i, ${S.joining}) === 1) Atomics.notify(i, ${S.done});
      spins = 0;
    } else if (spins === 1) {
      idleSince = performance.now();
    } else if ((spins & 255) === 0 && performance.now() - idleSince > ${PATIENCE}) {
      const signal = Atomics.load(i, ${S.signal});
      Atomics.add(i, ${S.sleepers}, 1);
      if (!waits(Atomics.load(i, ${S.remaining}))) Atomics.wait(i, ${S.signal}, signal);
      Atomics.sub(i, ${S.sleepers}, 1);
      spins = 0;
    }
  }
  Atomics.sub(i, ${S.up}, 1);
  end();
};
if (typeof require === 'function') begin(require('node:worker_threads').workerData, () => {});
else onmessage = (event) => begin(event.data, close);
`;
