import { isGradEnabled } from './autograd/mode.js';
import type { Backend, Capture, Storage } from './backends/backend.js';
import { currentBackend } from './backends/registry.js';
import { newestId } from './backends/storage.js';
import { warnOnce } from './backends/warn.js';
import { describe, fail, show } from './errors.js';
import { Layout } from './layout.js';
import { changeCount, type Groups, type OptimizerState, release, retain, watch } from './lifetime.js';
import { Tensor } from './methods.js';
import { generator, halves, type RecordedDraws } from './random.js';
import { denseCopy } from './tensor.js';

/** The result of `compile`: a step to call. The tensors that it returns have no history: gradients do not flow through them. */
export interface CompiledStep<R extends Tensor | readonly Tensor[]> {
  (...inputs: Tensor[]): R;
  /** The number of recorded calls: one for each combination of input shapes, and one for each change that is detected. */
  readonly recordings: number;
  /** The number of replayed calls. */
  readonly replays: number;
}

/** A capture keeps everything that its step computes on the device, so there are not more of them than this. */
const MOST_SHAPES = 8;

/** So many recordings in a row without a replay are followed by so many calls without any. */
const MOST_RECORDINGS = 8;
const PAUSE = 64;

/** Whether a step is being recorded; a compiled step that it calls is part of it. */
let recording = false;

/** The state of the calls with one combination of input shapes. */
interface Entry {
  /** The number of calls; at most 0 for those that run the step as it is. */
  calls: number;
  /** The number of recordings since the last replay. */
  row: number;
  capture: Capture | null;
  /** What the captured step did on the host. */
  observed: Observed | null;
  /** How many changes of what steps do on the host there had been. */
  changes: number;
  /** The shapes of the results, and whether the step returned an array. */
  shapes: readonly (readonly number[])[];
  many: boolean;
  /** Whether the step draws random numbers, so that it is not captured. */
  random: boolean;
}

/** What a step did to the gradient of a leaf. */
interface Gradient {
  /** The gradient before the step, and its storage, which is retained. */
  readonly before: Tensor | null;
  readonly storage: Storage | null;
  /** The gradient that every call must find; undefined if the step began by dropping it. */
  readonly start: Tensor | null | undefined;
}

/** An optimizer that stepped. */
interface Optimizer {
  readonly state: OptimizerState;
  /** The state before the first step. */
  readonly before: OptimizerState;
  readonly signature: string;
}

/** A string that changes when the next step of an optimizer would do another computation, such as with another learning rate. */
function signatureOf(groups: Groups, state: OptimizerState): string {
  const storages = groups.map(({ params, ...numbers }) => [
    numbers,
    ...params.map((p) => [...(state.get(p)?.values() ?? [])].map((t) => t.storage.id)),
  ]);
  return JSON.stringify(storages);
}

/** Observes what a step does on the host while it is recorded, to undo it or to see later whether it would do it again. */
class Observed {
  /** The optimizers that stepped. */
  readonly #optimizers = new Map<Groups, Optimizer>();
  readonly #gradients = new Map<Tensor, Gradient>();
  /** Leaves with storages made later are the step's own. */
  readonly #newest = newestId();
  readonly #random = generator.state;
  /** The leaves whose gradients the step replaced or dropped, with those that they have at its end. */
  #after: (readonly [leaf: Tensor, gradient: Tensor | null])[] = [];

  during<T>(step: () => T): T {
    watch({
      gradient: (leaf, next, storage) => {
        if (this.#gradients.has(leaf) || leaf.storage.id > this.#newest) return;
        if (next !== null && leaf.gradient !== null) {
          const remedy = 'call optimizer.zeroGrad() or model.zeroGrad() at its beginning or end';
          fail('compile', 'the step adds to gradients from before', remedy);
        }
        this.#note(leaf, storage ?? null, next === null ? undefined : null);
      },
      step: (groups, state) => this.#step(groups, state),
    });
    generator.recorded = this.draws;
    try {
      return step();
    } finally {
      generator.recorded = null;
      watch(null);
      this.#after = [...this.#gradients].flatMap(([p, { before, start }]) =>
        start === undefined || p.gradient !== before ? [[p, p.gradient] as const] : [],
      );
    }
  }

