import { fail, show } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { type Detector, setDetector } from './detector.js';
import type { Node } from './node.js';
import { checkFunction, Scope } from './scope.js';

// As torch.autograd.detect_anomaly. Outside of it an operation only tests a flag.

interface Trace {
  /** Where the operation was called. */
  readonly call: Error;
  /** The kind of the non-finite values in the forward result; null if all are finite. */
  readonly forward: 'NaN' | 'Infinity' | null;
}

const scope = new Scope('detectAnomaly');
const traces = new WeakMap<Node, Trace>();
/** The number of stack frames recorded: the user's call is above the frames of the library. */
const FRAMES = 30;

/**
 * Runs `fn` and detects NaN: every recorded operation records its call stack, and `backward` throws at the first operation
 * whose gradient is NaN, or if the loss itself is NaN. The error's `cause` has the stack of the forward call. Slow: for
 * debugging, not for training. As
 * [torch.autograd.detect_anomaly](https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.detect_anomaly).
 *
 * @param fn runs the forward and the backward pass; may be asynchronous in Node
 * @returns what `fn` returns
 * @throws TapegradError for NaN, and on devices that the host can only read asynchronously
 * @example
 * detectAnomaly(() => model.forward(x).log().sum().backward());
 */
export function detectAnomaly<T>(fn: () => T): T {
  checkFunction('detectAnomaly', fn, 'detectAnomaly(() => loss().backward())');
  setDetector(detector);
  return scope.run(fn);
}

const detector: Detector = {
  get active() {
    return scope.active;
  },
  trace,
  checkRoot,
  checkGradients,
};

/** Records the call stack of an operation, and whether its result is finite. */
function trace(node: Node, out: Tensor): void {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = FRAMES;
  const call = new Error(`the forward call of ${node.rule.name}, shapes ${shapesOf(node)}`);
  Error.stackTraceLimit = before;
  traces.set(node, { call, forward: nonFinite(out) });
}

/** Throws for a loss that is NaN, and names the first operation that produced NaN. `order` is the reverse order of execution. */
function checkRoot(root: Tensor, order: readonly Node[]): void {
  if (nonFinite(root) !== 'NaN') return;
  const node = order.findLast((n) => traces.get(n)?.forward === 'NaN');
  fail(
    'backward',
    node === undefined
      ? `the tensor of shape ${show(root.dims)} is NaN, and so are inputs, or results of operations that were not recorded`
      : `the forward of ${node.rule.name}, shapes ${shapesOf(node)}, was the first to produce NaN`,
    node === undefined
      ? 'check the inputs, and run the forward pass inside detectAnomaly as well'
      : "look at the inputs of that call, whose stack is in the error's cause",
    { shapes: node?.shapes, cause: node && traces.get(node)?.call },
  );
}

/** Throws for gradients of `node` that are NaN. */
function checkGradients(node: Node, gradients: readonly (Tensor | null)[], order: readonly Node[]): void {
  const wrong = gradients.findIndex((g, i) => g != null && node.edges[i] !== null && nonFinite(g) === 'NaN');
  if (wrong < 0) return;
  const source = order.findLast((n) => (traces.get(n)?.forward ?? null) !== null);
  const hint =
    source === undefined
      ? ''
      : `; the forward of ${source.rule.name}, shapes ${shapesOf(source)}, produced ${traces.get(source)?.forward}`;
  fail(
    'backward',
    `the backward of ${node.rule.name} produced NaN for input ${wrong} of its shapes ${shapesOf(node)}${hint}`,
    traces.has(node)
      ? "look at the inputs of that call, whose stack is in the error's cause"
      : 'run the forward pass inside detectAnomaly as well, to record where it was called',
    { shapes: node.shapes, cause: traces.get(node)?.call },
  );
}

const shapesOf = (node: Node) => node.shapes.map(show).join(' ');

/** The kind of the non-finite values of a tensor: NaN if there is one, else Infinity, else null. */
function nonFinite(t: Tensor): 'NaN' | 'Infinity' | null {
  if (t.backend.readSync === undefined) {
    fail(
      'detectAnomaly',
      `the tensor of shape ${show(t.dims)} is on '${t.device}', which the host can only read asynchronously`,
      "run the same program with await useDevice('cpu')",
    );
  }
  const values = t.peek()!;
  let infinite = false;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) return 'NaN';
    if (!Number.isFinite(values[i])) infinite = true;
  }
  return infinite ? 'Infinity' : null;
}
