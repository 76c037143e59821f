import type { Reduction } from '../../../kernels/gpu/reduce.js';
import type { GpuKernel } from '../../../kernels/gpu/source.js';
import type { DeviceInfo } from '../backend.js';
import type { Storage } from '../storage.js';
import type { Argument } from './memory.js';
import type { Cell } from './storage.js';

/** What fused kernels need of the backend. */
export interface Launcher {
  info(): DeviceInfo;
  /** The numbers of a storage on the device. */
  present(storage: Storage): Cell;
  /** Queues a kernel; see GpuMemory.launch. */
  launch(kernel: GpuKernel, threads: number | number[], args: readonly Argument[], kept?: Cell): Cell;
  /** Puts other numbers into a storage. */
  replace(storage: Storage, cell: Cell): void;
  /** Reduces in stages until one number is left for each of the outer times inner. */
  stages(kernel: Reduction, x: Cell, outer: number, length: number, inner: number): Cell;
  /** The rows' maxima, and the sums of their other exponentials. */
  rowRests(x: Storage, rows: number, cols: number): [tops: Cell, rests: Cell];
}

/** The arguments of Backend.fused. */
export interface FusedCall {
  readonly operands: readonly (Storage | null)[];
  readonly size: number;
  readonly bounds: readonly number[];
  readonly numbers: readonly number[];
  readonly guard: Storage | null;
}

/**
 * Queues the kernels of one call. Returns the result, null if it changed operands instead, or undefined where it cannot run.
 */
export type Fused = (gpu: Launcher, call: FusedCall) => Cell | null | undefined;
