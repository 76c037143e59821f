import type { Backend, Storage } from './backends/backend.js';
import { startedBackends } from './backends/registry.js';
import { BYTES_PER_ELEMENT } from './backends/storage.js';
import { describe, fail } from './errors.js';
import { writeAtomically } from './io/files.js';

/** What one operation came to, over all its calls. */
export interface ProfileRow {
  /** The operation as the backend runs it, such as 'matmul', 'relu' or 'sgd'. */
  readonly op: string;
  readonly calls: number;
  /** Milliseconds. */
  readonly time: number;
  /** Bytes read and written, every operand counted once. */
  readonly bytes: number;
  /** Floating-point operations; a function such as exp counts as one. */
  readonly flops: number;
}

/** One call in Chrome's trace event format; times in microseconds. */
export interface TraceEvent {
  readonly name: string;
  readonly cat: string;
  readonly ph: 'X';
  readonly ts: number;
  readonly dur: number;
  readonly pid: number;
  readonly tid: number;
  readonly args: { readonly bytes: number; readonly flops: number; readonly detail?: string };
}

interface Cost {
  readonly op: string;
  readonly bytes: number;
  readonly flops: number;
  readonly detail?: string;
}

/** What `profile` measured. */
export class Profile<T = unknown> {
  /** By operation, the one that took longest first. */
  readonly rows: readonly ProfileRow[];

  /** @internal */
  constructor(
    /** What the profiled function returned. */
    readonly result: T,
    /** Milliseconds from the beginning to the end of the function. */
    readonly time: number,
    /** Every call in order. */
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

  /** The rows as text, with what was spent outside of operations at the end. */
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

  /** The calls as a trace for chrome://tracing, Perfetto or Chrome's performance panel. */
  toTrace(): { traceEvents: readonly TraceEvent[]; displayTimeUnit: 'ms' } {
    return { traceEvents: this.events, displayTimeUnit: 'ms' };
  }

  /** Writes the trace as a JSON file. @throws TapegradError if the path cannot be written */
  async saveTrace(path: string): Promise<void> {
    await writeAtomically('saveTrace', path, new TextEncoder().encode(JSON.stringify(this.toTrace())));
  }
}

const sized = (op: string, flops: number, ...storages: (Storage | null)[]): Cost => ({
  op,
  flops,
  bytes: storages.reduce((sum, s) => sum + (s === null ? 0 : s.size * BYTES_PER_ELEMENT[s.type]), 0),
});

/** What a call costs. The exponential of a softmax takes part in about five operations for each element. */
const SOFTMAX_FLOPS = 5;
type Method = Exclude<
  keyof Backend,
  'device' | 'type' | 'info' | 'lost' | 'capture' | 'hostCopy' | 'fetchAll' | 'free' | 'memory' | 'threads'
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
  put: ([target, source]) => sized('put', 0, target, source),
  gather: ([x, index], out) => sized('gather', 0, x, index, out),
  scatter: ([x, index], out) => sized('scatter', 0, x, index, out),
  finite: ([operands]) => sized('finite', 0, ...operands),
  fused: ([{ name, flops, operands, changes, size }], out) =>
    sized(name, flops, ...operands, ...(size > 0 ? [out] : changes.map((i) => operands[i]))),
};

let running = false;

/** Puts methods that take notes in front of a backend's own; the result takes them away again. */
function listen(backend: Backend, tid: number, since: number, events: TraceEvent[]): () => void {
  // biome-ignore lint/complexity/noBannedTypes: methods of many signatures, each of which is only passed on
  const own = backend as unknown as Record<string, Function | undefined>;
  const methods = (Object.keys(costs) as Method[]).filter((method) => own[method] !== undefined);
  let inside = false;
  for (const method of methods) {
    const original = own[method]!;
    const cost = costs[method] as (args: unknown[], out: unknown) => Cost;
    own[method] = (...args: unknown[]) => {
      if (inside) return original.apply(backend, args);
      inside = true;
      const begin = performance.now();
      try {
        const out = original.apply(backend, args);
        const dur = 1000 * (performance.now() - begin);
        const { op, bytes, flops, detail } = cost(args, out);
        const note = detail === undefined ? { bytes, flops } : { bytes, flops, detail };
        events.push({
          name: op,
          cat: backend.device,
          ph: 'X',
          ts: 1000 * (begin - since),
          dur,
          pid: 1,
          tid,
          args: note,
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
 * Runs a function and measures every operation in it: how often it was called, how long it took, what it read and wrote.
 * On the GPU, where operations return at once, the time is that of queueing them.
 * Returns a `Profile`, or a promise of one if the function returns a promise.
 *
 * ```ts
 * const p = profile(() => step());
 * console.log(String(p));
 * await p.saveTrace('trace.json'); // for chrome://tracing or ui.perfetto.dev
 * ```
 *
 * @throws TapegradError if a profile is being taken already; what the function throws
 */
export function profile<T>(fn: () => Promise<T>): Promise<Profile<T>>;
export function profile<T>(fn: () => T): Profile<T>;
export function profile<T>(fn: () => T | Promise<T>): Profile<T> | Promise<Profile<T>> {
  if (typeof fn !== 'function') fail('profile', `the argument is ${describe(fn)}`, 'pass a function');
  if (running) fail('profile', 'a profile is being taken already', 'wait until it has ended');
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
