import type { Tensor } from '../methods.js';
import { commonRows, knownValues, takeRows } from './rows.js';

/** One batch of a dataset with the tensors `T`: one tensor for each of them, in the same order. */
export type BatchOf<T extends readonly Tensor[]> = { -readonly [K in keyof T]: Tensor };

/**
 * A dataset whose samples lie along the first dimension of one or more tensors. Same as
 * [torch.utils.data.TensorDataset](https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.TensorDataset).
 *
 * @typeParam T the tuple of tensors
 * @example
 * ```ts
 * import { data, tensor } from 'tapegrad';
 *
 * const dataset = new data.TensorDataset(tensor([[1, 2], [3, 4]]), tensor([0, 1]));
 * console.log(dataset.length); // 2
 * ```
 */
export class TensorDataset<T extends readonly Tensor[] = Tensor[]> {
  /** The tensors, each with shape [n, ..]. */
  readonly tensors: Readonly<T>;
  /** The number of samples, n. */
  readonly length: number;
  /** What the host knows of each tensor's values, as of a version of its storage. */
  readonly #host: { values: Float32Array | null; version: number }[] = [];

  /**
   * @param tensors one or more tensors with shapes [n, ..] and the same n
   * @throws TapegradError if there are no tensors, an argument is not a tensor, or the first dimensions differ
   */
  constructor(...tensors: T) {
    this.length = commonRows('TensorDataset', tensors);
    this.tensors = tensors;
  }

  /** Samples `from` to `to` of an order. @internal */
  take(order: Int32Array, from: number, to: number): BatchOf<T> {
    const rows = this.tensors.map((t, i) => {
      // Read once and reused by all batches of all epochs, unless the tensor is changed in place.
      const { version } = t.storage;
      if (this.#host[i]?.version !== version) this.#host[i] = { values: knownValues(t), version };
      return takeRows('TensorDataset', t, this.#host[i].values, order, from, to);
    });
    return rows as BatchOf<T>;
  }
}
