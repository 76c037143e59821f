import { newestId } from '../backends/storage.js';
import { describe, fail, show } from '../errors.js';
import { markEscaped, outside } from '../lifetime.js';
import { generator } from '../random.js';
import { sameShape } from '../shape.js';
import { Tensor } from '../tensor.js';
import { isGradEnabled, setRecording } from './mode.js';
import type { Node } from './node.js';
import { type Recorder, recorder, setRecorder, type ValueSource } from './recorder.js';

// Activation checkpointing, as torch.utils.checkpoint with use_reentrant=False. The first run records the steps as ever,
// but they keep no values. When backward needs the values of one of them, the function runs again, the steps of that
// second run are matched with those of the first by their order, and their values move over. So the graph is an ordinary
// graph: parameters that the function captured, second derivatives and leavesOf need no care of their own.

/** What a checkpointed function may give. */
export type CheckpointResult = Tensor | readonly Tensor[] | readonly [Tensor, ...Tensor[]];

/**
 * Runs `fn` without keeping its activations: `backward` runs it a second time to compute them again. Memory for time: a
 * model of n layers in √n checkpoints needs the memory of about 2√n layers, and one forward pass more.
 *
 * Gradients are those without the checkpoint: they reach the inputs and whatever `fn` uses besides, such as the parameters
 * of a module. The second run draws the same random numbers as the first, and leaves the stream as it found it. Checkpoints
 * may be nested. `createGraph` works. Inside `noGrad` the function just runs.
 *
 * `fn` runs twice, so it must do the same twice: what it changes besides, such as a counter or the running statistics of a
 * normalization, is changed twice. It must not call `backward` itself.
 *
 * @param fn takes the inputs and gives a tensor or an array of tensors of any shapes; not async
 * @param inputs what `fn` is called with, both times; tensors and other values
 * @returns what `fn` returns
 * @throws TapegradError if `fn` is async or gives anything but tensors; from `backward`, if the second run does something
 *   else than the first, or if a tensor that `fn` uses was changed in place in between
 * @see https://docs.pytorch.org/docs/stable/checkpoint.html
 * @example
 * ```ts
 * import { checkpoint, nn, randn } from 'tapegrad';
 *
 * const block = new nn.Sequential(new nn.Linear(8, 64), new nn.Tanh(), new nn.Linear(64, 8));
 * const y = checkpoint((x) => block.forward(x), randn([32, 8]));
 * y.sum().backward(); // runs the block again; its parameters have their gradients then
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

/** Requires what a checkpointed function may give. */
function checkResult<R>(result: R): R {
  const op = 'checkpoint';
  if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function') {
    // The refusal is the news; a rejection that nobody awaits would end the process.
    (result as PromiseLike<unknown>).then(null, () => {});
    fail(
      op,
      'fn is asynchronous, and its steps could not be told from those of others',
      'await what it needs first, and pass a function that gives a tensor at once',
    );
  }
  if (result instanceof Tensor) return result;
  const remedy = 'return a tensor or an array of tensors; compute other values outside of the checkpoint';
  if (!Array.isArray(result)) return fail(op, `fn gave ${describe(result)}`, remedy);
  if (result.length === 0) fail(op, 'fn gave an empty array', remedy);
  result.forEach((t: unknown, i) => {
    if (!(t instanceof Tensor)) fail(op, `element ${i} of what fn gave is ${describe(t)}`, remedy);
  });
  return result;
}

/** A step of the first run, with the versions of those inputs that were there before it; -1 for the others. */
interface Entry {
  readonly node: Node;
  readonly versions: readonly number[];
}

/** The step of the graph that a step of a second run stands for. */
const originals = new WeakMap<Node, Node>();
/** The checkpoints whose values the running pass has computed. */
let opened = new Set<Segment>();

/** Called when a backward pass begins. @returns what `closePass` needs */
export function openPass(): Set<Segment> {
  const before = opened;
  if (before.size > 0) opened = new Set();
  return before;
}

/** Called when a backward pass ends, in whatever way: lets go of what it computed for steps that it did not visit. */
export function closePass(before: Set<Segment>): void {
  for (const segment of opened) segment.close();
  opened.clear();
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
    /** The checkpoint in whose second run this one was met. */
    outer: Segment | null,
  ) {
    this.root = outer === null ? this : outer.root;
    this.#versions = inputs.map((t) => (t instanceof Tensor ? t.storage.version : 0));
  }

  recompute(): void {
    if (!this.complete)
      fail('checkpoint', 'fn calls backward', 'call backward outside of the checkpointed function, on what it gives');
    this.inputs.forEach((t, i) => {
      if (t instanceof Tensor && t.storage.version !== this.#versions[i]) changed(`input ${i} of fn`, t.dims);
    });
    const second = new SecondRun(this);
    const random = generator.state;
    const recording = setRecording(true);
    const watching = setRecorder(second);
    generator.state = this.#random;
    try {
      // fn may keep what it makes, so none of it belongs to the pass, which frees its own.
      outside(() => this.fn(...(this.inputs as never)));
      second.finish();
    } finally {
      generator.state = random;
      setRecorder(watching);
      setRecording(recording);
    }
    if (this.root === this) opened.add(this);
  }

  /** Forgets what the last second run gave, that of checkpoints inside included. */
  close(): void {
    for (const { node } of this.entries) if (node.source !== null) node.forget();
  }
}

/** Notes the steps, which keep nothing. */
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
  /** The checkpoint inside that is running: its steps stay empty until they are asked for. */
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

  /** Runs a checkpoint that lies in this one. */
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

/** The tensor of the first run's graph for one of the second: the same numbers, from the step that stands for its own. */
function ownOf(t: Tensor): Tensor {
  // Saved values shall outlive gradients that share their storage.
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
    `${what}, shape ${show(shape)}, was changed in place after the first run of fn, and the second run would give other numbers`,
    'call backward before optimizer.step(), loadStateDict() or nn.init, or run the forward pass again',
    { shapes: [shape] },
  );
}
