import type { Backend, Capture, Storage } from './backends/backend.js';
import { currentBackend } from './backends/registry.js';
import { describe, fail, show } from './errors.js';
import { Layout } from './layout.js';
import { moveCount } from './lifetime.js';
import { Tensor } from './methods.js';
import { type Stepping, whileListening } from './optim/step-listeners.js';
import { denseCopy } from './tensor.js';

/** The result of `compile`: a step to call. The tensors that it returns have no history: gradients do not flow through them. */
export interface CompiledStep<R extends Tensor | readonly Tensor[]> {
  (...inputs: Tensor[]): R;
  /** The number of recorded calls: one for each combination of input shapes, and one for each change of an optimizer's hyperparameters. */
  readonly recordings: number;
  /** The number of replayed calls. */
  readonly replays: number;
}

/** A capture keeps everything that its step computes on the device, so there are not more of them than this. */
const MOST_SHAPES = 8;

/** The state of the calls with one combination of input shapes. */
interface Entry {
  calls: number;
  capture: Capture | null;
  /** The optimizers that stepped, with their signatures; the capture is invalid after a signature has changed. */
  optimizers: ReadonlyMap<Stepping, string>;
  /** How many tensors had got another storage before, by `to(device)`. */
  moves: number;
  /** The shapes of the results, and whether the step returned an array. */
  shapes: readonly (readonly number[])[];
  many: boolean;
}

/**
 * Prepares a training or inference step for repeated calls. On WebGPU the first call for each combination of input shapes
 * runs as usual, the second is captured, and from the third on its operations are submitted to the device in one batch,
 * without running the JavaScript of the layers; parameters and optimizer state stay on the device. The results are the same
 * as without `compile`. On other devices the step is called as usual. As
 * [torch.compile](https://docs.pytorch.org/docs/stable/generated/torch.compile.html), or CUDA graphs.
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
 * Only the operations on the device are replayed. The step must do the same operations in every call; its other effects
 * (counters, random choices on the host, train() or eval()) are not repeated. A change of an optimizer's hyperparameters is
 * detected. Captures of the eight combinations of shapes that were used last are kept.
 *
 * @param step a synchronous function of tensors that returns a tensor or an array of tensors
 * @returns a function with the same inputs and results
 * @throws TapegradError from a call that cannot be recorded, with the reason: the step is asynchronous, reads a tensor,
 *   makes one from numbers of the host, or leaves gradients that were not there before
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
    const entry = entries.get(key) ?? {
      calls: 0,
      capture: null,
      optimizers: new Map(),
      moves: 0,
      shapes: [],
      many: false,
    };
    // The map is in the order of use: the least recently used entry is the first, and is evicted.
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
    entry.moves = moveCount();
    return asTensors(entry, capture.results);
  };

  const call = (...inputs: Tensor[]): R => {
    const backend = checkInputs(inputs);
    if (backend.capture === undefined) return asIs(inputs);
    const entry = entryOf(backend, inputs);
    if (entry.calls++ === 0) return asIs(inputs);
    const { capture, optimizers, moves } = entry;
    const outdated =
      moves !== moveCount() || [...optimizers].some(([optimizer, signature]) => optimizer.signature() !== signature);
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
