import type { LoopNest } from '../shape.js';
import type { ElementType, Storage } from './storage.js';

export type { Storage } from './storage.js';

// A backend stores numbers and runs kernels on them. It knows nothing of tensors, gradients or modules. It promises:
//  - calls take effect in the order in which they are made;
//  - a result is a fresh storage that aliases no input; only `write`, `put` and kernels that say so change a storage,
//    and only the named one; each change counts up its version;
//  - results do not depend on the number of threads;
//  - a storage stays readable for as long as anybody holds it and nobody freed it: memory is the backend's care.

/** The places where a tensor can live; `reference` runs plain JavaScript, as an oracle for the others. */
export type Device = 'cpu' | 'gpu' | 'reference';

/** What `useDevice` chose, and why. */
export interface DeviceInfo {
  readonly type: Device;
  /** The implementation at work, such as 'wasm-simd' or 'reference'. */
  readonly backend: string;
  /** The hardware, as far as it can be told. */
  readonly name: string;
  readonly reason: string;
}

/** What a backend holds now. */
export interface MemoryInfo {
  /** Storages that live inside the backend's own memory. */
  readonly blocks: number;
  /** Their bytes. */
  readonly bytes: number;
  /** On the GPU: how many kernels have been compiled; one for each operation and layout, not for each shape. */
  readonly compilations?: number;
}

export interface UnaryKernel {
  readonly name: string;
  readonly f: (x: number) => number;
  /** The same as an expression in x for gpu.js. */
  readonly gpu: string;
}

export interface BinaryKernel {
  readonly name: string;
  readonly f: (a: number, b: number) => number;
  /** The same as an expression in a and b for gpu.js. */
  readonly gpu: string;
}

/** A reduction of one dimension; with `result: 'index'` the position at which the accumulator last changed. */
export interface ReduceKernel {
  readonly name: string;
  readonly init: number;
  readonly combine: (acc: number, x: number) => number;
  /** The same as an expression in acc and x for gpu.js. */
  readonly gpu: string;
  readonly finish: (acc: number, n: number) => number;
  /** The same as an expression in acc and n for gpu.js; absent where it is acc. */
  readonly gpuFinish?: string;
  readonly result: 'value' | 'index';
}

/** C[m,n] = op(A) op(B) (+ bias[n]), negative results set to 0 with `relu`, for `batch` pairs of matrices; offsets count elements. */
export interface MatmulPlan {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transA: boolean;
  readonly transB: boolean;
  readonly relu: boolean;
  readonly offsetsA: readonly number[];
  readonly offsetsB: readonly number[];
}

/** A call of a fused kernel, which does at once what several operations would do. Backends find the kernel by its name. */
export interface FusedCall {
  readonly name: string;
  /** Row-major; null stands for an operand that is left out. */
  readonly operands: readonly (Storage | null)[];
  /** The number of elements of the result, which comes back as a new storage; 0 if the kernel changes operands instead. */
  readonly size: number;
  /** The operands that the kernel changes in place, by position. */
  readonly changes: readonly number[];
  /** The loop bounds that the kernel takes. The first counts the units into which the work can be split. */
  readonly bounds: readonly number[];
  /** The other numbers that it takes. */
  readonly numbers: readonly number[];
  /** By how many elements each operand, and then the result, goes on for every unit; null where units depend on each other. */
  readonly steps: readonly number[] | null;
  /** About how many floating-point operations the call takes; for profile(). */
  readonly flops: number;
  /** About how many nanoseconds one unit takes on one core of a CPU; decides on threads. */
  readonly cost: number;
  /** One number. Unless it is 0, the operands keep their bits; for devices whose numbers the host cannot look at. */
  readonly guard: Storage | null;
}

/** Operations that can be run again. */
export interface Capture {
  /** What the captured call gave. */
  readonly results: readonly Storage[];
  /** What the same operations give for inputs of the same sizes. */
  replay(inputs: readonly Storage[]): Storage[];
  /** Gives its memory back. */
  free(): void;
}

export type Floats = Float32Array | Float64Array;

export interface Backend {
  readonly device: Device;
  /** The element type of new storages. */
  readonly type: ElementType;
  info(): DeviceInfo;

  upload(values: ArrayLike<number>): Storage;
  fill(size: number, value: number): Storage;
  /** Overwrites a storage in place. */
  write(target: Storage, values: ArrayLike<number>): void;
  read(x: Storage): Promise<Floats>;
  /** Absent where the host cannot wait for the device. */
  readSync?(x: Storage): Floats;
  /** Where there is no readSync: the numbers, if the host has them anyway, as of what was uploaded and not changed since. */
  hostCopy?(x: Storage): Floats | null;
  /** Where there is no readSync: brings the numbers of all living storages to where `hostCopy` finds them. */
  fetchAll?(): Promise<void>;
  free(x: Storage): void;
  memory(): MemoryInfo;

  unary(kernel: UnaryKernel, x: Storage): Storage;
  binary(kernel: BinaryKernel, a: Storage, b: Storage, loops: LoopNest, size: number): Storage;
  /** Reduces the middle of [outer, length, inner]. */
  reduce(kernel: ReduceKernel, x: Storage, outer: number, length: number, inner: number): Storage;
  matmul(plan: MatmulPlan, a: Storage, b: Storage, bias: Storage | null): Storage;
  /** Over the rows of [rows, cols]. */
  softmax(x: Storage, rows: number, cols: number, log: boolean): Storage;
  /** A row-major copy of the elements at offset + Σ index·strides (elements; a stride of 0 repeats). */
  copy(x: Storage, shape: readonly number[], strides: readonly number[], offset: number): Storage;
  /** The inverse, in place: writes a row-major source to those elements of the target; no two of them are the same. */
  put(target: Storage, source: Storage, shape: readonly number[], strides: readonly number[], offset: number): void;
  /** out[r, :] = x[index[r], :] for x [.., width] and integers of the host. Present where there is no readSync. */
  rows?(x: Storage, index: Int32Array, width: number): Storage;
  /** out[r] = x[r, index[r]] for x [rows, cols]. */
  gather(x: Storage, index: Storage, rows: number, cols: number): Storage;
  /** out[r, index[r]] = x[r], 0 elsewhere, for out [rows, cols]. */
  scatter(x: Storage, index: Storage, rows: number, cols: number): Storage;
  /** One number: 0 if every number of every operand is finite, else NaN. */
  finite(operands: readonly Storage[]): Storage;
  /**
   * Runs a fused kernel. Returns its result, or the first operand that it changed.
   * @returns null where the backend has no kernel of that name: the caller composes the result from other operations
   */
  fused(call: FusedCall): Storage | null;

  /**
   * Runs `fn` with copies of the inputs and captures what it calls, so that all of it can be run again in one submission,
   * with other inputs and on the present numbers of every other storage that it used. Absent where nothing is gained by it.
   * @param fn returns the results; only those and what it changes in place outlive it
   * @throws TapegradError for what cannot be captured: reads, numbers from the host, storages that are left behind
   */
  capture?(inputs: readonly Storage[], fn: (inputs: readonly Storage[]) => readonly Storage[]): Capture;
  /** Why the device is gone, where it can be lost. */
  readonly lost?: string | null;
  /** How many threads may take part in one operation; absent where that is not for the host to say. */
  threads?: number;
}
