import type { Backend, Storage } from './backends/backend.js';
import { startedBackends } from './backends/registry.js';
import { BYTES_PER_ELEMENT } from './backends/storage.js';
import { describe, fail } from './errors.js';
import { writeAtomically } from './io/disk.js';

/** The totals of one operation over all its calls. */
export interface ProfileRow {
  /** The operation as the backend runs it, such as 'matmul', 'relu' or 'sgd'. */
  readonly op: string;
  /** The number of calls. */
  readonly calls: number;
  /** The total time, in milliseconds. */
  readonly time: number;
  /** Bytes read and written; every operand is counted once. */
  readonly bytes: number;
  /** Floating-point operations; a function such as exp counts as one. */
  readonly flops: number;
}

/**
 * One call as a complete event of the
 * [trace event format](https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU).
 */
export interface TraceEvent {
  /** The operation, as in `ProfileRow.op`. */
  readonly name: string;
  /** The category: the device that the operation ran on. */
  readonly cat: string;
  /** The phase: 'X' is a complete event, with a beginning and a duration. */
  readonly ph: 'X';
  /** The beginning, in microseconds after the beginning of the profiled function. */
  readonly ts: number;
  /** The duration, in microseconds. */
  readonly dur: number;
  /** The process; always 1. */
  readonly pid: number;
  /** The row of the trace: one number for each backend. */
  readonly tid: number;
  /** The bytes and floating-point operations of the call, as in `ProfileRow`, and what else is known of it. */
  readonly args: {
    /** Bytes read and written. */
    readonly bytes: number;
    /** Floating-point operations. */
    readonly flops: number;
    /** The shapes of a matrix product or a copy. */
    readonly detail?: string;
  };
}

/** A trace in the JSON object format of the trace event format. */
export interface Trace {
  /** Every call, in order. */
  traceEvents: readonly TraceEvent[];
  /** The unit in which a viewer shows times. */
  displayTimeUnit: 'ms';
}

interface Cost {
  readonly op: string;
  readonly bytes: number;
  readonly flops: number;
  readonly detail?: string;
}

/** The measurements of one call of `profile`. */
export class Profile<T = unknown> {
  /** The totals by operation, in descending order of time. */
  readonly rows: readonly ProfileRow[];

  /** @internal */
  constructor(
    /** What the profiled function returned. */
    readonly result: T,
    /** The time from the beginning to the end of the function, in milliseconds. */
    readonly time: number,
    /** Every call, in order. */
    readonly events: readonly TraceEvent[],
  ) {
    const rows = new Map<string, { -readonly [K in keyof ProfileRow]: ProfileRow[K] }>();
    for (const { name, dur, args } of events) {
      const row = rows.get(name) ?? { op: name, calls: 0, time: 0, bytes: 0, flops: 0 };
      rows.set(name, row);
      row.calls++;
      row.time += dur / 1000;
      row.bytes += args.bytes;
      row.flops += args.flops;
    }
    this.rows = [...rows.values()].sort((a, b) => b.time - a.time);
  }

  /**
   * The rows as a table. The last line is the time outside of operations.
   * @returns one line for each operation: calls, milliseconds, share of the total time, megabytes, and GFLOP/s
   */
  toString(): string {
    const lines = this.rows.map(({ op, calls, time, bytes, flops }) => [
      op,
      String(calls),
      time.toFixed(3),
      `${((100 * time) / this.time).toFixed(1)}%`,
      (bytes / 1e6).toFixed(3),
      flops > 0 && time > 0 ? (flops / time / 1e6).toFixed(2) : '',
    ]);
    const outside = this.time - this.rows.reduce((sum, row) => sum + row.time, 0);
    const share = `${((100 * outside) / this.time).toFixed(1)}%`;
    const table = [
      ['op', 'calls', 'ms', 'share', 'MB', 'GFLOP/s'],
      ...lines,
      ['(outside operations)', '', outside.toFixed(3), share, '', ''],
    ];
    const widths = table[0].map((_, i) => Math.max(...table.map((row) => row[i].length)));
    const text = table.map((row) => row.map((s, i) => (i === 0 ? s.padEnd(widths[i]) : s.padStart(widths[i]))));
    return text.map((row) => row.join('  ').trimEnd()).join('\n');
  }

  /**
   * The calls as a trace for chrome://tracing, [Perfetto](https://ui.perfetto.dev) or Chrome's performance panel.
   * @returns an object that JSON.stringify turns into a trace file
   */
  toTrace(): Trace {
    return { traceEvents: this.events, displayTimeUnit: 'ms' };
  }

  /**
   * Writes the trace as a JSON file.
   * @param path the file; an existing one is replaced
   * @returns a promise that is resolved when the file is complete
   * @throws TapegradError if the path cannot be written
   */
  async saveTrace(path: string): Promise<void> {
    await writeAtomically('saveTrace', path, new TextEncoder().encode(JSON.stringify(this.toTrace())));
  }
}

const sized = (op: string, flops: number, ...storages: (Storage | null)[]): Cost => ({
  op,
  flops,
  bytes: storages.reduce((sum, s) => sum + (s === null ? 0 : s.size * BYTES_PER_ELEMENT[s.type]), 0),
});

/** Floating-point operations of a softmax for each element: maximum, difference, exponential, sum, quotient. */
const SOFTMAX_FLOPS = 5;
type Method = Exclude<
  keyof Backend,
  | 'device'
  | 'type'
  | 'info'
  | 'lost'
  | 'capture'
  | 'uncaptured'
  | 'hostCopy'
  | 'fetchAll'
  | 'unreadable'
  | 'free'
  | 'memory'
  | 'threads'
