import { noGrad } from '../autograd/mode.js';
import { averaging as library } from '../backends/cpu/generated/averaging.js';
import { full } from '../create.js';
import { checkBoolean, checkOptions, describe, fail } from '../errors.js';
import { Tensor } from '../methods.js';
import { Module, type StateDict } from '../nn/module.js';
import { update, updateRow } from '../ops/fused.js';
import { lerp } from './rules.js';
import { stateTensor } from './state.js';

/** One update: average += weight (p - average). Operands: average, p; number: weight. */
const row = /* @__PURE__ */ updateRow({
  name: 'averaging',
  library,
  changes: [0],
  flops: () => 3,
  equals: ([average, p], [weight]) => [lerp(average!, p!, weight)],
});

/** The options of `ExponentialMovingAverage`. */
export interface ExponentialMovingAverageOptions {
  /** The factor of the last average in the new one; in [0, 1]. Default 0.999. */
  decay?: number;
  /** Whether buffers of a model, such as running means, are averaged, too; else `use` leaves them as they are. Default false. */
  useBuffers?: boolean;
}

/** A tensor of the model, and its average. */
interface Entry {
  readonly name: string;
  readonly tensor: Tensor;
  average: Tensor;
}

/**
 * The exponential moving average of weights, which often predicts better than the last weights: average ← decay average +
 * (1 - decay) θ. The first update copies the weights. As
 * [AveragedModel](https://docs.pytorch.org/docs/stable/generated/torch.optim.swa_utils.AveragedModel.html) with
 * get_ema_multi_avg_fn (Polyak and Juditsky, [Acceleration of stochastic approximation by averaging](https://doi.org/10.1137/0330046)).
 *
 * @example
 * ```ts
 * import { nn, optim, randn, zeros } from 'tapegrad';
 *
 * const model = new nn.Linear(3, 1);
 * const optimizer = new optim.AdamW(model.parameters());
 * const average = new optim.ExponentialMovingAverage(model, { decay: 0.99 });
 * for (let step = 0; step < 10; step++) {
 *   optimizer.zeroGrad();
 *   nn.functional.mseLoss(model.forward(randn([8, 3])), zeros([8, 1])).backward();
 *   optimizer.step();
 *   average.update();
 * }
 * const prediction = average.use(() => model.forward(randn([1, 3])));
 * console.log(prediction.shape); // [1, 1]
 * ```
 */
export class ExponentialMovingAverage {
  /** The factor of the last average in the new one; may be changed between updates. */
  decay: number;
  readonly #entries: readonly Entry[];
  /** The weights while the averages are in their place. */
  #kept: readonly Tensor[] | null = null;
  #updates = 0;

