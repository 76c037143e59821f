import type { GpuKernel } from '../../../kernels/gpu/source.js';
import type { MemoryInfo } from '../backend.js';

/** An array on the device, as gpu.js hands it out. */
export interface Handle {
  /** Its dimensions. */
  output: number[];
  toArray(): Float32Array | Promise<Float32Array>;
  clone(): Handle;
  delete(): void;
}

/** gpu.js on one device. */
export interface Runtime {
  readonly mode: Mode;
  /** The hardware. */
  readonly name: string;
  /** The bytes of the largest array. */
  readonly largest: number;
  /** Whether kernels may compute several numbers a thread. */
  readonly severalResults: boolean;
  /** Why the device is gone, if it is. */
  readonly lost: string | null;
  /** How many kernels have been compiled. */
  readonly compilations: number;
  /** The arrays that are in use. */
  readonly memory: MemoryInfo;
  /** What went wrong since it was last asked, where the device did not say with which array. */
  takeFailure(): Error | null;
  /** Copies the numbers of an array to the host. */
  read(handle: Handle): Promise<Float32Array>;
  /** What went wrong with an array that was returned, once the device has reported on it; null at once if nothing can have. */
  errorOf(handle: Handle): Promise<Error | null> | null;
  /** Starts to compile a kernel that will be run; absent where kernels are compiled one after the other. */
  prepare?(kernel: GpuKernel): void;
  /**
   * Queues a kernel. Its result may be used at once; it is there when the device has come to it.
   * @param threads how many, in each of the kernel's dimensions
   */
  run(kernel: GpuKernel, threads: readonly number[], args: Argument[], capture?: RuntimeCapture): Promise<Handle>;
  /**
   * Queues a kernel at once if it was run before with as many threads, with arrays of the same sizes and the same numbers;
   * null if it was not. Absent where every call goes the same way.
   */
  again?(kernel: GpuKernel, threads: readonly number[], args: readonly Argument[]): Handle | null;
  /** Captures the calls of `run` that name it, to submit them together; absent where that is not possible. */
  beginCapture?(): RuntimeCapture;
}

/** Kernels that are captured as they are queued. */
export interface RuntimeCapture {
  /**
   * Ends the capture, when all of it has been queued.
   * @param given arrays in whose place every replay has others
   * @param results arrays that every replay makes anew
   */
  finish(given: readonly Handle[], results: readonly Handle[]): void;
  /**
   * Lets the kernel that was captured last, and made `fresh`, stand in the place of those that made
   * `outputs`, from the next `finish` on: it makes the last one.
   */
  substitute(fresh: Handle, outputs: readonly Handle[]): void;
  /**
   * Submits everything that was captured.
   * @param given what stands in the place of those of `finish`
   * @returns fresh arrays with the results
   */
  replay(given: readonly Handle[]): Handle[];
  /** As Runtime.errorOf. */
  errorOf(handle: Handle): Promise<Error | null> | null;
  /** Gives its arrays back. */
  destroy(): void;
}

export type Argument = Handle | Float32Array | number;

/** The ways of gpu.js to a GPU, the best first. */
export type Mode = 'webgpu' | 'webgl2' | 'headlessgl';

export const REMEDY = "go on with await useDevice('cpu') and model.to('cpu')";

/** A missing package or adapter, and what to do about it. */
export class Unavailable extends Error {
  constructor(
    message: string,
    readonly remedy: string,
  ) {
    super(message);
  }
}
