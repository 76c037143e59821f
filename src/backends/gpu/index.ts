import { binary, scale, unary } from '../../../kernels/gpu/elementwise.js';
import { copy, fill, identity, pick, place } from '../../../kernels/gpu/layout.js';
import { crossEntropy, crossEntropyGrad, squaredErrorGrad } from '../../../kernels/gpu/loss.js';
import { MOST_PRODUCTS, MOST_THREADS, matmul } from '../../../kernels/gpu/matmul.js';
import * as optim from '../../../kernels/gpu/optim.js';
import { fold, locate } from '../../../kernels/gpu/reduce.js';
import { expSum, logSoftmax, softmax } from '../../../kernels/gpu/softmax.js';
import type { GpuKernel } from '../../../kernels/gpu/source.js';
import { fail, TapegradError } from '../../errors.js';
import { collapse, type LoopNest, sizeOf } from '../../shape.js';
import type {
  Backend,
  BinaryKernel,
  DeviceInfo,
  Floats,
  MatmulPlan,
  MemoryInfo,
  ReduceKernel,
  SgdRule,
  SgdUpdate,
  Storage,
  UnaryKernel,
} from '../backend.js';
import { type Mode, REMEDY, type Runtime, Unavailable } from './runtime.js';
import { Cell, GpuStorage, ownStorages } from './storage.js';
import { WebGlRuntime } from './webgl.js';
import { WebGpuRuntime } from './webgpu.js';

const API: Record<Mode, string> = { webgpu: 'WebGPU', webgl2: 'WebGL2', headlessgl: 'WebGL without a window' };

/** What kernels take. */
type Argument = Cell | Float32Array | number;

/** How many numbers one thread folds. */
const SEGMENT = 128;
const MIN = 'x < acc ? x : acc';
const MAX = 'x > acc ? x : acc === acc ? (x === x ? acc : x) : acc';

/**
 * gpu.js on WebGPU. Every call returns at once: a storage holds a promise of its numbers, and what needs them waits for it.
 * Reading is the only thing that anybody has to await.
 */
export class GpuBackend implements Backend {
  readonly device = 'gpu';

  /** What went wrong in a place that nobody awaits. */
  #failed: TapegradError | null = null;

  private constructor(
    private readonly runtime: Runtime,
    private readonly obstacles: readonly Unavailable[],
  ) {}

  /**
   * The first of gpu.js's ways to a GPU that works here.
   * @throws TapegradError that says what each of them lacks
   */
  static async start(modes: readonly Mode[] = ['webgpu', 'webgl2', 'headlessgl']): Promise<GpuBackend> {
    const obstacles: Unavailable[] = [];
    for (const mode of modes) {
      try {
        const runtime = await (mode === 'webgpu' ? WebGpuRuntime.start() : WebGlRuntime.start(mode));
        return new GpuBackend(runtime, obstacles);
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        obstacles.push(error);
      }
    }
    const [{ remedy }] = obstacles;
    fail('useDevice', obstacles.map((o, i) => `${modes[i]}: ${o.message}`).join('; '), remedy, { cause: obstacles[0] });
  }

  get lost(): string | null {
    return this.runtime.lost;
  }

  /** The bytes of the largest tensor. */
  get largest(): number {
    return this.runtime.largest;
  }

  /** How many kernels have been compiled; one for each operation and layout, not for each shape. */
  get compilations(): number {
    return this.runtime.compilations;
  }

  info(): DeviceInfo {
    const { mode, name } = this.runtime;
    const missed = this.obstacles.map((o) => `${o.message}; `).join('');
    const slow = /swiftshader|llvmpipe|software/i.test(name) ? ', in software: the CPU is faster' : '';
    return { type: 'gpu', backend: mode, name, reason: `${missed}${API[mode]} answers${slow}` };
  }

