import type { Tensor } from '../methods.js';
import { commonRows, knownValues, takeRows } from './rows.js';

/** Samples that lie along the first dimension of one or more tensors, as torch.utils.data.TensorDataset. */
export class TensorDataset {
  readonly tensors: readonly Tensor[];
  /** The number of samples. */
  readonly length: number;
  #host: (Float32Array | null)[] | null = null;

  /** @throws TapegradError for tensors with different first dimensions */
  constructor(...tensors: Tensor[]) {
    this.length = commonRows('TensorDataset', tensors);
    this.tensors = tensors;
  }

  /** Samples `from` to `to` of an order. @internal */
  take(order: Int32Array, from: number, to: number): Tensor[] {
    // Read once, for all batches of all epochs.
    this.#host ??= this.tensors.map(knownValues);
    const host = this.#host;
    return this.tensors.map((t, i) => takeRows('TensorDataset', t, host[i], order, from, to));
  }
}
