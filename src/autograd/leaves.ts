import type { Tensor } from '../tensor.js';
import { Node } from './node.js';

/** The leaves that would get a gradient from `backward` of a tensor. */
export function leavesOf(root: Tensor): Set<Tensor> {
  const leaves = new Set<Tensor>();
  if (root.node === null) return root.requiresGrad ? leaves.add(root) : leaves;
  const found = new Set<Node>([root.node]);
  // Iteration over a Set includes elements that are added during it.
  for (const node of found) {
    for (const edge of node.edges) {
      if (edge instanceof Node) found.add(edge);
      else if (edge !== null) leaves.add(edge);
    }
  }
  return leaves;
}
