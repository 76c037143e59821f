import { noteChange } from '../lifetime.js';
import type { Tensor } from '../methods.js';
import { Module } from './module.js';
import { checkParameter } from './parameter.js';

/** The base of layers with a weight and a bias of one shape, each of which may be missing. */
export abstract class AffineModule extends Module {
  #weight: Tensor | null;
  #bias: Tensor | null;
  readonly #shape: readonly number[];

  /** @internal */
  constructor(shape: readonly number[], weight: Tensor | null, bias: Tensor | null) {
    super();
    this.#shape = shape;
    this.#weight = weight;
    this.#bias = bias;
  }

  /**
   * The factors, or null.
   * @throws TapegradError on assigning anything but null or a parameter of the layer's shape
   */
  get weight(): Tensor | null {
    return this.#weight;
  }

  /**
   * Replaces or removes the factors.
   * @param value a parameter of the layer's shape, or null
   */
  set weight(value: Tensor | null) {
    noteChange();
    this.#weight = this.#checked('weight', value);
  }

  /**
   * The summands, or null.
   * @throws TapegradError on assigning anything but null or a parameter of the layer's shape
   */
  get bias(): Tensor | null {
    return this.#bias;
  }

  /**
   * Replaces or removes the summands.
   * @param value a parameter of the layer's shape, or null
   */
  set bias(value: Tensor | null) {
    noteChange();
    this.#bias = this.#checked('bias', value);
  }

  #checked(name: string, value: Tensor | null): Tensor | null {
    return value === null ? null : checkParameter(this.constructor.name, name, value, this.#shape);
  }

  protected override members(): [string, unknown][] {
    return [['weight', this.#weight], ['bias', this.#bias], ...Object.entries(this)];
  }
}