  #note(leaf: Tensor, storage: Storage | null, start: Gradient['start']): void {
    if (storage !== null) retain(storage);
    this.#gradients.set(leaf, { before: leaf.gradient, storage, start });
  }

  #step(groups: Groups, state: OptimizerState): void {
    if (!this.#optimizers.has(groups)) {
      const before = new Map([...state].map(([p, tensors]) => [p, new Map(tensors)]));
      this.#optimizers.set(groups, { state, before, signature: signatureOf(groups, state) });
    }
    for (const { params } of groups) {
      for (const p of params) if (!this.#gradients.has(p)) this.#note(p, p.gradient?.storage ?? null, p.gradient);
    }
  }

  /** Where the device finds the position of the random stream, and how far the step has moved it. */
  readonly draws: RecordedDraws;

  constructor(backend: Backend) {
    this.draws = { position: backend.uncaptured!(() => backend.upload(halves(generator.words))), blocks: 0 };
  }

  /** Whether the host has drawn random numbers. */
  get drew(): boolean {
    const { seed, block } = generator.state;
    return seed !== this.#random.seed || block !== this.#random.block + this.draws.blocks;
  }

  /** Lets a replay draw the next numbers of the stream. */
  draw(): void {
    const { position, blocks } = this.draws;
    if (blocks === 0) return;
    position.backend.write(position, halves(generator.words));
    generator.skip(blocks);
  }

  /** The gradients that the step left. */
  get gradients(): Tensor[] {
    return this.#after.flatMap(([, gradient]) => (gradient === null ? [] : [gradient]));
  }

  /** Whether another call would do the same. */
  get valid(): boolean {
    for (const [groups, { state, signature }] of this.#optimizers) {
      if (signatureOf(groups, state) !== signature) return false;
    }
    for (const [leaf, { start }] of this.#gradients) if (start !== undefined && leaf.gradient !== start) return false;
    return true;
  }

  /** Gives the leaves the gradients of a call, in the order of `gradients`. */
  replaceGradients(storages: readonly Storage[]): void {
    let i = 0;
    for (const [leaf, gradient] of this.#after) {
      if (gradient === null) leaf.replaceGradient(null);
      else {
        const fresh = new Tensor(Layout.rowMajor(leaf.dims), storages[i++]);
        retain(fresh.storage);
        leaf.replaceGradient(fresh);
      }
    }
  }

  /** Lets go of the gradients from before. */
  keep(): void {
    for (const [leaf, { storage, start }] of this.#gradients) {
      if (storage !== null) release(storage);
      this.#gradients.set(leaf, { before: null, storage: null, start });
    }
  }

  /** Undoes what the step did. */
  undo(): void {
    for (const { state, before } of this.#optimizers.values()) {
      for (const [p, tensors] of state) {
        tensors.clear();
        for (const [name, t] of before.get(p) ?? []) tensors.set(name, t);
      }
    }
    for (const [leaf, { before, storage }] of this.#gradients) {
      // The retained reference is that of the leaf.
      if (leaf.gradient !== before) leaf.replaceGradient(before);
      else if (storage !== null) release(storage);
    }
    generator.state = this.#random;
  }
}

/**
 * Prepares a training or inference step for repeated calls. On WebGPU the first call for each combination of input shapes
 * runs as usual, the second is captured, and from the third on its operations are submitted to the device in one batch,
 * without running the JavaScript of the layers; parameters and optimizer state stay on the device, and nothing is copied.
 * Element-wise operations that follow each other become one kernel. The results are the same as without `compile`, unless the
 * driver merges a multiplication with an addition in such a kernel, and so are the gradients that the step leaves. On other devices the step is called as usual. As
 * [torch.compile](https://docs.pytorch.org/docs/stable/generated/torch.compile.html), or CUDA graphs.
 *
 * ```ts
 * const step = compile((x, y) => {
 *   optimizer.zeroGrad();
 *   const loss = criterion.forward(model.forward(x), y);
 *   loss.backward();
 *   optimizer.step();
 *   return loss;
 * });
 * for (const [x, y] of loader) losses.push(await step(x, y).item());
 * ```
 *
 * With `zeroGrad()` at the end of the step instead no gradients are left, which saves their memory.
 *
 * Only the operations on the device are replayed: the step itself is not called. It is recorded anew, in one call, after a
 * change that is detected: `to(device)`, `train()` and `eval()`, `requiresGrad` of a parameter, a layer's weight or bias, a
 * hook; a new optimizer, its hyperparameters, its state. Values that are changed in place, as by `loadStateDict` of a model,
 * need no recording. Everything else that the step does on the host stays as it was recorded:
 *
 * - Numbers from outside, such as the factor of a loss: pass them as tensors, or let an optimizer have them.
 * - Branches on values of the host, also on a `training` that was assigned: compile a step for each of them.
 * - A variable, or a field of a module of your own, that gets another tensor or module: copy into the tensor, or compile again.
 * - Other effects, such as counters and `Math.random`: do them outside of the step.
 * - Tensors that the step keeps elsewhere, which are freed: return them.
 *
 * Random numbers that the device draws, as those of dropout and bernoulli, are other ones in every call, and the same as without
 * `compile`.
 *
 * Three kinds of steps run as usual, and a warning on the console says so. One draws random numbers on the host, as `rand` does:
 * draw them before, and pass them as inputs; the call that finds out runs the step twice. One gets more than eight combinations of shapes in turn,
 * and only eight captures are kept: pad batches to a few sizes, or drop the last one. One is changed before every call, as by
 * a learning rate: change it less often.
 *
 * @param step a synchronous function of tensors that returns a tensor or an array of tensors
 * @returns a function with the same inputs and results
 * @throws TapegradError from a call that cannot be recorded, with the reason: the step is asynchronous, reads a tensor,
 *   makes one from numbers of the host, or adds to gradients from before. Parameters, gradients and the state of optimizers
 *   are then as before the call
 */
