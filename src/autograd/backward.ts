import { checkOptions, describe, fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { collect, isOwn, markEscaped, release, retain, scope } from '../lifetime.js';
import { checkGradient, denseCopy, Tensor } from '../tensor.js';
import { closePass, openPass } from './checkpoint.js';
import { activeDetector } from './detector.js';
import { setRecording } from './mode.js';
import { Node } from './node.js';

/** Options of `Tensor.backward`. */
export interface BackwardOptions {
  /** Whether to keep the saved values, so that backward can run through the graph again. Default: the value of createGraph. */
  retainGraph?: boolean;
  /** Whether to record the backward pass itself, for gradients of gradients. Default false. */
  createGraph?: boolean;
}

/**
 * Runs the tape backward from `root` and adds the gradients to the leaves; see Tensor.backward.
 * @param root the tensor to differentiate, usually a scalar loss
 * @param gradient the gradient with respect to `root`, of its shape; 1 if undefined
 * @param options `retainGraph` and `createGraph`
 * @throws TapegradError if root does not require a gradient, for a gradient of another shape or device, and for saved values
 *   that were freed or changed
 */
export function backward(root: Tensor, gradient: Tensor | undefined, options: BackwardOptions = {}): void {
  checkOptions('backward', options, ['retainGraph', 'createGraph']);
  const { createGraph = false, retainGraph = createGraph } = options;
  if (!root.requiresGrad) {
    fail(
      'backward',
      `this tensor of shape ${show(root.dims)} does not require a gradient`,
      'make a leaf with requiresGrad: true and compute the tensor from it, outside noGrad',
    );
  }
  const before = setRecording(createGraph);
  const around = openPass();
  try {
    if (createGraph) sweep(root, checkSeed(root, gradient, true), retainGraph, true);
    else scope(() => sweep(root, checkSeed(root, gradient, false), retainGraph, false));
  } finally {
    closePass(around);
    setRecording(before);
  }
}

/** Visits the reachable steps in descending order, and adds the gradients that were computed for leaves to those they have. */
function sweep(root: Tensor, seed: Tensor, retainGraph: boolean, createGraph: boolean): void {
  const leaves: Tensor[] = [];
  const order = root.node === null ? [] : reachable(root.node);
  const detector = activeDetector();
  detector?.checkRoot(root, order);
  try {
    send(root.node ?? root, seed, leaves, createGraph);
    for (let n = 0; n < order.length; n++) {
      const node = order[n];
      const g = node.pending;
      if (g === null) continue;
      node.pending = null;
      const gradients = node.run(g, createGraph);
      detector?.checkGradients(node, gradients, order);
      const { edges } = node;
      for (let i = 0; i < edges.length; i++) {
        const edge = edges[i];
        const gi = gradients[i];
        if (edge !== null && gi != null) send(edge, gi, leaves, createGraph);
      }
      release(g.storage);
      if (!createGraph) collect();
    }
    // Nothing is written to the leaves before the whole pass has succeeded.
    settle(leaves, createGraph);
  } catch (error) {
    for (const node of order) node.pending = null;
    for (const leaf of leaves) leaf.pending = null;
    throw error;
  }
  if (!retainGraph) for (const node of order) node.release();
}

/** Adds a gradient to the pending one of a node or a leaf. */
function send(edge: Node | Tensor, g: Tensor, leaves: Tensor[], createGraph: boolean): void {
  const before = edge.pending;
  if (before === null && edge instanceof Tensor) leaves.push(edge);
  const sum = before === null ? g : before.add(g);
  if (createGraph || !isOwn(sum.storage)) markEscaped(sum.storage);
  retain(sum.storage);
  edge.pending = sum;
  if (before !== null) release(before.storage);
}

/** The gradient of a leaf with the pending one added; it has a storage of its own, in row-major order. */
function settled(leaf: Tensor, createGraph: boolean): Tensor {
  const g = leaf.pending!;
  if (leaf.gradient === null && !createGraph && g.layout.dense && g.storage.references === 1) return g;
  if (leaf.gradient === null && !createGraph) return denseCopy(g);
  const gradient = leaf.gradient === null ? g.clone() : leaf.gradient.add(g);
  if (createGraph) markEscaped(gradient.storage);
  return gradient;
}

/** Puts the gradients into the leaves: into all of them or, after an error, into none. */
function settle(leaves: readonly Tensor[], createGraph: boolean): void {
  const gradients = leaves.map((leaf) => {
    const gradient = settled(leaf, createGraph);
    retain(gradient.storage);
    return gradient;
  });
  for (let i = 0; i < leaves.length; i++) {
    const leaf = leaves[i];
    release(leaf.pending!.storage);
    leaf.pending = null;
    leaf.replaceGradient(gradients[i]);
  }
}

let passes = 0;

/** The steps from which `root` was computed, in reverse order. */
function reachable(root: Node): Node[] {
  const pass = ++passes;
  const found = [root];
  root.visit = pass;
  // In a chain of steps each one is found after the one that used it.
  let sorted = true;
  for (let n = 0; n < found.length; n++) {
    const { edges } = found[n];
    for (let i = 0; i < edges.length; i++) {
      const edge = edges[i];
      if (edge instanceof Node && edge.visit !== pass) {
        edge.visit = pass;
        if (edge.sequence > found[found.length - 1].sequence) sorted = false;
        found.push(edge);
      }
    }
  }
  return sorted ? found : found.sort((a, b) => b.sequence - a.sequence);
}

function checkSeed(root: Tensor, gradient: Tensor | undefined, createGraph: boolean): Tensor {
  if (gradient === undefined) {
    if (root.size !== 1) {
      fail(
        'backward',
        `a tensor of shape ${show(root.dims)} is not a scalar`,
        'pass the gradient of the loss with respect to it, or reduce it first with sum() or mean()',
        { shapes: [root.dims] },
      );
    }
    return new Tensor(Layout.rowMajor(root.dims), root.backend.fill(1, 1));
  }
  if (!(gradient instanceof Tensor)) {
    fail(
      'backward',
      `the gradient is ${describe(gradient)}`,
      'pass a tensor of the same shape; options come second: backward(undefined, { … })',
    );
  }
  checkGradient('backward', root, gradient);
  return createGraph ? gradient : gradient.detach();
}
