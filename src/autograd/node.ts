import { fail, show } from '../errors.js';
import { sameShape } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { holdValue, letGo, recorder, type ValueSource } from './recorder.js';

/** The rule for the gradient of an operation; every row of the op table has one. */
export interface BackwardRule {
  readonly name: string;
  /** The gradients of the inputs, given that of the output; null where none is needed or none exists. */
  backward(gradient: Tensor, node: Node): (Tensor | null)[];
}

/** The target of a gradient: the step that computed an input, a leaf that requires a gradient, or null. */
export type Edge = Node | Tensor | null;

/** One recorded operation. */
export class Node {
  static #count = 0;
  /** Later steps have higher numbers, so that descending order visits a step after all that used its result. */
  readonly sequence = Node.#count++;
  /** The gradient accumulated so far in the running pass. */
  pending: Tensor | null = null;
  /** The last pass that visited this step. */
  visit = 0;
  /** The checkpoint that recomputes the values, if one did not keep them. */
  source: ValueSource | null = null;
  /** The inputs' values that the rule needs. */
  #inputs: readonly Tensor[] | null;
  #output: Tensor | null;
  #versions: readonly number[] | null;
  #outputVersion: number;
  readonly #shapes: readonly (readonly number[])[];
  #released = false;

  constructor(
    readonly rule: BackwardRule,
    readonly edges: readonly Edge[],
    inputs: readonly Tensor[],
    readonly outputShape: readonly number[],
    /** The attributes of the call, for the rule. */
    readonly attributes: unknown,
    keepsInputs: boolean,
    output: Tensor | null,
    saves = keepsInputs || output !== null,
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
    if (recorder !== null) {
      const source = recorder.note(this, inputs);
      if (source !== null && saves) {
        this.source = source;
        this.#inputs = null;
        this.#versions = null;
        this.#output = null;
      }
    }
  }

  /** The shapes of the inputs. */
  get shapes(): readonly (readonly number[])[] {
    return this.#shapes;
  }

  /** Whether input i needs a gradient. */
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
        'pass { retainGraph: true } to the first backward to run through the graph twice',
      );
    }
    this.restore();
    const saved = this.#inputs;
    if (saved !== null) {
      for (let i = 0; i < saved.length; i++)
        if (saved[i].storage.version !== this.#versions![i]) this.#changed(saved[i], `input ${i}`);
    }
    const result = this.#output;
    if (result !== null && result.storage.version !== this.#outputVersion) this.#changed(result, 'the result');
    if (createGraph) {
      // The graph of the gradient will refer to the values that this one saved.
      if (saved !== null) for (const t of saved) t.hidden = false;
      if (result !== null) result.hidden = false;
    }
    const gradients = this.rule.backward(gradient, this);
    for (let i = 0; i < gradients.length; i++) {
      const g = gradients[i];
      if (g !== null && !sameShape(g.dims, this.shapes[i])) {
        fail(
          'backward',
          `${name} computed a gradient of shape ${show(g.dims)} for input ${i} of shape ${show(this.shapes[i])}`,
          'this is a defect of tapegrad: please report it',
          { shapes: [g.dims, this.shapes[i]] },
        );
      }
    }
    if (this.source !== null) this.forget();
    return gradients;
  }

  /** Whether there are no values. */
  protected get empty(): boolean {
    return this.#inputs === null && this.#output === null;
  }

  /** Recomputes the values, if a checkpoint did not keep them. */
  protected restore(): void {
    // The source may assign its steps to the sources of nested checkpoints.
    while (this.source !== null && this.empty) this.source.recompute();
  }

  /** Moves the values of the same step of a second run here; `name` maps tensors to those of this graph. */
  take(copy: Node, name: (t: Tensor) => Tensor): void {
    const named = (t: Tensor) => {
      const own = name(t);
      holdValue(own);
      return own;
    };
    this.#inputs = copy.#inputs?.map(named) ?? null;
    this.#versions = copy.#versions;
    this.#output = copy.#output && named(copy.#output);
    this.#outputVersion = copy.#outputVersion;
    copy.#inputs = null;
    copy.#output = null;
  }

  /** Drops values that can be recomputed. */
  forget(): void {
    if (this.#inputs !== null) for (const t of this.#inputs) letGo(t);
    if (this.#output !== null) letGo(this.#output);
    this.#inputs = null;
    this.#output = null;
    // A nested checkpoint refers to its inputs, which would stay in memory for as long as this step refers to it.
    if (this.source !== null) this.source = this.source.root;
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
   * Drops the saved values, and frees those without other references. A step that saved nothing can run again: a transpose
   * made once can be used in every training step, as in PyTorch.
   */
  release(): void {
    if (this.source !== null) {
      this.forget();
      this.source = null;
      this.#released = true;
      return;
    }
    if (this.#inputs === null && this.#output === null) return;
    this.#released = true;
    if (this.#inputs !== null) for (const t of this.#inputs) if (t.hidden) t.backend.free(t.storage);
    if (this.#output?.hidden) this.#output.backend.free(this.#output.storage);
    this.#inputs = null;
    this.#output = null;
  }
}
