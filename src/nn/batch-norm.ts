import { noGrad } from '../autograd/mode.js';
import { ones, zeros } from '../create.js';
import { checkBoolean, checkInteger, checkNumber, checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { AffineModule } from './affine.js';
import { batchNorm } from './functions/norm.js';
import { factors, summands } from './norm.js';
import { Buffer } from './parameter.js';

/** Options of {@link BatchNorm1d} and {@link BatchNorm2d}. */
export interface BatchNormLayerOptions {
  /** Added to the variance. Default 1e-5. */
  eps?: number;
  /** The share of a batch in the new running mean and variance; null for the average of all batches. Default 0.1. */
  momentum?: number | null;
  /** Whether there are weight and bias. Default true. */
  affine?: boolean;
  /** Whether there are running mean and variance; otherwise each batch is normalized by its own in evaluation, too. Default true. */
  trackRunningStats?: boolean;
}

/** What all batch normalizations share. */
abstract class BatchNorm extends AffineModule {
  /** Added to the variance. */
  readonly eps: number;
  /** The share of a batch in the new running mean and variance; null for the average of all batches. */
  readonly momentum: number | null;
  /** The running mean, shape [numFeatures]; in state dicts 'running_mean'. Null if it is not tracked. */
  readonly runningMean: Buffer | null;
  /** The running variance, shape [numFeatures]; in state dicts 'running_var'. Null if it is not tracked. */
  readonly runningVar: Buffer | null;
  /** How many batches there were, a scalar; in state dicts 'num_batches_tracked'. Null if they are not tracked. */
  readonly numBatchesTracked: Buffer | null;

  /** @internal */
  constructor(
    op: string,
    /** The number of channels. */
    readonly numFeatures: number,
    options: BatchNormLayerOptions,
  ) {
    checkInteger(op, 'numFeatures', numFeatures);
    checkOptions(op, options, ['eps', 'momentum', 'affine', 'trackRunningStats']);
    const { eps = 1e-5, momentum = 0.1, affine = true, trackRunningStats = true } = options;
    checkBoolean(op, 'affine', affine);
    checkBoolean(op, 'trackRunningStats', trackRunningStats);
    super([numFeatures], affine ? factors([numFeatures]) : null, affine ? summands([numFeatures]) : null);
    this.eps = checkNumber(op, 'eps', eps);
    this.momentum = momentum === null ? null : checkNumber(op, 'momentum', momentum);
    this.runningMean = trackRunningStats ? new Buffer(zeros([numFeatures])) : null;
    this.runningVar = trackRunningStats ? new Buffer(ones([numFeatures])) : null;
    this.numBatchesTracked = trackRunningStats ? new Buffer(zeros([])) : null;
  }

  /** Requires an input of this layer. @internal */
  protected abstract check(x: Tensor): void;

  /**
   * Applies the layer; in training mode it updates the buffers.
   *
   * @param x input, shape [n, numFeatures, ..]
   * @returns a tensor of the same shape
   * @throws TapegradError for another number of dimensions or features, and for one value of each feature in training mode
   */
  override forward(x: Tensor): Tensor {
    if (!(x instanceof Tensor)) fail(this.constructor.name, `the input is ${describe(x)}`, 'pass a tensor');
    this.check(x);
    const { weight, bias, eps, runningMean, runningVar, numBatchesTracked } = this;
    if (runningMean === null || !this.training)
      return batchNorm(x, runningMean, runningVar, { weight, bias, eps, training: runningMean === null });
    // Refused input leaves the buffers as they are.
    const next = noGrad(() => numBatchesTracked!.add(1));
    const momentum = this.momentum ?? next.pow(-1);
    const y = batchNorm(x, runningMean, runningVar, { weight, bias, eps, training: true, momentum });
    noGrad(() => numBatchesTracked!.copyFrom(next));
    return y;
  }

  /** Sets the running mean to 0, the running variance to 1, and the number of batches to 0. */
  resetRunningStats(): void {
    if (this.runningMean === null) return;
    this.runningMean.copyFrom(zeros([], { device: this.runningMean.device }));
    this.runningVar!.copyFrom(ones([], { device: this.runningMean.device }));
    this.numBatchesTracked!.copyFrom(zeros([], { device: this.runningMean.device }));
  }

  /**
   * The members of the layer; buffers have the names of PyTorch.
   *
   * @returns pairs of name and value
   */
  protected override members(): [string, unknown][] {
    const { runningMean, runningVar, numBatchesTracked } = this;
    const own: unknown[] = [runningMean, runningVar, numBatchesTracked];
    return [
      ...super.members().filter(([, value]) => value === null || !own.includes(value)),
      ['running_mean', runningMean],
      ['running_var', runningVar],
      ['num_batches_tracked', numBatchesTracked],
    ];
  }

  protected override extraRepr(): string {
    const { numFeatures, eps, momentum, weight, runningMean } = this;
    return `${numFeatures}, eps=${eps}, momentum=${momentum}, affine=${weight !== null}, trackRunningStats=${runningMean !== null}`;
  }

  /** Refuses an input of another shape. @internal */
  protected refuse(x: Tensor, shapes: string): never {
    fail(this.constructor.name, `the input has shape ${show(x.dims)}`, `pass ${shapes}`, { shapes: [x.dims] });
  }
}

/**
 * Normalizes each feature over the batch, and over the positions of a sequence, and applies weight and bias of each feature. In
 * training mode by mean and biased variance of the batch, in evaluation mode by running ones; see
 * {@link functional.batchNorm}. Same as
 * [torch.nn.BatchNorm1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html).
 *
 * @example
 * ```ts
 * import { nn, randn } from 'tapegrad';
 *
 * const layer = new nn.BatchNorm1d(3);
 * console.log(layer.forward(randn([8, 3])).shape); // [8, 3]
 * console.log(Object.keys(layer.stateDict())); // ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
 * ```
 */
export class BatchNorm1d extends BatchNorm {
  /**
   * @param numFeatures the number of features, the size of the second dimension
   * @param options `eps`, `momentum`, `affine`, `trackRunningStats`
   * @throws TapegradError for a number of features that is not an integer of at least 1, other values, and unknown options
   */
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super('BatchNorm1d', numFeatures, options);
  }

  /** @internal */
  protected override check(x: Tensor): void {
    const { ndim, dims } = x;
    if ((ndim !== 2 && ndim !== 3) || dims[1] !== this.numFeatures)
      this.refuse(x, `[n, ${this.numFeatures}] or [n, ${this.numFeatures}, length]`);
  }
}

/**
 * Normalizes each channel over the batch and all positions of an image, and applies weight and bias of each channel. In training
 * mode by mean and biased variance of the batch, in evaluation mode by running ones; see {@link functional.batchNorm}. Same as
 * [torch.nn.BatchNorm2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html).
 *
 * @example
 * ```ts
 * import { nn, randn } from 'tapegrad';
 *
 * console.log(new nn.BatchNorm2d(3).forward(randn([2, 3, 4, 4])).shape); // [2, 3, 4, 4]
 * ```
 */
export class BatchNorm2d extends BatchNorm {
  /**
   * @param numFeatures the number of channels, the size of the second dimension
   * @param options `eps`, `momentum`, `affine`, `trackRunningStats`
   * @throws TapegradError for a number of channels that is not an integer of at least 1, other values, and unknown options
   */
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super('BatchNorm2d', numFeatures, options);
  }

  /** @internal */
  protected override check(x: Tensor): void {
    if (x.ndim !== 4 || x.dims[1] !== this.numFeatures) this.refuse(x, `[n, ${this.numFeatures}, height, width]`);
  }
}
