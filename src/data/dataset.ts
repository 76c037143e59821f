import type { Tensor } from '../methods.js';
import { commonRows, knownValues, takeRows } from './rows.js';

/** A batch of a dataset of the tensors `T`: as many tensors, in their order. */
export type BatchOf<T extends readonly Tensor[]> = { -readonly [K in keyof T]: Tensor };

/** Samples that lie along the first dimension of one or more tensors, as torch.utils.data.TensorDataset. */
export class TensorDataset<T extends readonly Tensor[] = Tensor[]> {
  readonly tensors: Readonly<T>;
  /** The number of samples. */
  readonly length: number;
  #host: (Float32Array | null)[] | null = null;

  /** @throws TapegradError for tensors with different first dimensions */
  constructor(...tensors: T) {
    this.length = commonRows('TensorDataset', tensors);
    this.tensors = tensors;
  }

  /** Samples `from` to `to` of an order. @internal */
  take(order: Int32Array, from: number, to: number): BatchOf<T> {
    // Read once, for all batches of all epochs.
    this.#host ??= this.tensors.map(knownValues);
    const host = this.#host;
    return this.tensors.map((t, i) => takeRows('TensorDataset', t, host[i], order, from, to)) as BatchOf<T>;
  }
}