  /**
   * Queues a kernel and returns what will hold its result.
   * @param kept what stays in its place if that fails; whoever reads next learns why
   */
  #cell(kernel: GpuKernel, threads: number | number[], args: readonly Argument[], kept?: Cell): Cell {
    const cells = args.filter((a) => a instanceof Cell);
    for (const cell of cells) cell.use();
    kept?.use();
    const dimensions = typeof threads === 'number' ? [Math.max(threads, 1)] : threads;
    const launch = async () => {
      try {
        const ready = await Promise.all(args.map((a) => (a instanceof Cell ? a.handle : a)));
        return await this.runtime.run(kernel, dimensions, ready);
      } catch (cause) {
        const error = failure(kernel.op, cause);
        if (kept === undefined) throw error;
        this.#failed ??= error;
        return (await kept.handle).clone();
      } finally {
        for (const cell of cells) cell.release();
        kept?.release();
      }
    };
    return new Cell(launch(), kernel.op);
  }

  #run(kernel: GpuKernel, size: number, ...args: (Storage | Argument)[]): GpuStorage {
    const ready = args.map((a) => (a instanceof GpuStorage ? this.#cellOf(a) : (a as Argument)));
    return new GpuStorage(this, size, this.#cell(kernel, size, ready));
  }

  /** The numbers of a storage on the device, brought there if only the host had them. */
  #cellOf(storage: Storage): Cell {
    const x = storage as GpuStorage;
    if (x.freed) fail('storage', 'this storage has been freed', 'do not use a tensor after dispose()');
    x.cell ??= this.#cell(identity, x.size, [x.known as Float32Array]);
    return x.cell;
  }

  upload(values: ArrayLike<number>): Storage {
    // They go to the device when an operation first needs them there.
    const storage = new GpuStorage(this, values.length, null);
    storage.seen = { values: Float32Array.from(values), version: 0 };
    storage.own();
    return storage;
  }

  fill(size: number, value: number): Storage {
    const storage = this.#run(fill, size, value);
    storage.own();
    return storage;
  }

  write(target: Storage, values: ArrayLike<number>): void {
    const x = target as GpuStorage;
    const numbers = Float32Array.from(values);
    x.replace(this.#cell(identity, x.size, [numbers]));
    x.seen = { values: numbers, version: x.version };
  }

  assign(target: Storage, source: Storage): void {
    (target as GpuStorage).replace(this.#cellOf(source).use());
  }

  async read(x: Storage): Promise<Float32Array> {
    const storage = x as GpuStorage;
    const { version } = storage;
    const cell = this.#cellOf(storage).use();
    try {
      const values = await (await cell.handle).toArray();
      const error = this.#failed ?? (await this.runtime.takeFailure());
      this.#failed = null;
      if (error !== null) throw error;
      const numbers = x.size === values.length ? values : values.slice(0, x.size);
      // What can change in place is kept in mind: it is what is left of it should the device be lost.
      if (version > 0) storage.seen = { values: numbers.slice(), version };
      return numbers;
    } catch (cause) {
      throw failure(cell.op, this.runtime.lost ?? cause);
    } finally {
      cell.release();
    }
  }

  hostCopy(x: Storage): Floats | null {
    const storage = x as GpuStorage;
    if (storage.known !== null || this.runtime.lost === null || storage.seen === null) return storage.known;
    console.warn(
      `tapegrad: ${x.size} numbers were lost with the GPU (${this.runtime.lost}); going on with those that the host saw last`,
    );
    return storage.seen.values;
  }

  async fetchAll(): Promise<void> {
    const unknown = ownStorages(this).filter((x) => x.known === null && x.cell !== null);
    await Promise.all(
      unknown.map(async (x) => {
        const { version } = x;
        try {
          const values = await this.read(x);
          x.seen = { values, version };
        } catch {
          // It says so when it is asked for.
        }
      }),
    );
  }

  free(x: Storage): void {
    (x as GpuStorage).free();
  }

  memory(): MemoryInfo {
    return this.runtime.memory();
  }

  unary(kernel: UnaryKernel, x: Storage): Storage {
    return this.#run(unary(kernel.name, kernel.gpu), x.size, x);
  }

  binary(kernel: BinaryKernel, a: Storage, b: Storage, loops: LoopNest, size: number): Storage {
    const rank = loops.sizes.length;
    const nest = [...loops.sizes.slice(1), ...loops.a, ...loops.b];
    return this.#run(binary(kernel.name, kernel.gpu, rank), size, a, b, ...nest);
  }

  reduce(kernel: ReduceKernel, x: Storage, outer: number, length: number, inner: number): Storage {
    const size = outer * inner;
    const cell = this.#cellOf(x);
    const folded = this.#fold(fold(kernel.name, kernel.gpu), cell, outer, length, inner);
    if (kernel.result === 'index') {
      const parts = Math.ceil(length / SEGMENT);
      const positions = this.#cell(locate, outer * parts * inner, [cell, length, inner, parts, SEGMENT, folded]);
      const firsts = this.#fold(fold('argmax', MIN, 'least position'), positions, outer, parts, inner);
      return letGo(new GpuStorage(this, size, firsts), folded, positions);
    }
    const divisor = kernel.finish(1, length);
    if (divisor === 1) return new GpuStorage(this, size, folded);
    const out = this.#run(scale, size, folded, divisor);
    folded.release();
    return out;
  }

  /** Folds in stages until one number is left for each of the outer times inner. */
  #fold(kernel: GpuKernel, x: Cell, outer: number, length: number, inner: number): Cell {
    let cell = x.use();
    let left = length;
    do {
      const parts = Math.ceil(left / SEGMENT);
      const next = this.#cell(kernel, outer * parts * inner, [cell, left, inner, parts, SEGMENT]);
      cell.release();
      cell = next;
      left = parts;
    } while (left > 1);
    return cell;
  }

  matmul(plan: MatmulPlan, a: Storage, b: Storage, bias: Storage | null): Storage {
    const { m, n, k, transA, transB, relu, offsetsA, offsetsB } = plan;
    const columns = this.runtime.severalResults && n % 4 === 0 ? 4 : 1;
    const threads = [n / columns, m, offsetsA.length];
    const tooMany = Math.max(m, n / columns) > MOST_THREADS || offsetsA.length > MOST_PRODUCTS;
    const flat = tooMany || !this.runtime.severalResults;
    const kernel = matmul({ transA, transB, bias: bias !== null, relu, columns, flat });
    const whichA = Float32Array.from(offsetsA, (o) => o / (m * k));
    const whichB = Float32Array.from(offsetsB, (o) => o / (k * n));
    const operands = (bias ? [a, b, bias] : [a, b]).map((x) => this.#cellOf(x));
    const size = offsetsA.length * m * n;
    const cell = this.#cell(kernel, flat ? size / columns : threads, [...operands, whichA, whichB, m, n, k]);
    return new GpuStorage(this, size, cell);
  }

  /** The rows' maxima, and the sums of their exponentials. */
  #rowSums(x: Storage, rows: number, cols: number): [tops: Cell, sums: Cell] {
    const cell = this.#cellOf(x);
    const tops = this.#fold(fold('max', MAX), cell, rows, cols, 1);
    return [tops, this.#cell(expSum, rows, [cell, tops, cols])];
  }

  softmax(x: Storage, rows: number, cols: number, log: boolean): Storage {
    const [tops, sums] = this.#rowSums(x, rows, cols);
    return letGo(this.#run(log ? logSoftmax : softmax, x.size, x, tops, sums, cols), tops, sums);
  }

  copy(x: Storage, shape: readonly number[], strides: readonly number[]): Storage {
    const { sizes, a } = collapse(shape, strides, strides);
    return this.#run(copy(sizes.length), sizeOf(shape), x, ...sizes.slice(1), ...a);
  }

  pick(x: Storage, index: Storage, rows: number, cols: number): Storage {
    return this.#run(pick, rows, x, index, cols);
  }

  place(x: Storage, index: Storage, rows: number, cols: number): Storage {
    return this.#run(place, rows * cols, x, index, cols);
  }

  sgd(rule: SgdRule, updates: readonly SgdUpdate[]): void {
    const { lr, momentum, dampening, weightDecay } = rule;
    for (const { parameter, gradient, velocity, firstStep } of updates) {
      const [p, g] = [this.#cellOf(parameter), this.#cellOf(gradient)];
      const n = parameter.size;
      let next: Cell;
      if (velocity === null) {
        next = this.#cell(optim.plain, n, [p, g, lr, weightDecay], p);
      } else {
        const before = this.#cellOf(velocity);
        const v = firstStep
          ? this.#cell(optim.firstVelocity, n, [p, g, weightDecay], before)
          : this.#cell(optim.velocity, n, [p, g, before, weightDecay, momentum, dampening], before);
        next = rule.nesterov
          ? this.#cell(optim.nesterov, n, [p, g, v, lr, weightDecay, momentum], p)
          : this.#cell(optim.withMomentum, n, [p, v, lr], p);
        (velocity as GpuStorage).replace(v);
      }
      (parameter as GpuStorage).replace(next);
    }
  }

  squaredError(a: Storage, b: Storage, factor: number): Storage {
    const difference = binary('squared difference', '(a - b) * (a - b)', 1);
    const squares = this.#cell(difference, a.size, [this.#cellOf(a), this.#cellOf(b), 1, 1]);
    const sum = this.#fold(fold('sum', 'acc + x'), squares, 1, a.size, 1);
    return letGo(this.#run(scale, 1, sum, factor), squares, sum);
  }

  squaredErrorGrad(a: Storage, b: Storage, g: Storage, factor: number): Storage {
    return this.#run(squaredErrorGrad, a.size, a, b, g, factor);
  }

  crossEntropy(x: Storage, index: Storage, rows: number, cols: number): Storage {
    const [tops, sums] = this.#rowSums(x, rows, cols);
    return letGo(this.#run(crossEntropy, rows, x, index, tops, sums, cols), tops, sums);
  }

  crossEntropyGrad(x: Storage, index: Storage, g: Storage, rows: number, cols: number, factor: number): Storage {
    const [tops, sums] = this.#rowSums(x, rows, cols);
    return letGo(this.#run(crossEntropyGrad, x.size, x, index, g, tops, sums, cols, factor), tops, sums);
  }
}

/** An error of the device as one that names the operation; what was named before stays. */
function failure(op: string, cause: unknown): TapegradError {
  if (cause instanceof TapegradError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new TapegradError(op, `the GPU failed: ${message}`, REMEDY, { cause });
}

/** The result, when nothing else needs what was computed on the way. */
function letGo(out: GpuStorage, ...cells: Cell[]): GpuStorage {
  for (const cell of cells) cell.release();
  return out;
}
