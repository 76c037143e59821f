import { full } from '../create.js';
import type { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';
import { type LearningRate, Optimizer, type ParameterState } from './optimizer.js';
import type { GroupNumbers } from './state.js';

/**
 * The base class of optimizers whose update depends on how many steps a parameter has taken, such as Adam. The number is
 * the state `step` of the parameter, a scalar tensor. Where the host can read tensors without waiting, it counts itself.
 */
export abstract class CountingOptimizer<O extends LearningRate> extends Optimizer<O> {
  /** The numbers of parameters that the host counts: those on devices that it can read, without a tensor `step`. */
  readonly #counts = new Map<Tensor, number>();

  /**
   * Counts a step of a parameter.
   * @param parameter the parameter
   * @param state of the parameter, as `update` was given it
   * @returns the number of its steps with this one; or where only the device knows whether a guard refuses a step, the
   *   tensor with the number of steps before, which the update has to count up
   */
  protected countStep(parameter: Tensor, state: ParameterState): number | Tensor {
    const counted = this.#counts.get(parameter) ?? 0;
    if (parameter.backend.readSync === undefined) {
      const { device } = parameter;
      return this.initState(parameter, state, 'step', () => full([], counted, { device }));
    }
    // From a state dict, or from when the parameter was on another device.
    const step = state.get('step');
    state.delete('step');
    const next = (step === undefined ? counted : step.itemSync()) + 1;
    this.#counts.set(parameter, next);
    return next;
  }

  /**
   * As Optimizer.stateDict.
   * @returns tensors by name; 'step.i' is the number of steps of parameter i, a scalar
   */
  override stateDict(): StateDict {
    const state = super.stateDict();
    this.all.forEach((p, i) => {
      const counted = this.#counts.get(p);
      if (counted !== undefined) state[`step.${i}`] ??= full([], counted, { device: p.device });
    });
    return state;
  }

  /** Restores the hyperparameters of the groups and the tensors of a state. @internal */
  protected override restore(groups: readonly GroupNumbers[], tensors: StateDict): void {
    super.restore(groups, tensors);
    this.#counts.clear();
  }
}
