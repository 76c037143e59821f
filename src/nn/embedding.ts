import { randn, zeros } from '../create.js';
import { checkInteger, checkOptions } from '../errors.js';
import { noteChange } from '../lifetime.js';
import type { Tensor } from '../methods.js';
import { checkPadding, embedding } from './functions/embedding.js';
import { Module } from './module.js';
import { checkParameter, Parameter } from './parameter.js';

/**
 * A table of vectors, looked up by index. The weight begins with standard normal numbers, and zeros in the row of `paddingIdx`,
 * which gets no gradient. Same as
 * [torch.nn.Embedding](https://docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * const layer = new nn.Embedding(10, 3);
 * console.log(layer.forward(tensor([[1, 2], [4, 4]])).shape); // [2, 2, 3]
 * ```
 */
export class Embedding extends Module {
  #weight: Tensor;
  /** The row that gets no gradient, or null. */
  readonly paddingIdx: number | null;

  /**
   * @param numEmbeddings the number of vectors
   * @param embeddingDim the size of each vector
   * @param options `paddingIdx`: a row that begins as zeros and gets no gradient; a negative index counts from the end
   * @throws TapegradError for sizes that are not integers of at least 1, a row that does not exist, and unknown options
   */
  constructor(
    /** The number of vectors. */
    readonly numEmbeddings: number,
    /** The size of each vector. */
    readonly embeddingDim: number,
    options: { paddingIdx?: number | null } = {},
  ) {
    super();
    const op = 'Embedding';
    checkInteger(op, 'numEmbeddings', numEmbeddings);
    checkInteger(op, 'embeddingDim', embeddingDim);
    checkOptions(op, options, ['paddingIdx']);
    this.paddingIdx = checkPadding(op, options.paddingIdx, numEmbeddings);
    const values = randn([numEmbeddings, embeddingDim]);
    if (this.paddingIdx !== null) values.select(0, this.paddingIdx).copyFrom(zeros([embeddingDim]));
    this.#weight = new Parameter(values);
  }

  /**
   * The vectors, shape [numEmbeddings, embeddingDim]. Assign the weight of another layer to share it.
   * @throws TapegradError on assigning anything but a parameter of this shape
   */
  get weight(): Tensor {
    return this.#weight;
  }

  /**
   * Replaces the vectors, for example to share them.
   * @param value a parameter of shape [numEmbeddings, embeddingDim]
   */
  set weight(value: Tensor) {
    noteChange();
    this.#weight = checkParameter('Embedding', 'weight', value, [this.numEmbeddings, this.embeddingDim]);
  }

  /**
   * Looks up vectors.
   *
   * @param indices integers from 0 to numEmbeddings - 1, of any shape
   * @returns a tensor of shape [..indices, embeddingDim]
   * @throws TapegradError for indices that are not such integers; those that a GPU computed are checked with the next read
   */
  override forward(indices: Tensor): Tensor {
    return embedding(indices, this.#weight, { paddingIdx: this.paddingIdx });
  }

  protected override members(): [string, unknown][] {
    return [['weight', this.#weight], ...Object.entries(this)];
  }

  protected override extraRepr(): string {
    const padding = this.paddingIdx === null ? '' : `, paddingIdx=${this.paddingIdx}`;
    return `${this.numEmbeddings}, ${this.embeddingDim}${padding}`;
  }
}