>;
const costs: { [M in Method]: (args: Parameters<NonNullable<Backend[M]>>, out: Storage) => Cost } = {
  upload: (_, out) => sized('upload', 0, out),
  fill: (_, out) => sized('fill', 0, out),
  write: ([target]) => sized('write', 0, target),
  read: ([x]) => sized('read', 0, x),
  readSync: ([x]) => sized('read', 0, x),
  unary: ([kernel, x], out) => sized(kernel.name, x.size, x, out),
  binary: ([kernel, a, b], out) => sized(kernel.name, out.size, a, b, out),
  reduce: ([kernel, x], out) => sized(kernel.name, x.size, x, out),
  matmul: ([plan, a, b, bias], out) => {
    const { m, n, k, transA, transB, offsetsA } = plan;
    const [left, right] = [transA ? `[${k}, ${m}]ᵀ` : `[${m}, ${k}]`, transB ? `[${n}, ${k}]ᵀ` : `[${k}, ${n}]`];
    const detail = `${offsetsA.length > 1 ? `${offsetsA.length} times ` : ''}${left} ${right}`;
    return { ...sized('matmul', 2 * m * n * k * offsetsA.length, a, b, bias, out), detail };
  },
  softmax: ([x, , , log], out) => sized(log ? 'logSoftmax' : 'softmax', SOFTMAX_FLOPS * x.size, x, out),
  copy: ([x, shape], out) => ({ ...sized('copy', 0, x, out), detail: `to [${shape.join(', ')}]` }),
  rows: ([x], out) => sized('rows', 0, x, out),
  checkIndices: ([, index]) => sized('checkIndices', 0, index),
  put: ([target, source]) => sized('put', 0, target, source),
  cat: ([parts], out) => sized('cat', 0, ...parts, out),
  gather: ([, index], out) => sized('gather', 0, out, index, out),
  scatter: ([x, index], out) => sized('scatter', x.size, x, index, out),
  finite: ([operands]) => sized('finite', 0, ...operands),
  fused: ([{ name, changes, flops }, operands, size, bounds, numbers], out) =>
    sized(name, flops(bounds, numbers), ...operands, ...(size > 0 ? [out] : changes.map((i) => operands[i] ?? null))),
};

let running = false;

/** Shadows a backend's methods with ones that record an event for each call; the result removes them. */
function listen(backend: Backend, tid: number, since: number, events: TraceEvent[]): () => void {
  // biome-ignore lint/complexity/noBannedTypes: methods of many signatures, each of which is only passed on
  const own = backend as unknown as Record<string, Function | undefined>;
  const methods = (Object.keys(costs) as Method[]).filter((method) => own[method] !== undefined);
  let inside = false;
  for (const method of methods) {
    const original = own[method]!;
    const costOf = costs[method] as (args: unknown[], out: unknown) => Cost;
    own[method] = (...args: unknown[]) => {
      if (inside) return original.apply(backend, args);
      inside = true;
      const begin = performance.now();
      try {
        const out = original.apply(backend, args);
        const dur = 1000 * (performance.now() - begin);
        const { op, bytes, flops, detail } = costOf(args, out);
        const cost = detail === undefined ? { bytes, flops } : { bytes, flops, detail };
        events.push({
          name: op,
          cat: backend.device,
          ph: 'X',
          ts: 1000 * (begin - since),
          dur,
          pid: 1,
          tid,
          args: cost,
        });
        return out;
      } finally {
        inside = false;
      }
    };
  }
  return () => {
    for (const method of methods) delete own[method];
  };
}

/**
 * Runs a function and measures every operation in it: the number of calls, the time, and the bytes read and written. On the
 * GPU, where operations return before they have run, the time is that of queueing them.
 *
 * @param fn the function to measure; may be asynchronous
 * @returns a `Profile`, or a promise of one if the function returns a promise
 * @throws TapegradError if another profile is running; also whatever the function throws
 * @example
 * ```ts
 * import { profile, randn } from 'tapegrad';
 *
 * const x = randn([64, 64]);
 * const p = profile(() => x.matmul(x).relu());
 * console.log(String(p));
 * console.log(p.rows[0].op, p.rows[0].time);
 * // await p.saveTrace('trace.json') writes a file for chrome://tracing or ui.perfetto.dev
 * ```
 */
export function profile<T>(fn: () => Promise<T>): Promise<Profile<T>>;
export function profile<T>(fn: () => T): Profile<T>;
export function profile<T>(fn: () => T | Promise<T>): Profile<T> | Promise<Profile<T>> {
  if (typeof fn !== 'function') fail('profile', `the argument is ${describe(fn)}`, 'pass a function');
  if (running) fail('profile', 'another profile is running', 'wait until it has ended');
  running = true;
  const events: TraceEvent[] = [];
  const since = performance.now();
  const ends = startedBackends().map((backend, i) => listen(backend, i + 1, since, events));
  const end = () => {
    running = false;
    for (const stop of ends) stop();
  };
  const done = (result: T) => new Profile(result, performance.now() - since, events);
  let result: T | Promise<T>;
  try {
    result = fn();
  } catch (error) {
    end();
    throw error;
  }
  if (result instanceof Promise) return result.then(done).finally(end);
  end();
  return done(result);
}
