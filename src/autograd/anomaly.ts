import { fail, show } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { type Detector, setDetector } from './detector.js';
import type { Node } from './node.js';
import { checkFunction, Scope } from './scope.js';

// As torch.autograd.detect_anomaly. Outside, an operation only looks whether somebody is inside.

interface Trace {
  /** Where the operation was called. */
  readonly call: Error;
  /** What the forward pass gave that is not finite, if anything. */
  readonly forward: 'NaN' | 'Infinity' | null;
}

const scope = new Scope('detectAnomaly');
const traces = new WeakMap<Node, Trace>();
/** The calls are looked for among frames of the library and of the user. */
const FRAMES = 30;

/**
 * Runs `fn` and looks for NaN: inside, every recorded operation notes where it was called, and `backward` throws at the
 * first operation whose gradient is NaN, or if the loss itself is. The error's `cause` holds the stack of the forward
 * call. Slow: to find a defect with, not to train in. As torch.autograd.detect_anomaly.
 *
 * @param fn runs forward and backward; may be async in Node
 * @returns what `fn` returns
 * @throws TapegradError on devices that the host can only await
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

/** Notes where a step was recorded and what it gave. */
function trace(node: Node, out: Tensor): void {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = FRAMES;
  const call = new Error(`the forward call of ${node.rule.name}, shapes ${shapesOf(node)}`);
  Error.stackTraceLimit = before;
  traces.set(node, { call, forward: strange(out) });
}

/** Refuses a loss that is NaN, and names the first step that made NaN. `order` has the last step first. */
function checkRoot(root: Tensor, order: readonly Node[]): void {
  if (strange(root) !== 'NaN') return;
  const node = order.findLast((n) => traces.get(n)?.forward === 'NaN');
  fail(
    'backward',
    node === undefined
      ? `the tensor of shape ${show(root.dims)} is NaN, and so are numbers that no recorded operation made`
      : `the forward of ${node.rule.name}, shapes ${shapesOf(node)}, gave NaN first`,
    node === undefined
      ? 'look at the inputs, and run the forward pass inside detectAnomaly as well'
      : "look at the inputs of that call, whose stack is in the error's cause",
    { shapes: node?.shapes, cause: node && traces.get(node)?.call },
  );
}

/** Refuses gradients that are NaN; `node` made them. */
function checkGradients(node: Node, gradients: readonly (Tensor | null)[], order: readonly Node[]): void {
  const wrong = gradients.findIndex((g, i) => g != null && node.edges[i] !== null && strange(g) === 'NaN');
  if (wrong < 0) return;
  const source = order.findLast((n) => (traces.get(n)?.forward ?? null) !== null);
  const hint =
    source === undefined
      ? ''
      : `; the forward of ${source.rule.name}, shapes ${shapesOf(source)}, gave ${traces.get(source)?.forward}`;
  fail(
    'backward',
    `the backward of ${node.rule.name} gave NaN for input ${wrong} of its shapes ${shapesOf(node)}${hint}`,
    traces.has(node)
      ? "look at the inputs of that call, whose stack is in the error's cause"
      : 'run the forward pass inside detectAnomaly as well, to learn where it was called',
    { shapes: node.shapes, cause: traces.get(node)?.call },
  );
}

const shapesOf = (node: Node) => node.shapes.map(show).join(' ');

/** What a tensor holds that is not finite: NaN if there is one, else Infinity, else null. */
function strange(t: Tensor): 'NaN' | 'Infinity' | null {
  if (t.backend.readSync === undefined) {
    fail(
      'detectAnomaly',
      `the tensor of shape ${show(t.dims)} is on '${t.device}', whose numbers the host can only await`,
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
