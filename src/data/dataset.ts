import type { Tensor } from '../methods.js';
import { commonRows } from './rows.js';

/** Samples that lie along the first dimension of one or more tensors, as torch.utils.data.TensorDataset. */
export class TensorDataset {
  readonly tensors: readonly Tensor[];
  /** The number of samples. */
  readonly length: number;
  #host: Float32Array[] | null = null;

  /** @throws TapegradError for tensors with different first dimensions */
  constructor(...tensors: Tensor[]) {
    this.length = commonRows('TensorDataset', tensors);
    this.tensors = tensors;
  }

  /** The numbers of each tensor on the host, read once. @internal */
  hostSync(): Float32Array[] {
    this.#host ??= this.tensors.map((t) => t.hostValues('TensorDataset'));
    return this.#host;
  }

  /** @internal */
  async host(): Promise<Float32Array[]> {
    this.#host ??= await Promise.all(this.tensors.map((t) => t.data()));
    return this.#host;
  }
}
