import type { Backend, Capture, Storage } from './backends/backend.js';
import { currentBackend } from './backends/registry.js';
import { describe, fail, show } from './errors.js';
import { Layout } from './layout.js';
import { Tensor } from './methods.js';
import { type Stepping, whileListening } from './optim/step-listeners.js';
import { denseCopy } from './tensor.js';

/** A step that `compile` has prepared. Its results have no history: gradients do not flow through them. */
export interface CompiledStep<R extends Tensor | readonly Tensor[]> {
  (...inputs: Tensor[]): R;
  /** How many calls have been recorded so far: one for each combination of input shapes, and again when an optimizer got other options. */
  readonly recordings: number;
  /** How many calls were replayed. */
  readonly replays: number;
}

/** A capture keeps everything that its step computes on the device, so there are not more of them than this. */
const MOST_SHAPES = 8;

/** What the calls with one combination of input shapes have come to. */
interface Entry {
  calls: number;
  capture: Capture | null;
  /** The optimizers that stepped, with their signatures of before: with other ones the capture is out of date. */
  optimizers: ReadonlyMap<Stepping, string>;
  /** The shapes of the results, and whether they came in an array. */
  shapes: readonly (readonly number[])[];
  many: boolean;
}

/**
 * Prepares a training or inference step for being called over and over. On WebGPU the first call for each combination of
 * input shapes runs as it is, the second is captured, and from the third on everything that it computed is submitted to
 * the device at once, without going through the layers again; parameters and optimizer state stay on the device. The
 * results are those of the step itself. On other devices the step is called as it is.
 *
 * ```ts
 * const step = compile((x, y) => {
 *   const loss = criterion.forward(model.forward(x), y);
 *   loss.backward();
 *   optimizer.step();
 *   optimizer.zeroGrad();
 *   return loss;
 * });
 * for (const [x, y] of loader) losses.push(await step(x, y).item());
 * ```
 *
 * What is replayed is the device's part only: the step must do the same operations every time, whatever else it does
 * (counting, choosing at random, train() or eval()) is not repeated. Other options of an optimizer are noticed. Of more
 * than eight combinations of shapes those that were used last are kept. As torch.compile, or CUDA graphs.
 *
 * @param step a synchronous function of tensors that returns a tensor, or several
 * @throws TapegradError from a call that cannot be recorded, with the reason: the step is asynchronous, reads a tensor,
 *   makes one from numbers of the host, or leaves gradients behind
 */
export function compile<R extends Tensor | readonly Tensor[]>(step: (...inputs: Tensor[]) => R): CompiledStep<R> {
  if (typeof step !== 'function') fail('compile', `the step is ${describe(step)}`, 'pass a function of tensors');
  const known = new WeakMap<Backend, Map<string, Entry>>();
  let recordings = 0;
  let replays = 0;

  const entryOf = (backend: Backend, inputs: readonly Tensor[]): Entry => {
    const entries = known.get(backend) ?? new Map<string, Entry>();
    known.set(backend, entries);
    const key = inputs.map((x) => show(x.shape)).join();
    const entry = entries.get(key) ?? { calls: 0, capture: null, optimizers: new Map(), shapes: [], many: false };
    // The one that was used last is the last of the map; what has not been used for longest makes room.
    entries.delete(key);
    entries.set(key, entry);
    for (const [old, { capture }] of entries) {
      if (entries.size <= MOST_SHAPES) break;
      capture?.free();
      entries.delete(old);
    }
    return entry;
  };

  const asIs = (inputs: readonly Tensor[]): R => {
    const { tensors, many } = checkResults(step(...inputs));
    return together(
      tensors.map((t) => t.detach()),
      many,
    );
  };

  const record = (backend: Backend, entry: Entry, inputs: readonly Tensor[]): R => {
    entry.capture?.free();
    entry.capture = null;
    const optimizers = new Map<Stepping, string>();
    const note = (optimizer: Stepping) => {
      if (!optimizers.has(optimizer)) optimizers.set(optimizer, optimizer.signature());
    };
    const capture = backend.capture!(inputs.map(storageOf), (copies) => {
      const given = inputs.map((x, i) => new Tensor(Layout.rowMajor(x.dims), copies[i]));
      const { tensors, many } = checkResults(whileListening(note, () => step(...given)));
      entry.shapes = tensors.map((t) => t.dims);
      entry.many = many;
      return tensors.map(storageOf);
    });
    recordings++;
    entry.capture = capture;
    entry.optimizers = optimizers;
    return asTensors(entry, capture.results);
  };

  const call = (...inputs: Tensor[]): R => {
    const backend = checkInputs(inputs);
    if (backend.capture === undefined) return asIs(inputs);
    const entry = entryOf(backend, inputs);
    if (entry.calls++ === 0) return asIs(inputs);
    const { capture, optimizers } = entry;
    const outdated = [...optimizers].some(([optimizer, signature]) => optimizer.signature() !== signature);
    if (capture === null || outdated) return record(backend, entry, inputs);
    replays++;
    return asTensors(entry, capture.replay(inputs.map(storageOf)));
  };

  return Object.defineProperties(call, {
    recordings: { get: () => recordings },
    replays: { get: () => replays },
  }) as CompiledStep<R>;
}

/** The elements of a tensor as a dense storage. */
function storageOf(x: Tensor): Storage {
  return x.layout.dense ? x.storage : denseCopy(x).storage;
}

function together<R>(tensors: readonly Tensor[], many: boolean): R {
  return (many ? tensors : tensors[0]) as R;
}

function asTensors<R>({ shapes, many }: Entry, storages: readonly Storage[]): R {
  return together(
    storages.map((s, i) => new Tensor(Layout.rowMajor(shapes[i]), s)),
    many,
  );
}

/** Requires tensors on one device, and returns its backend. */
function checkInputs(inputs: readonly Tensor[]): Backend {
  for (const [i, x] of inputs.entries()) {
    if (!(x instanceof Tensor)) fail('compile', `input ${i} is ${describe(x)}`, 'pass tensors');
    if (x.requiresGrad) fail('compile', `input ${i} requires a gradient`, 'pass x.detach()');
    const { device, backend } = inputs[0];
    if (x.backend !== backend) {
      fail('compile', `the inputs are on '${device}' and '${x.device}'`, `move them with .to('${device}')`);
    }
  }
  return inputs[0]?.backend ?? currentBackend();
}

function checkResults(result: unknown): { tensors: readonly Tensor[]; many: boolean } {
  const many = Array.isArray(result);
  const tensors: readonly unknown[] = many ? result : [result];
  for (const t of tensors) {
    if (t instanceof Tensor) continue;
    const remedy = 'return a tensor or an array of them; an asynchronous step cannot be compiled';
    fail('compile', `the step returned ${t instanceof Promise ? 'a promise' : describe(t)}`, remedy);
  }
  return { tensors: tensors as readonly Tensor[], many };
}
