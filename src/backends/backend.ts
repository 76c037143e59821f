import type { LoopNest } from '../shape.js';
import type { ElementType, Storage } from './storage.js';

export type { Storage } from './storage.js';

// A backend stores numbers and runs kernels on them. It does not depend on tensors, gradients or modules. It guarantees:
//  - calls take effect in the order in which they are made;
//  - a result is a new storage that aliases no input; only `write`, `put` and kernels with `changes` change a storage,
//    and only the named one; each change increments its version;
//  - results do not depend on the number of threads;
//  - a storage stays readable while there is a reference to it and it has not been freed: the backend manages memory.

/** The device of a tensor. `reference` is plain JavaScript, the oracle of the tests. */
export type Device = 'cpu' | 'gpu' | 'reference';

/** The device that `useDevice` selected, and why. */
export interface DeviceInfo {
  /** The device, as `Tensor.device` has it. */
  readonly type: Device;
  /** The active implementation, such as 'wasm-simd', 'webgpu' or 'reference'. */
  readonly backend: string;
  /** The hardware, as far as the environment reveals it. */
  readonly name: string;
  /** Why this implementation was selected, for example why there is no GPU. */
  readonly reason: string;
}

/** The memory that a backend uses now. */
export interface MemoryInfo {
  /** The number of storages in the backend's own memory. */
  readonly blocks: number;
  /** Their size in bytes. */
  readonly bytes: number;
  /** On the GPU: the number of compiled kernels; one for each operation and layout, not for each shape. */
  readonly compilations?: number;
}

/** WebAssembly kernels in the package, as text. */
export interface EmbeddedKernels {
  readonly name: string;
  readonly text: string;
  /** The bytes of the build with fused multiply-adds, or of the one without, from the text. */
  decode(text: string, fused: boolean): Uint8Array<ArrayBuffer>;
}

/** What all kernels have. */
interface NamedKernel {
  readonly name: string;
  /**
   * Where the backend `cpu` finds the kernel of this name if it is not among those that every program needs. A bundler leaves
   * it out together with the row.
   */
  readonly library?: EmbeddedKernels;
}

export interface UnaryKernel extends NamedKernel {
  readonly f: (x: number) => number;
  /** The same as an expression in x for gpu.js. */
  readonly gpu: string;
  /** About how many nanoseconds an element takes on one core of a CPU; absent where memory accesses take longer. */
  readonly cost?: number;
}

export interface BinaryKernel extends NamedKernel {
  readonly f: (a: number, b: number) => number;
  /** The same as an expression in a and b for gpu.js. */
  readonly gpu: string;
}

/** A reduction of one dimension; with `result: 'index'` the position at which the accumulator last changed. */
export interface ReduceKernel extends NamedKernel {
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

/** Indices into the middle of [outer, length, inner], which pick [outer, count, inner]. They are integers from 0 to length - 1. */
export interface IndexPlan {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
  readonly count: number;
  /** Whether there is one list of indices, index[k], instead of one for each number, index[o, k, i]. */
  readonly shared: boolean;
}

/** A kernel that replaces several operations. Backends look up their code for it by its name. */
export interface FusedKernel extends NamedKernel {
  /** The operands that it changes in place, by position; it makes no new storage then. */
  readonly changes: readonly number[];
  /**
   * The number of elements by which each operand, and then the result, advances for every unit of work; the first loop bound
   * is the number of units. null where units depend on each other.
   */
  steps(bounds: readonly number[]): readonly number[] | null;
  /**
   * The same as a loop of the host over the numbers of the operands, which backends on the host run where they have no kernel.
   * It takes the result, the operands, the loop bounds and the other numbers.
   */
  readonly host?: (
    out: Floats,
    operands: readonly Floats[],
    bounds: readonly number[],
    numbers: readonly number[],
  ) => void;
  /** About how many floating-point operations a call takes; for profile(). */
  flops(bounds: readonly number[], numbers: readonly number[]): number;
  /** About how many nanoseconds a unit takes on one core of a CPU; decides on threads. */
  cost(bounds: readonly number[]): number;
}

/** Operations that can be run again. */
export interface Capture {
  /** The results of the captured call. */
  readonly results: readonly Storage[];
  /** Whether something failed while it was captured, so that it must be captured anew. */
  readonly broken: boolean;
  /** The results of the same operations for inputs of the same sizes. */
  replay(inputs: readonly Storage[]): Storage[];
  /** Frees its memory. */
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
  /** Where there is no readSync: the numbers, if the host has a copy: those of uploads that were not changed since. */
  hostCopy?(x: Storage): Floats | null;
  /** Where there is no readSync: throws the error for a tensor of which `hostCopy` has nothing. */
  unreadable?(op: string, shape: readonly number[]): never;
  /** Where there is no readSync: copies the numbers of all storages in use to where `hostCopy` finds them. */
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
  /** The rows of several matrices [outer, widths[i]] side by side: [outer, Σ widths]. */
  cat(parts: readonly Storage[], outer: number, widths: readonly number[]): Storage;
  /** What indices pick: out[o, k, i] = x[o, at, i], where at is the index of the plan. */
  gather(x: Storage, index: Storage, plan: IndexPlan): Storage;
  /** Its gradient: out[o, at, i] is the sum of all such x[o, k, i] in ascending order of k, and 0 where there is none. */
  scatter(x: Storage, index: Storage, plan: IndexPlan): Storage;
  /**
   * Where there is no readSync: checks on the device that all numbers of a storage are integers from 0 to count - 1. If not, the
   * next read rejects with an error of `op`.
   */
  checkIndices?(op: string, index: Storage, count: number): void;
  /** One number: 0 if every number of every operand is finite, else NaN. */
  finite(operands: readonly Storage[]): Storage;
  /**
   * Runs a fused kernel.
   * @param operands dense; null stands for one that is left out
   * @param size the number of elements of the result, which is a new storage; 0 for a kernel that changes operands
   * @param bounds the loop bounds that the kernel takes
   * @param numbers the other numbers that it takes
   * @param guard one number on a device that the host cannot read: unless it is 0, the operands do not change
   * @returns the result, or the first operand that was changed; null where the backend has no kernel of that name: the
   *   caller composes the result from other operations
   */
  fused(
    kernel: FusedKernel,
    operands: readonly (Storage | null)[],
    size: number,
    bounds: readonly number[],
    numbers: readonly number[],
    guard: Storage | null,
  ): Storage | null;

  /**
   * Runs `fn` with copies of the inputs and captures what it calls, so that all of it can be run again in one submission,
   * with other inputs and with the current numbers of all other storages that it used. Absent where it would not be faster.
   * @param fn returns the results; only those and what it changes in place outlive it
   * @throws TapegradError for what cannot be captured: reads, numbers from the host, new storages that outlive the call without being results
   */
  capture?(inputs: readonly Storage[], fn: (inputs: readonly Storage[]) => readonly Storage[]): Capture;
  /** Runs a function whose storages outlive a running capture. Absent where there is no capture. */
  uncaptured?<T>(fn: () => T): T;
  /** Why the device was lost; null or absent if it was not. */
  readonly lost?: string | null;
  /** How many threads may take part in one operation; absent where the host does not determine it. */
  threads?: number;
}
