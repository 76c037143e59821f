import type { Tensor } from '../methods.js';
import { Module, type StateDict } from '../nn/module.js';
import { type Optimizer, ownedBy } from './optimizer.js';

/** Parameters of the optimizer that are not in the model, such as those of a loss. */
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

/** All trained state: the model under 'model.', and other parameters of the optimizer under 'other.'. */
export class Trained {
  readonly #others: Others;

  constructor(
    readonly model: Module,
    optimizer: Optimizer,
  ) {
    const own = new Set(model.parameters());
    this.#others = new Others(ownedBy(optimizer).filter((p) => !own.has(p)));
  }

  /** A copy of the current values. */
  copy(): StateDict {
    return Object.fromEntries(Object.entries(this.state()).map(([key, value]) => [key, value.clone()]));
  }

  /** The current values, sharing memory. */
  state(): StateDict {
    return { ...prefixed('model.', this.model.stateDict()), ...prefixed('other.', this.#others.stateDict()) };
  }

  /**
   * Restores values.
   * @param lenient whether frozen parameters and parameters outside the model may be missing, as in checkpoints of version 1
   * @throws TapegradError if they do not match the model
   */
  load(state: StateDict, lenient = false): void {
    const own = withPrefix('model.', state);
    const trained = this.model.namedParameters().filter(([, p]) => p.requiresGrad);
    const complete = trained.every(([name]) => Object.hasOwn(own, name));
    const others = withPrefix('other.', state);
    this.model.loadStateDict(own, { strict: !(lenient && complete) });
    if (!lenient || Object.keys(others).length > 0) this.#others.loadStateDict(others);
  }
}
