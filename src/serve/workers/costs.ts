import type { Answer } from './messages.js';

/** Milliseconds of worker time per job above which jobs are also sent to the worker on the event loop's core. */
const HEAVY = 0.15;
/** The weight of a new measurement in the moving average of a model's cost. */
const WEIGHT = 0.1;

/** The moving average of worker milliseconds per job, by model. */
export class Costs {
  readonly #costs = new Map<number, number>();

  add(model: number, { preprocess, predict, postprocess, executed }: Answer): void {
    const cost = preprocess + postprocess + (executed > 0 ? predict : 0);
    const before = this.#costs.get(model) ?? cost;
    this.#costs.set(model, before + WEIGHT * (cost - before));
  }

  isHeavy(model: number): boolean {
    return (this.#costs.get(model) ?? 0) >= HEAVY;
  }

  forget(model: number): void {
    this.#costs.delete(model);
  }
}