  /**
   * @param of a model, of which all parameters are averaged, or tensors such as model.parameters()
   * @param options decay, useBuffers
   * @throws TapegradError for what is neither, no tensors, and a decay outside of [0, 1]
   */
  constructor(of: Module | Iterable<Tensor>, options: ExponentialMovingAverageOptions = {}) {
    checkOptions(OP, options, ['decay', 'useBuffers']);
    const { decay = 0.999, useBuffers = false } = options;
    this.decay = checkDecay(decay);
    checkBoolean(OP, 'useBuffers', useBuffers);
    this.#entries = tensorsOf(of, useBuffers).map(([name, tensor]) => {
      return { name, tensor, average: tensor.detach().clone() };
    });
  }

  /** How many updates there have been. */
  get updates(): number {
    return this.#updates;
  }

  /**
   * Takes the weights as they are into the average: call it after `optimizer.step()`, outside of a step that is compiled.
   * @throws TapegradError while the averages are in use, and for a decay outside of [0, 1]
   */
  update(): void {
    if (this.#kept !== null) fail(OP, 'update() while the averages are in use', 'call restore() first');
    const weight = 1 - checkDecay(this.decay);
    for (const entry of this.#entries) {
      const { tensor } = entry;
      const average = averageOf(entry);
      if (this.#updates === 0) noGrad(() => void average.copyFrom(tensor));
      else update(row, [average, tensor], [weight], null);
    }
    this.#updates++;
  }

  /**
   * Runs a function while the averages are in the place of the weights, which come back when it has ended, also by an error.
   * @param fn what to do, such as an evaluation of the model; if it returns a promise, the weights come back when that settles
   * @returns the result of `fn`
   * @throws TapegradError if the averages are in use already
   */
  use<T>(fn: () => T): T {
    if (typeof fn !== 'function') fail(OP, `use(${describe(fn)})`, 'pass a function, or call apply() and restore()');
    this.apply();
    let result: T;
    try {
      result = fn();
    } catch (error) {
      this.restore();
      throw error;
    }
    if (!isPromise(result)) {
      this.restore();
      return result;
    }
    return result.finally(() => this.restore()) as T;
  }

  /**
   * Puts the averages in the place of the weights until `restore`. `use` does both.
   * @throws TapegradError if they are there already
   */
  apply(): void {
    if (this.#kept !== null) fail(OP, 'the averages are in use already', 'call restore() first');
    this.#kept = this.#entries.map(({ tensor }) => tensor.detach().clone());
    noGrad(() => {
      for (const entry of this.#entries) entry.tensor.copyFrom(averageOf(entry));
    });
  }

  /**
   * Puts the weights back.
   * @throws TapegradError unless the averages are in use
   */
  restore(): void {
    const kept = this.#kept;
    if (kept === null) fail(OP, 'the averages are not in use', 'call apply() first');
    this.#kept = null;
    noGrad(() => {
      this.#entries.forEach(({ tensor }, i) => void tensor.copyFrom(kept[i].to(tensor.device)));
    });
  }

  /**
   * A copy of the averages, for `save`.
   * @returns tensors by name: 'average.fc.weight' is the average of the model's 'fc.weight', or 'average.3' of tensor 3 where no
   *   model was given; 'updates' is the number of updates
   */
  stateDict(): StateDict {
    const averages = this.#entries.map(({ name, average }) => [`average.${name}`, average.clone()]);
    return { ...Object.fromEntries(averages), updates: full([], this.#updates, { device: 'cpu' }) };
  }

  /**
   * Restores averages. The decay stays.
   * @param state a result of stateDict(), also one that was saved and loaded
   * @throws TapegradError if it is of other tensors; nothing changes then
   */
  loadStateDict(state: StateDict): void {
    const op = `${OP}.loadStateDict`;
    if (typeof state !== 'object' || state === null) fail(op, `the state is ${describe(state)}`, OTHER);
    const unknown = new Set(Object.keys(state));
    const read = (key: string, shape: readonly number[], of: Tensor) => {
      unknown.delete(key);
      return stateTensor(op, key, state[key], shape, of);
    };
    const averages = this.#entries.map(({ name, tensor }) => read(`average.${name}`, tensor.shape, tensor));
    const updates: unknown = state.updates;
    const count = updates instanceof Tensor && updates.size === 1 ? updates.hostValues(op)[0] : Number.NaN;
    if (!Number.isInteger(count)) fail(op, `updates is ${describe(updates)}`, OTHER);
    unknown.delete('updates');
    if (unknown.size > 0) fail(op, `the state has ${[...unknown].join(', ')}`, OTHER);
    this.#entries.forEach((entry, i) => {
      entry.average = averages[i];
    });
    this.#updates = count;
  }
}

const OP = 'ExponentialMovingAverage';
const OTHER = 'load the state of an average of the same model';

function checkDecay(decay: unknown): number {
  if (typeof decay === 'number' && decay >= 0 && decay <= 1) return decay;
  return fail(OP, `decay is ${describe(decay)}`, 'pass a number from 0 to 1');
}

/** The tensors to average, by name. */
function tensorsOf(of: Module | Iterable<Tensor>, buffers: boolean): (readonly [name: string, tensor: Tensor])[] {
  if (of instanceof Module) return [...of.namedParameters(), ...(buffers ? of.namedBuffers() : [])];
  if (typeof of !== 'object' || of === null || !(Symbol.iterator in of))
    fail(OP, `the first argument is ${describe(of)}`, 'pass a model, or an array of tensors');
  const tensors = [...new Set<unknown>(of)].map((t, i) => {
    if (!(t instanceof Tensor)) fail(OP, `element ${i} is ${describe(t)}`, 'pass a model, or an array of tensors');
    return [String(i), t] as const;
  });
  if (tensors.length === 0) fail(OP, 'there are no tensors', 'pass a model, or model.parameters()');
  return tensors;
}

/** The average, on the device of its tensor. */
function averageOf(entry: Entry): Tensor {
  const { tensor, average } = entry;
  if (average.backend !== tensor.backend) entry.average = average.to(tensor.device);
  return entry.average;
}

const isPromise = (value: unknown): value is Promise<unknown> => value instanceof Promise;
