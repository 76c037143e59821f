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
  /** Later steps have higher numbers, so that descending order visits a step after all that used its result. */
  readonly sequence = Node.#count++;
  /** The gradient that has reached this step in the running pass. */
  pending: Tensor | null = null;
  /** The last pass that came by. */
  visit = 0;
  /** The inputs' values that the rule needs. */
  #inputs: readonly Tensor[] | null;
  #output: Tensor | null;
  readonly #versions: readonly number[] | null;
  readonly #outputVersion: number;
  readonly #shapes: readonly (readonly number[])[];
  #released = false;

  constructor(
    readonly rule: BackwardRule,
    readonly edges: readonly Edge[],
    inputs: readonly Tensor[],
    readonly outputShape: readonly number[],
    /** What else the rule needs to know. */
    readonly attributes: unknown,
    keepsInputs: boolean,
    output: Tensor | null,
  ) {
    const n = inputs.length;
    const shapes = new Array<readonly number[]>(n);
    for (let i = 0; i < n; i++) shapes[i] = inputs[i].dims;
    this.#shapes = shapes;
    this.#inputs = null;
    this.#versions = null;
    this.#output = output;
    this.#outputVersion = output === null ? 0 : output.storage.version;
    if (keepsInputs) {
      const versions = new Array<number>(n);
      for (let i = 0; i < n; i++) versions[i] = inputs[i].storage.version;
      this.#inputs = inputs;
      this.#versions = versions;
    }
  }

  /** The shapes of the inputs. */
  get shapes(): readonly (readonly number[])[] {
    return this.#shapes;
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
  run(gradient: Tensor, createGraph: boolean): (Tensor | null)[] {
    const { name } = this.rule;
    if (this.#released) {
      fail(
        'backward',
        `the values saved by ${name} were released by an earlier backward`,
        'pass { retainGraph: true } to the first backward to go through the graph twice',
      );
    }
    const saved = this.#inputs;
    if (saved !== null) {
      for (let i = 0; i < saved.length; i++)
        if (saved[i].storage.version !== this.#versions![i]) this.#changed(saved[i], `input ${i}`);
    }
    const result = this.#output;
    if (result !== null && result.storage.version !== this.#outputVersion) this.#changed(result, 'the result');
    if (createGraph) {
      // The gradient's own graph will hold what this one saved.
      if (saved !== null) for (const t of saved) t.hidden = false;
      if (result !== null) result.hidden = false;
    }
    const gradients = this.rule.backward(gradient, this);
    for (let i = 0; i < gradients.length; i++) {
      const g = gradients[i];
      if (g !== null && !sameShape(g.dims, this.shapes[i])) {
        fail(
          'backward',
          `${name} gave a gradient of shape ${show(g.dims)} for input ${i} of shape ${show(this.shapes[i])}`,
          'this is a defect of tapegrad: please report it',
          { shapes: [g.dims, this.shapes[i]] },
        );
      }
    }
    return gradients;
  }

  #changed(t: Tensor, what: string): never {
    fail(
      'backward',
      `${what} of ${this.rule.name}, shape ${show(t.dims)}, was changed in place after the forward pass`,
      'call backward before optimizer.step(), loadStateDict() or nn.init, or run the forward pass again',
      { shapes: [t.dims] },
    );
  }

  /**
   * Lets go of the saved values, and frees those that nobody else can see. A step that saved nothing can be gone through
   * again: a transpose made once serves in every training step, as in PyTorch.
   */
  release(): void {
    if (this.#inputs === null && this.#output === null) return;
    this.#released = true;
    if (this.#inputs !== null) for (const t of this.#inputs) if (t.hidden) t.backend.free(t.storage);
    if (this.#output?.hidden) this.#output.backend.free(this.#output.storage);
    this.#inputs = null;
    this.#output = null;
  }
}
