import { fail, show } from '../errors.js';
import { sameShape } from '../shape.js';
import type { Tensor } from '../tensor.js';

/** How an operation's gradient is made; every row of the op table yields one. */
export interface BackwardRule {
  readonly name: string;
  /** The gradients of the inputs, given that of the output; null where none is needed or there is none. */
  backward(gradient: Tensor, node: Node): (Tensor | null)[];
}

/** What a gradient flows to: the step that made an input, a leaf that wants its gradient, or nothing. */
export type Edge = Node | Tensor | null;

/** One recorded operation. */
export class Node {
  static #count = 0;
  /** Later steps have higher numbers, so that falling order visits a step after all that used its result. */
  readonly sequence = Node.#count++;
  /** The inputs' values that the rule needs. */
  #inputs: readonly Tensor[] | null;
  #output: Tensor | null;
  readonly #versions: readonly number[];
  #released = false;

  constructor(
    readonly rule: BackwardRule,
    readonly edges: readonly Edge[],
    readonly shapes: readonly (readonly number[])[],
    readonly outputShape: readonly number[],
    /** What else the rule needs to know. */
    readonly attributes: unknown,
    inputs: readonly Tensor[] | null,
    output: Tensor | null,
  ) {
    this.#inputs = inputs;
    this.#output = output;
    this.#versions = inputs === null ? [] : inputs.map((t) => t.raw.version);
  }

  /** Whether the gradient of input i is wanted. */
  needs(i: number): boolean {
    return this.edges[i] !== null;
  }

  /** The saved value of input i. */
  input(i: number): Tensor {
    return this.#inputs![i];
  }

  /** The saved result. */
  get output(): Tensor {
    return this.#output!;
  }

  /** Computes and checks the inputs' gradients. */
  run(gradient: Tensor): (Tensor | null)[] {
    const { name } = this.rule;
    if (this.#released) {
      fail(
        'backward',
        `the values saved by ${name} were released by an earlier backward`,
        'pass { retainGraph: true } to the first backward to go through the graph twice',
      );
    }
    this.#inputs?.forEach((t, i) => {
      if (t.raw.version !== this.#versions[i]) {
        fail(
          'backward',
          `input ${i} of ${name}, shape ${show(t.shape)}, was changed in place after the forward pass`,
          'call backward before optimizer.step() or loadStateDict(), or run the forward pass again',
          { shapes: [t.shape] },
        );
      }
    });
    const gradients = this.rule.backward(gradient, this);
    gradients.forEach((g, i) => {
      if (g !== null && !sameShape(g.shape, this.shapes[i])) {
        fail(
          'backward',
          `${name} gave a gradient of shape ${show(g.shape)} for input ${i} of shape ${show(this.shapes[i])}`,
          'this is a defect of tapegrad: please report it',
          { shapes: [g.shape, this.shapes[i]] },
        );
      }
    });
    return gradients;
  }

  /** Lets go of the saved values. */
  release(): void {
    this.#released = true;
    this.#inputs = null;
    this.#output = null;
  }
}
