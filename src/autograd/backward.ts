import { checkOptions, fail, show } from '../errors.js';
import { sameShape } from '../shape.js';
import { Tensor } from '../tensor.js';
import { withGrad } from './mode.js';
import { Node } from './node.js';

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
  const seed = checkSeed(root, gradient, createGraph);
  withGrad(createGraph, () => {
    // Nothing is written to the leaves before the whole pass has succeeded.
    for (const [leaf, g] of sweep(root, seed, retainGraph)) leaf.grad = leaf.grad === null ? g : leaf.grad.add(g);
  });
}

/** Visits the reachable steps in falling order and returns the sum that reached each leaf. */
function sweep(root: Tensor, seed: Tensor, retainGraph: boolean): Map<Tensor, Tensor> {
  const gradients = new Map<Node | Tensor, Tensor>();
  const leaves = new Map<Tensor, Tensor>();
  const send = (edge: Node | Tensor, g: Tensor): void => {
    const into = edge instanceof Node ? gradients : leaves;
    const before = into.get(edge as Tensor);
    into.set(edge as Tensor, before === undefined ? g : before.add(g));
  };
  send(root.node ?? root, seed);
  const order = root.node === null ? [] : reachable(root.node);
  for (const node of order) {
    const g = gradients.get(node);
    if (g === undefined) continue;
    gradients.delete(node);
    const inputs = node.run(g);
    node.edges.forEach((edge, i) => {
      const gi = inputs[i];
      if (edge !== null && gi != null) send(edge, gi);
    });
  }
  if (!retainGraph) for (const node of order) node.release();
  return leaves;
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