export function compile<R extends Tensor | readonly Tensor[]>(step: (...inputs: Tensor[]) => R): CompiledStep<R> {
  if (typeof step !== 'function') fail('compile', `the step is ${describe(step)}`, 'pass a function of tensors');
  const known = new WeakMap<Backend, Map<string, Entry>>();
  let recordings = 0;
  let replays = 0;
  let evictions = 0;

  const entryOf = (backend: Backend, inputs: readonly Tensor[]): Entry => {
    const entries = known.get(backend) ?? new Map<string, Entry>();
    known.set(backend, entries);
    const key = [isGradEnabled(), ...inputs.map((x) => show(x.shape))].join();
    const entry = entries.get(key) ?? {
      calls: 0,
      row: 0,
      capture: null,
      observed: null,
      changes: 0,
      shapes: [],
      many: false,
      random: false,
    };
    // The map is in the order of use: the least recently used entry is the first, and is evicted.
    entries.delete(key);
    entries.set(key, entry);
    for (const [old, { capture }] of entries) {
      if (entries.size <= MOST_SHAPES) break;
      capture?.free();
      entries.delete(old);
      // A few evictions are those of a program that goes on to other shapes.
      if (++evictions >= MOST_SHAPES && evictions * MOST_SHAPES > replays) {
        const what = `compile runs eagerly: more than ${MOST_SHAPES} combinations of input shapes are used in turn`;
        warnOnce('shapes of compile', `${what}; pad the batches to a few sizes, or drop the last one`);
      }
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
    const observed = new Observed(backend);
    recording = true;
    try {
      entry.capture = backend.capture!(inputs.map(storageOf), (copies) => {
        const given = inputs.map((x, i) => new Tensor(Layout.rowMajor(x.dims), copies[i]));
        const { tensors, many } = checkResults(observed.during(() => step(...given)));
        if (observed.drew) fail('compile', 'the step draws random numbers', 'draw them before');
        entry.shapes = tensors.map((t) => t.dims);
        entry.many = many;
        return [...tensors, ...observed.gradients].map(storageOf);
      });
    } catch (error) {
      entry.random = observed.drew;
      observed.undo();
      if (!entry.random) throw error;
    } finally {
      recording = false;
    }
    if (entry.capture === null) {
      const remedy = 'to have it replayed, draw them before and pass them as inputs';
      warnOnce(
        'random numbers in compile',
        `compile runs a step eagerly, as it draws random numbers on the host; ${remedy}`,
      );
      return asIs(inputs);
    }
    observed.keep();
    recordings++;
    entry.row++;
    entry.observed = observed;
    entry.changes = changeCount();
    return asTensors(entry, entry.capture.results);
  };

  const call = (...inputs: Tensor[]): R => {
    const backend = checkInputs(inputs);
    if (backend.capture === undefined || recording) return asIs(inputs);
    const entry = entryOf(backend, inputs);
    if (entry.calls++ <= 0 || entry.random) return asIs(inputs);
    const { capture, observed, changes } = entry;
    if (capture === null || capture.broken || changes !== changeCount() || !observed!.valid) {
      if (entry.row < MOST_RECORDINGS) return record(backend, entry, inputs);
      capture?.free();
      Object.assign(entry, { calls: 2 - PAUSE, row: 0, capture: null });
      const why = 'as something that it does changes in every call, such as a learning rate or train() and eval()';
      warnOnce('recordings of compile', `compile runs a step eagerly, ${why}; change it less often`);
      return asIs(inputs);
    }
    entry.row = 0;
    replays++;
    observed!.draw();
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

/** The results of a call, from their storages and those of the gradients. */
function asTensors<R>({ shapes, many, observed }: Entry, storages: readonly Storage[]): R {
  observed!.replaceGradients(storages.slice(shapes.length));
  return together(
    shapes.map((shape, i) => new Tensor(Layout.rowMajor(shape), storages[i])),
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
