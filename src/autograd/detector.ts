import type { Tensor } from '../tensor.js';
import type { Node } from './node.js';

/** Looks for NaN while a graph is built and gone through. */
export interface Detector {
  /** Whether it looks, here and now. */
  readonly active: boolean;
  /** Notes where a step was recorded and what it gave. */
  trace(node: Node, out: Tensor): void;
  /** Refuses a loss that is NaN, and names the first step that gave NaN. `order` has the last step first. */
  checkRoot(root: Tensor, order: readonly Node[]): void;
  /** Refuses gradients that are NaN; `node` computed them. */
  checkGradients(node: Node, gradients: readonly (Tensor | null)[], order: readonly Node[]): void;
}

/** The detector, once detectAnomaly has been called: programs without it need not load it. */
let detector: Detector | null = null;

export function setDetector(next: Detector): void {
  detector = next;
}

/** The detector, if it looks here and now. */
export function activeDetector(): Detector | null {
  return detector?.active ? detector : null;
}
