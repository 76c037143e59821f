import { checkOptions, fail, show } from '../errors.js';
import { sameShape } from '../shape.js';
import { nextBirth as birth } from '../backends/backend.js';
import { drop, hold, isOwn, show as keep, sweepOut, within } from '../lifetime.js';
import { Tensor } from '../tensor.js';
import { withGrad } from './mode.js';
import { type Edge, Node } from './node.js';

export interface BackwardOptions {
  /** Keep the saved values, so that backward can go through the graph again. Default: the value of createGraph. */
  retainGraph?: boolean;
  /** Record the backward pass itself, so that gradients of gradients can be taken. Default false. */
  createGraph?: boolean;
}

/** Runs the tape from `root` and adds the gradients to the leaves; see Tensor.backward. */
export function backward(root: Tensor, gradient: Tensor | undefined, options: BackwardOptions = {}): void {
  checkOptions('backward', options, ['retainGraph', 'createGraph']);
  const { createGraph = false, retainGraph = createGraph } = options;
  if (!root.requiresGrad) {
    fail(
      'backward',
      `this tensor of shape ${show(root.shape)} does not require a gradient`,
      'make a leaf with requiresGrad: true and compute the tensor from it, outside noGrad',
    );
  }
  withGrad(createGraph, () => {
    if (createGraph) return sweep(root, checkSeed(root, gradient, true), retainGraph, true);
    return within(birth(), () => sweep(root, checkSeed(root, gradient, false), retainGraph, false));
  });
}

/** Visits the reachable steps in falling order, and adds what reached the leaves to their gradients. */
function sweep(root: Tensor, seed: Tensor, retainGraph: boolean, createGraph: boolean): void {
  const gradients = new Map<Node, Tensor>();
  const leaves = new Map<Tensor, Tensor>();
  const send = (edge: Edge, g: Tensor): void => {
    const into: Map<unknown, Tensor> = edge instanceof Node ? gradients : leaves;
    const before = into.get(edge);
    const sum = before === undefined ? g : before.add(g);
    if (createGraph || !isOwn(sum.raw)) keep(sum.raw);
    hold(sum.raw);
    into.set(edge, sum);
    if (before !== undefined) drop(before.raw);
  };
  send(root.node ?? root, seed);
  const order = root.node === null ? [] : reachable(root.node);
  for (const node of order) {
    const g = gradients.get(node);
    if (g === undefined) continue;
    gradients.delete(node);
    const inputs = node.run(g, createGraph);
    const { edges } = node;
    for (let i = 0; i < edges.length; i++) {
      const edge = edges[i];
      const gi = inputs[i];
      if (edge !== null && gi != null) send(edge, gi);
    }
    drop(g.raw);
    if (!createGraph) sweepOut();
  }
  // Nothing is written to the leaves before the whole pass has succeeded.
  for (const [leaf, g] of leaves) {
    if (leaf.gradient === null) leaf.replaceGradient(g);
    else {
      const sum = leaf.gradient.add(g);
      if (createGraph) keep(sum.raw);
      hold(sum.raw);
      drop(g.raw);
      leaf.replaceGradient(sum);
    }
  }
  if (!retainGraph) for (const node of order) node.release();
}

function reachable(root: Node): Node[] {
  const seen = new Set<Node>([root]);
  const stack = [root];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    for (const edge of node.edges) {
      if (edge instanceof Node && !seen.has(edge)) {
        seen.add(edge);
        stack.push(edge);
      }
    }
  }
  return [...seen].sort((a, b) => b.sequence - a.sequence);
}

function checkSeed(root: Tensor, gradient: Tensor | undefined, createGraph: boolean): Tensor {
  if (gradient === undefined) {
    if (root.size !== 1) {
      fail(
        'backward',
        `a tensor of shape ${show(root.shape)} is no scalar`,
        'pass the gradient of the loss with respect to it, or reduce it first with sum() or mean()',
        { shapes: [root.shape] },
      );
    }
    return new Tensor(root.shape, root.backend.fill(1, 1));
  }
  if (!(gradient instanceof Tensor)) fail('backward', 'the gradient is no tensor', 'pass a tensor of the same shape');
  if (!sameShape(gradient.shape, root.shape)) {
    fail(
      'backward',
      `the gradient has shape ${show(gradient.shape)}, the tensor ${show(root.shape)}`,
      'pass a gradient of the same shape',
      { shapes: [gradient.shape, root.shape] },
    );
  }
  if (gradient.backend !== root.backend) {
    fail(
      'backward',
      `the gradient is on '${gradient.device}', the tensor on '${root.device}'`,
      `move it with .to('${root.device}')`,
    );
  }
  return createGraph ? gradient : gradient.detach();
}
