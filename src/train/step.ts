import { leavesOf } from '../autograd/leaves.js';
import { describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import type { TensorModule } from '../nn/module.js';
import { Parameter } from '../nn/parameter.js';
import { clipGradNorm } from '../nn/utils.js';
import { finiteGuard } from '../optim/guard.js';
import { type Place, placeName } from './batches.js';
import { isFiniteAnywhere, isFiniteNow, isReadable } from './finite.js';
import { ownedBy, step } from './optimizer.js';
import { type FitOptions, lossReduction, type Metrics } from './options.js';

/** Output and loss of a batch, after checking that they are tensors and the loss has one element. */
export function lossOf(
  loss: FitOptions['loss'],
  model: TensorModule,
  x: Tensor,
  y: Tensor,
  place: Place,
): [Tensor, Tensor] {
  const output: unknown = model.forward(x);
  if (!(output instanceof Tensor))
    fail('fit', `the model returned ${describe(output)} for ${placeName(place)}`, 'return a tensor from forward(x)');
  const cost: unknown = loss.forward(output, y);
  if (!(cost instanceof Tensor) || cost.size !== 1)
    fail(
      'fit',
      `the loss of ${placeName(place)} is ${cost instanceof Tensor ? `a tensor of shape ${show(cost.shape)}` : describe(cost)}`,
      'return a tensor with one element: the mean over the batch, or the sum',
    );
  return [output, cost];
}

/**
 * Trains on one batch after the other. Loss and gradients are checked before the weights change, so that after an error the
 * weights are those of the last valid step. On a device that the host cannot read synchronously, the device checks them.
 */
export class Trainer {
  #names = new Map<Tensor, string>();
  #owned: readonly Tensor[] = [];
  /** Parameters of the model that the optimizer does not have; their gradients are discarded. */
  #others: readonly Tensor[] = [];
  readonly #sums: boolean;
  readonly #every: number;
  /** Batches and samples since the last step, and the expected samples per batch. */
  #batches = 0;
  #samples = 0;
  #expected = 0;
  /** Whether the next batch is the first of an epoch. */
  #first = true;

  constructor(
    private readonly model: TensorModule,
    private readonly options: Pick<
      FitOptions<Metrics>,
      'loss' | 'lossReduction' | 'optimizer' | 'accumulate' | 'clipGradNorm' | 'scheduler' | 'schedulerInterval'
    >,
  ) {
    this.#sums = lossReduction(options) === 'sum';
    this.#every = options.accumulate ?? 1;
  }

  /** Begins an epoch: collects the parameters, which may have changed, and discards batches without a step. */
  start(): void {
    this.#names = new Map(this.model.namedParameters().map(([name, p]) => [p, name]));
    this.#owned = ownedBy(this.options.optimizer);
    const owned = new Set(this.#owned);
    this.#others = [...this.#names.keys()].filter((p) => !owned.has(p));
    this.#batches = 0;
    this.#first = true;
  }

  /** The sum of the losses of a batch's samples, from the value of its loss. */
  total(value: number, samples: number): number {
    return this.#sums ? value : value * samples;
  }

  /** Trains on a batch. @returns its loss, as a number if the host can read it synchronously. @throws TapegradError if the loss or a gradient is not finite; the weights are unchanged then */
  batch(x: Tensor, y: Tensor, place: Place): number | Promise<number> {
    const [output, cost] = lossOf(this.options.loss, this.model, x, y, place);
    const readable = isReadable(cost);
    const value = readable ? cost.itemSync() : null;
    if (value !== null) this.#checkLoss(value, place);
    if (this.#first) this.#checkLeaves(output, x);
    this.#first = false;
    if (this.#batches === 0) this.#zero(x.shape[0]);
    this.#batches++;
    this.#samples += x.shape[0];
    this.#backward(cost, x.shape[0]);
    const due = this.#batches >= this.#every;
    if (value !== null) {
      if (due) this.#step(place);
      return value;
    }
    return due ? this.#stepOnDevice(cost, place) : cost.item().then((late) => this.#checkLoss(late, place));
  }

  /** Takes the step for the last batches of an epoch if they are fewer than `accumulate`. */
  async finish(place: Place): Promise<void> {
    if (this.#batches === 0) return;
    if (this.#owned.every(isReadable)) this.#step(place);
    else await this.#stepOnDevice(null, place);
  }

  /** @throws TapegradError if a weight is not finite, because a step overflowed float32 */
  async checkWeights(epoch: number): Promise<void> {
    for (const p of this.#owned) {
      if (p.requiresGrad && !(await isFiniteAnywhere(p)))
        fail(
          'fit',
          `the parameter ${this.#name(p)} is no longer finite after epoch ${epoch}`,
          'use a smaller learning rate, and go back to the last checkpoint',
        );
    }
  }

  #zero(samples: number): void {
    this.options.optimizer.zeroGrad();
    for (const p of this.#others) p.grad = null;
    this.#samples = 0;
    this.#expected = samples;
  }

  /** A mean loss is weighted by the batch's fraction of the samples expected for the step, assuming equal batches. */
  #backward(cost: Tensor, samples: number): void {
    const weight = this.#sums ? 1 : samples / (this.#expected * this.#every);
    (weight === 1 ? cost : cost.mul(weight)).backward();
  }

  /** Corrects the gradients if batches were fewer, or of other sizes, than expected. */
  #rescale(): void {
    const factor = this.#sums ? 1 : (this.#expected * this.#every) / this.#samples;
    this.#batches = 0;
    if (factor === 1) return;
    for (const p of this.#owned) if (p.gradient !== null) p.grad = p.gradient.mul(factor);
  }

  #clip(): void {
    const { clipGradNorm: maxNorm } = this.options;
    if (maxNorm !== undefined) clipGradNorm(this.#owned, maxNorm);
  }

  #step(place: Place): void {
    this.#rescale();
    this.#checkGradients(place);
    this.#clip();
    step(this.options.optimizer);
    this.#schedule();
  }

  /** Sets the learning rates of the next step. */
  #schedule(): void {
    const { scheduler, schedulerInterval } = this.options;
    if (schedulerInterval === 'step') scheduler?.step();
  }

  #checkGradients(place: Place): void {
    const found: Tensor[] = [];
    for (const { gradient } of this.#owned) if (gradient !== null) found.push(gradient);
    if (found.length === 0) return;
    const together = found.every((g) => g.backend === found[0].backend);
    if (together && finiteGuard(found).itemSync() === 0) return;
    for (const p of this.#owned) if (p.gradient !== null && !isFiniteNow(p.gradient)) this.#refuse(p, place);
  }

  /** @throws TapegradError if the output depends on a parameter that is neither in the model nor in the optimizer */
  #checkLeaves(output: Tensor, input: Tensor): void {
    const known = new Set([...this.#names.keys(), ...this.#owned, ...leavesOf(input)]);
    for (const leaf of leavesOf(output)) {
      if (!(leaf instanceof Parameter) || known.has(leaf)) continue;
      fail(
        'fit',
        `the model's output depends on a parameter of shape ${show(leaf.shape)} that is neither in the model nor in the optimizer`,
        'keep layers and parameters in ordinary fields, not in private ones (#name); pass others to the optimizer, or freeze them with requiresGrad = false',
        { shapes: [leaf.shape] },
      );
    }
  }

  async #stepOnDevice(cost: Tensor | null, place: Place): Promise<number> {
    this.#rescale();
    const gradients = this.#owned.flatMap(({ gradient }) => (gradient === null ? [] : [gradient]));
    const loss = cost?.detach().reshape([]);
    const guard = finiteGuard(loss ? [loss, ...gradients] : gradients);
    this.#clip();
    step(this.options.optimizer, guard);
    const value = await (loss ? loss.add(guard) : guard).item(); // one value to wait for: NaN if anything is not finite
    if (Number.isFinite(value)) {
      this.#schedule();
      return value;
    }
    if (loss) this.#checkLoss(await loss.item(), place);
    // Clipping spreads NaN to all gradients, so the first one cannot be named.
    if (this.options.clipGradNorm === undefined)
      for (const p of this.#owned)
        if (p.gradient !== null && !(await isFiniteAnywhere(p.gradient))) this.#refuse(p, place);
    return this.#refuse(null, place);
  }

  #checkLoss(value: number, place: Place): number {
    if (Number.isFinite(value)) return value;
    const broken = this.#owned.find((p) => isReadable(p) && !isFiniteNow(p));
    fail(
      'fit',
      `the loss is ${value} in ${placeName(place)}${broken ? `: the parameter ${this.#name(broken)} was already not finite, after an earlier step or as loaded` : ''}`,
      broken
        ? 'use a smaller learning rate, and go back to the last checkpoint'
        : 'use a smaller learning rate, and check the data for NaN; the weights are those before this batch',
    );
  }

  #refuse(p: Tensor | null, place: Place): never {
    fail(
      'fit',
      `${p === null ? 'a gradient' : `the gradient of ${this.#name(p)}`} is not finite in ${placeName(place)}, although the loss is; the weights are those before this batch`,
      'look for an operation without a finite derivative there, such as sqrt of 0, or use a smaller learning rate',
    );
  }

  #name(p: Tensor): string {
    return `'${this.#names.get(p) ?? `parameter ${this.#owned.indexOf(p)} of the optimizer`}'`;
  }
}
