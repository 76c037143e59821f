import { newestId } from '../backends/storage.js';
import { describe, fail, show } from '../errors.js';
import { markEscaped, outside } from '../lifetime.js';
import { generator } from '../random.js';
import { sameShape } from '../shape.js';
import { Tensor } from '../tensor.js';
import { isGradEnabled, setRecording } from './mode.js';
import type { Node } from './node.js';
import { type Recorder, recorder, setRecorder, type ValueSource } from './recorder.js';

// Activation checkpointing, as torch.utils.checkpoint with use_reentrant=False. The first run records the steps as usual,
// but they keep no values. When backward needs the values of one of them, the function runs again, the steps of that
// second run are matched with those of the first by their order, and their values are moved to the first. So the graph is
// an ordinary one: captured parameters, second derivatives and leavesOf are no special cases.

/** The results that a checkpointed function may return. */
export type CheckpointResult = Tensor | readonly Tensor[] | readonly [Tensor, ...Tensor[]];

/**
 * Runs `fn` without keeping its activations: `backward` runs it a second time to recompute them. This saves memory and costs
 * time: a model of n layers in √n checkpoints needs the memory of about 2√n layers, and one more forward pass.
 *
 * Gradients are the same as without the checkpoint, for the inputs and for other tensors that `fn` uses, such as the
 * parameters of a module. The second run draws the same random numbers as the first, and restores the random stream after
 * it. Checkpoints may be nested. `createGraph` works. Inside `noGrad` the function runs as usual.
 *
 * `fn` must do the same operations in both runs. Its side effects, such as a counter or the running statistics of a
 * normalization, happen twice. It must not call `backward`.
 *
 * @param fn computes a tensor, or an array of tensors, of any shapes from the inputs; must be synchronous
 * @param inputs the arguments of `fn` in both runs; tensors and other values
 * @returns what `fn` returns
 * @throws TapegradError if `fn` is asynchronous or returns anything but tensors; from `backward`, if the second run differs
 *   from the first, or if a tensor that `fn` uses was changed in place in between
 * @see https://docs.pytorch.org/docs/stable/checkpoint.html
 * @example
 * ```ts
 * import { checkpoint, nn, randn } from 'tapegrad';
 *
 * const block = new nn.Sequential(new nn.Linear(8, 64), new nn.Tanh(), new nn.Linear(64, 8));
 * const y = checkpoint((x) => block.forward(x), randn([32, 8]));
 * y.sum().backward(); // runs the block again; then its parameters have gradients
 * ```
 */
export function checkpoint<A extends readonly unknown[], R extends CheckpointResult>(
  fn: (...inputs: A) => R,
  ...inputs: A
): R {
  if (typeof fn !== 'function')
    fail('checkpoint', `fn is ${describe(fn)}`, 'pass a function first: checkpoint((x) => block.forward(x), x)');
  if (!isGradEnabled()) return checkResult(fn(...inputs));
  if (recorder instanceof FirstRun) return checkResult(fn(...inputs));
  if (recorder instanceof SecondRun) return recorder.nested(fn, inputs);
  const segment = new Segment(fn, inputs, null);
  const before = setRecorder(new FirstRun(segment));
  try {
    return checkResult(fn(...inputs));
  } finally {
    setRecorder(before);
    segment.complete = true;
  }
}

/** Checks the result of a checkpointed function. */
function checkResult<R>(result: R): R {
  const op = 'checkpoint';
  if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function') {
    // The error below is enough; an unhandled rejection would end the process.
    (result as PromiseLike<unknown>).then(null, () => {});
    fail(
      op,
      'fn is asynchronous, and its steps cannot be distinguished from those of other code',
      'await its inputs first, and pass a function that returns a tensor',
    );
  }
  if (result instanceof Tensor) return result;
  const remedy = 'return a tensor or an array of tensors; compute other values outside of the checkpoint';
  if (!Array.isArray(result)) return fail(op, `fn returned ${describe(result)}`, remedy);
  if (result.length === 0) fail(op, 'fn returned an empty array', remedy);
  result.forEach((t: unknown, i) => {
    if (!(t instanceof Tensor)) fail(op, `element ${i} of the result of fn is ${describe(t)}`, remedy);
  });
  return result;
}

/** A step of the first run, with the versions of the inputs that existed before it; -1 for the others. */
interface Entry {
  readonly node: Node;
  readonly versions: readonly number[];
}

/** For a step of a second run, the step of the graph that corresponds to it. */
const originals = new WeakMap<Node, Node>();
/** The checkpoints whose values the running pass has computed. */
let opened = new Set<Segment>();

/** Called when a backward pass begins. @returns the argument of `closePass` */
export function openPass(): Set<Segment> {
  const before = opened;
  if (before.size > 0) opened = new Set();
  return before;
}

/** Called when a backward pass ends, also by an error: frees the recomputed values of steps that it did not visit. */
export function closePass(before: Set<Segment>): void {
  if (opened.size > 0) {
    for (const segment of opened) segment.close();
    opened.clear();
  }
  opened = before;
}

/** One call of `checkpoint`. */
class Segment implements ValueSource {
  readonly root: Segment;
  readonly entries: Entry[] = [];
  /** Whether the first run has ended. */
  complete = false;
  /** Storages made later were made by the first run. */
  readonly newest = newestId();
  readonly #random = generator.state;
  readonly #versions: readonly number[];

