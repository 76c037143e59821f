import type { Tensor } from '../tensor.js';
import { Node } from './node.js';

/** The leaves to which `backward` of a tensor would bring a gradient. */
export function leavesOf(root: Tensor): Set<Tensor> {
  const leaves = new Set<Tensor>();
  if (root.node === null) return root.requiresGrad ? leaves.add(root) : leaves;
  const found = new Set<Node>([root.node]);
  // A Set is walked in the order of insertion, what is added on the way included.
  for (const node of found) {
    for (const edge of node.edges) {
      if (edge instanceof Node) found.add(edge);
      else if (edge !== null) leaves.add(edge);
    }
  }
  return leaves;
}
