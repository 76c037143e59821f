import type { Tensor } from '../methods.js';
import { Module, type StateDict } from '../nn/module.js';
import { type Optimizer, ownedBy } from './optimizer.js';

/** What an optimizer owns beside the model, such as the parameters of a loss. */
class Others extends Module {
  constructor(readonly tensors: readonly Tensor[]) {
    super();
  }

  override forward(): void {}
}

export const prefixed = (prefix: string, state: StateDict): StateDict =>
  Object.fromEntries(Object.entries(state).map(([key, value]) => [prefix + key, value]));

export const withPrefix = (prefix: string, tensors: StateDict): StateDict =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([key, value]) =>
      key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [],
    ),
  );

/** Everything that a run trains: the model under 'model.', and what the optimizer owns beside it under 'other.'. */
export class Trained {
  readonly #others: Others;

  constructor(
    readonly model: Module,
    optimizer: Optimizer,
  ) {
    const own = new Set(model.parameters());
    this.#others = new Others(ownedBy(optimizer).filter((p) => !own.has(p)));
  }

  /** The present numbers, copied. */
  copy(): StateDict {
    return Object.fromEntries(Object.entries(this.state()).map(([key, value]) => [key, value.clone()]));
  }

  /** The present numbers, shared. */
  state(): StateDict {
    return { ...prefixed('model.', this.model.stateDict()), ...prefixed('other.', this.#others.stateDict()) };
  }

  /**
   * Brings numbers back.
   * @param former whether they were written by a version that left out frozen parameters and what is beside the model
   * @throws TapegradError if they belong to something else
   */
  load(state: StateDict, former = false): void {
    const own = withPrefix('model.', state);
    const trained = this.model.namedParameters().filter(([, p]) => p.requiresGrad);
    const complete = trained.every(([name]) => Object.hasOwn(own, name));
    const others = withPrefix('other.', state);
    this.model.loadStateDict(own, { strict: !(former && complete) });
    if (!former || Object.keys(others).length > 0) this.#others.loadStateDict(others);
  }
}