  constructor(
    readonly fn: (...inputs: never) => unknown,
    readonly inputs: readonly unknown[],
    /** The checkpoint in whose second run this one was called. */
    outer: Segment | null,
  ) {
    this.root = outer === null ? this : outer.root;
    this.#versions = inputs.map((t) => (t instanceof Tensor ? t.storage.version : 0));
  }

  recompute(): void {
    if (!this.complete)
      fail('checkpoint', 'fn calls backward', 'call backward outside of the checkpointed function, on its results');
    this.inputs.forEach((t, i) => {
      if (t instanceof Tensor && t.storage.version !== this.#versions[i]) changed(`input ${i} of fn`, t.dims);
    });
    const second = new SecondRun(this);
    const random = generator.state;
    const recording = setRecording(true);
    const watching = setRecorder(second);
    generator.state = this.#random;
    try {
      // fn may keep the tensors that it makes, so the pass, which frees its own, must not own them.
      outside(() => this.fn(...(this.inputs as never)));
      second.finish();
    } finally {
      generator.state = random;
      setRecorder(watching);
      setRecording(recording);
    }
    if (this.root === this) opened.add(this);
  }

  /** Drops the values of the last second run, also those of nested checkpoints. */
  close(): void {
    for (const { node } of this.entries) if (node.source !== null) node.forget();
  }
}

/** Records the steps, which keep no values. */
class FirstRun implements Recorder {
  constructor(readonly segment: Segment) {}

  note(node: Node, inputs: readonly Tensor[]): ValueSource {
    const { entries, newest } = this.segment;
    entries.push({ node, versions: inputs.map(({ storage }) => (storage.id > newest ? -1 : storage.version)) });
    return this.segment;
  }
}

/** Compares the steps with those of the first run. */
class SecondRun implements Recorder {
  #count = 0;
  /** The nested checkpoint that is running: its steps keep no values until backward needs them. */
  #inner: Segment | null = null;
  readonly #inners: Segment[] = [];
  readonly #pairs: [node: Node, copy: Node][] = [];

  constructor(readonly segment: Segment) {}

  note(copy: Node, inputs: readonly Tensor[]): ValueSource | null {
    const entry = this.segment.entries[this.#count++];
    if (entry === undefined) differs(`went on with ${nameOf(copy)}, where the first one had ended`, copy);
    const { node, versions } = entry;
    if (!alike(node, copy)) differs(`made step ${this.#count} ${nameOf(copy)}, the first one ${nameOf(node)}`, copy);
    versions.forEach((version, i) => {
      if (version >= 0 && inputs[i].storage.version !== version)
        changed(`input ${i} of ${node.rule.name}`, inputs[i].dims);
    });
    originals.set(copy, node);
    if (this.#inner !== null) {
      this.#inner.entries.push(entry);
      return this.#inner;
    }
    this.#pairs.push([node, copy]);
    return null;
  }

  /** Runs a nested checkpoint. */
  nested<A extends readonly unknown[], R extends CheckpointResult>(fn: (...inputs: A) => R, inputs: A): R {
    if (this.#inner !== null) return fn(...inputs);
    const inner = new Segment(fn, inputs, this.segment);
    this.#inner = inner;
    this.#inners.push(inner);
    try {
      return fn(...inputs);
    } finally {
      this.#inner = null;
      inner.complete = true;
    }
  }

  /** Moves the values into the graph of the first run. */
  finish(): void {
    const { entries } = this.segment;
    if (this.#count < entries.length)
      differs(`ended before ${nameOf(entries[this.#count].node)}, which the first one made`, entries[this.#count].node);
    const known = new Map<Tensor, Tensor>();
    const name = (t: Tensor): Tensor => {
      let own = known.get(t);
      if (own === undefined) {
        own = ownOf(t);
        known.set(t, own);
      }
      return own;
    };
    for (const [node, copy] of this.#pairs) if (node.source !== null) node.take(copy, name);
    for (const inner of this.#inners)
      for (const { node } of inner.entries) if (node.source !== null) node.source = inner;
  }
}

/** The tensor of the first run's graph for one of the second: the same numbers, from the step that corresponds to its own. */
function ownOf(t: Tensor): Tensor {
  // Saved values must outlive gradients that share their storage.
  markEscaped(t.storage);
  const node = t.node === null ? undefined : originals.get(t.node);
  if (node === undefined) return t;
  const own = new Tensor(t.layout, t.storage);
  own.node = node;
  own.hidden = t.hidden;
  return own;
}

function alike(a: Node, b: Node): boolean {
  return (
    a.rule.name === b.rule.name &&
    sameShape(a.outputShape, b.outputShape) &&
    a.shapes.length === b.shapes.length &&
    a.shapes.every((shape, i) => sameShape(shape, b.shapes[i]))
  );
}

const nameOf = (node: Node) => `${node.rule.name} of ${node.shapes.map(show).join(' and ')}`;

function differs(what: string, node: Node): never {
  fail(
    'checkpoint',
    `the second run of fn ${what}`,
    'let fn do the same in both runs: draw random numbers with rand or randn, and switch train() and eval() only after backward',
    { shapes: node.shapes },
  );
}

function changed(what: string, shape: readonly number[]): never {
  fail(
    'checkpoint',
    `${what}, shape ${show(shape)}, was changed in place after the first run of fn, so the second run would compute other values`,
    'call backward before optimizer.step(), loadStateDict() or nn.init, or run the forward pass again',
    { shapes: [shape] },
  );
}
