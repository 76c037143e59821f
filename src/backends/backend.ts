import type { LoopNest } from '../shape.js';

// A backend stores numbers and runs kernels on them. It knows nothing of tensors, gradients or modules. It promises:
//  - calls take effect in the order in which they are made;
//  - a result is a fresh storage that aliases no input; only `write` and `sgd` change a storage, and only the named one;
//  - results do not depend on the number of threads;
//  - a storage stays readable for as long as anybody holds it and nobody freed it: memory is the backend's care.

/** The places a tensor can live: `reference` is the plain-JS oracle, `float64` the same in double precision. */
export type Device = 'cpu' | 'gpu' | 'reference' | 'float64';

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

/** A run of numbers that belongs to one backend. */
export interface Storage {
  readonly backend: Backend;
  readonly size: number;
  /** Rises with every in-place change, so that the tape can tell that a saved value is no longer what it was. */
  version: number;
  /** How many there are that must find it, as far as the library itself counts them; see autograd/lifetime.ts. */
  holders: number;
  /** How many tensors have been made on it. */
  tensors: number;
  /** Storages made later have higher numbers. */
  readonly born: number;
}

/** More holders than there can be: what a storage gets that people can see. */
export const FOREVER = 2 ** 28;

let births = 0;
/** A number for a new storage. */
export function nextBirth(): number {
  return ++births;
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

/** A fold over one dimension; with `result: 'index'` the position at which the accumulator last changed. */
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

/** The numbers of one SGD update; see optim.SGD. */
export interface SgdRule {
  readonly lr: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
  /** Whether the optimizer's options have changed since. */
  readonly outdated?: () => boolean;
}

/** One parameter's turn in an SGD update. */
export interface SgdUpdate {
  readonly parameter: Storage;
  readonly gradient: Storage;
  /** null without momentum. */
  readonly velocity: Storage | null;
  /** Whether the velocity has no value yet. */
  readonly firstStep: boolean;
  /** Where only the device knows that: one number, 0 as long as no step was applied to the velocity, which is 0 then. */
  readonly started?: Storage | null;
}

/** Operations that can be run again. */
export interface Recording {
  /** What the recorded call gave. */
  readonly results: readonly Storage[];
  /** Whether it no longer stands for its function, because an optimizer has other options now. */
  outdated(): boolean;
  /** What the same operations give for inputs of the same sizes. */
  replay(inputs: readonly Storage[]): Storage[];
  /** Gives its memory back. */
  free(): void;
}

export type Floats = Float32Array | Float64Array;

export interface Backend {
  readonly device: Device;
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
  /** Puts the numbers of another of its storages into one, where that needs no host. */
  assign?(target: Storage, source: Storage): void;
  free(x: Storage): void;
  memory(): MemoryInfo;

  unary(kernel: UnaryKernel, x: Storage): Storage;
  binary(kernel: BinaryKernel, a: Storage, b: Storage, loops: LoopNest, size: number): Storage;
  /** Folds the middle of [outer, length, inner]. */
  reduce(kernel: ReduceKernel, x: Storage, outer: number, length: number, inner: number): Storage;
  matmul(plan: MatmulPlan, a: Storage, b: Storage, bias: Storage | null): Storage;
  /** Over the rows of [rows, cols]. */
  softmax(x: Storage, rows: number, cols: number, log: boolean): Storage;
  /** A contiguous copy of x read with the given strides (elements; 0 repeats). */
  copy(x: Storage, shape: readonly number[], strides: readonly number[]): Storage;
  /** out[r, :] = x[index[r], :] for x [.., width] and whole numbers of the host. Present where there is no readSync. */
  rows?(x: Storage, index: Int32Array, width: number): Storage;
  /** out[r] = x[r, index[r]] for x [rows, cols]. */
  pick(x: Storage, index: Storage, rows: number, cols: number): Storage;
  /** out[r, index[r]] = x[r], 0 elsewhere, for out [rows, cols]. */
  place(x: Storage, index: Storage, rows: number, cols: number): Storage;
  /**
   * Updates every `parameter` in place, and its `velocity` where there is momentum. Where there is no readSync, `guard`
   * holds one number, and everything keeps its bits unless that is 0; elsewhere the caller looks, and passes none.
   */
  sgd(rule: SgdRule, updates: readonly SgdUpdate[], guard?: Storage | null): void;
  /** One number: 0 if every number of every operand is finite, else NaN. */
  finite(operands: readonly Storage[]): Storage;
  /** scale Σ (a - b)², one number. */
  squaredError(a: Storage, b: Storage, scale: number): Storage;
  /** 2 scale g[0] (a - b). */
  squaredErrorGrad(a: Storage, b: Storage, g: Storage, scale: number): Storage;
  /** -log softmax(x)[r, index[r]] for every row of x [rows, cols]. */
  crossEntropy(x: Storage, index: Storage, rows: number, cols: number): Storage;
  /** g[0] scale (softmax(x) - onehot(index)) for x [rows, cols]. */
  crossEntropyGrad(x: Storage, index: Storage, g: Storage, rows: number, cols: number, scale: number): Storage;

  /**
   * Runs `fn` with copies of the inputs and notes what it calls, so that all of it can be run again in one submission, with
   * other inputs and on the present numbers of every other storage that it used. Absent where nothing is gained by it.
   * @param fn returns the results; only those and what it changes in place outlive it
   * @throws TapegradError for what cannot be noted: reads, numbers from the host, storages that are left behind
   */
  record?(inputs: readonly Storage[], fn: (inputs: readonly Storage[]) => readonly Storage[]): Recording;
  /** Why the device is gone, where it can be lost. */
  readonly lost?: string | null;
  /** How many threads may take part in one operation; absent where that is not for the host to say. */
  threads?: number;
}
