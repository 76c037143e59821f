import { binary, scale, unary } from '../../../kernels/gpu/elementwise.js';
import { first, more, verdict } from '../../../kernels/gpu/finite.js';
import { copy, fill, pick, place, rows } from '../../../kernels/gpu/layout.js';
import { crossEntropy, crossEntropyGrad, squaredErrorGrad } from '../../../kernels/gpu/loss.js';
import { MOST_PRODUCTS, MOST_THREADS, matmul } from '../../../kernels/gpu/matmul.js';
import * as optim from '../../../kernels/gpu/optim.js';
import { finish, fold, locate } from '../../../kernels/gpu/reduce.js';
import { expRest, logSoftmax, softmax } from '../../../kernels/gpu/softmax.js';
import type { GpuKernel } from '../../../kernels/gpu/source.js';
import { fail } from '../../errors.js';
import { collapse, type LoopNest, sizeOf } from '../../shape.js';
import type {
  Backend,
  BinaryKernel,
  DeviceInfo,
  MatmulPlan,
  ReduceKernel,
  SgdRule,
  SgdUpdate,
  Storage,
  UnaryKernel,
} from '../backend.js';
import { type Argument, GpuMemory } from './memory.js';
import { type Mode, type Runtime, Unavailable } from './runtime.js';
import type { Cell, GpuStorage } from './storage.js';
import { WebGlRuntime } from './webgl.js';
import { WebGpuRuntime } from './webgpu.js';

const API: Record<Mode, string> = { webgpu: 'WebGPU', webgl2: 'WebGL2', headlessgl: 'WebGL without a window' };

/** Their numbers reach the device as float32. */
const MOST_ROWS = 2 ** 24;
/** How many numbers one thread folds. */
const SEGMENT = 128;
/** How many threads look for numbers that are not finite. */
const MOST_WALKERS = 16384;
const MIN = 'x < acc ? x : acc';
const MAX = 'x > acc ? x : acc === acc ? (x === x ? acc : x) : acc';

/** gpu.js on the best of its ways to a GPU that works here. */
export class GpuBackend extends GpuMemory implements Backend {
  private constructor(
    runtime: Runtime,
    private readonly obstacles: readonly Unavailable[],
  ) {
    super(runtime);
  }

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

  info(): DeviceInfo {
    const { mode, name } = this.runtime;
    const missed = this.obstacles.map((o) => `${o.message}; `).join('');
    const slow = /swiftshader|llvmpipe|software/i.test(name) ? ', in software: the CPU is faster' : '';
    return { type: 'gpu', backend: mode, name, reason: `${missed}${API[mode]} answers${slow}` };
  }

  unary(kernel: UnaryKernel, x: Storage): Storage {
    return this.run(unary(kernel.name, kernel.gpu), x.size, x);
  }

  binary(kernel: BinaryKernel, a: Storage, b: Storage, loops: LoopNest, size: number): Storage {
    const rank = loops.sizes.length;
    const nest = [...loops.sizes.slice(1), ...loops.a, ...loops.b];
    return this.run(binary(kernel.name, kernel.gpu, rank), size, a, b, ...nest);
  }

  reduce(kernel: ReduceKernel, x: Storage, outer: number, length: number, inner: number): Storage {
    const size = outer * inner;
    const cell = this.present(x);
    const folded = this.#fold(fold(kernel.name, kernel.gpu), cell, outer, length, inner);
    if (kernel.result === 'index') {
      const parts = Math.ceil(length / SEGMENT);
      const positions = this.launch(locate, outer * parts * inner, [cell, length, inner, parts, SEGMENT, folded]);
      const firsts = this.#fold(fold('argmax', MIN, 'first position'), positions, outer, parts, inner);
      return letGo(this.make(size, firsts), folded, positions);
    }
    if (kernel.gpuFinish === undefined) return this.make(size, folded);
    return letGo(this.run(finish(kernel.name, kernel.gpuFinish), size, folded, length), folded);
  }

  /** Folds in stages until one number is left for each of the outer times inner. */
  #fold(kernel: GpuKernel, x: Cell, outer: number, length: number, inner: number): Cell {
    let cell = x.use();
    let left = length;
    do {
      const parts = Math.ceil(left / SEGMENT);
      const next = this.launch(kernel, outer * parts * inner, [cell, left, inner, parts, SEGMENT]);
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
    const operands = (bias ? [a, b, bias] : [a, b]).map((x) => this.present(x));
    const size = offsetsA.length * m * n;
    const cell = this.launch(kernel, flat ? size / columns : threads, [...operands, whichA, whichB, m, n, k]);
    return this.make(size, cell);
  }

  /** The rows' maxima, and the sums of the other exponentials; see expRest. */
  #rowRests(x: Storage, rows: number, cols: number): [tops: Cell, rests: Cell] {
    const cell = this.present(x);
    const tops = this.#fold(fold('softmax', MAX, 'largest'), cell, rows, cols, 1);
    return [tops, this.launch(expRest, rows, [cell, tops, cols])];
  }

  softmax(x: Storage, rows: number, cols: number, log: boolean): Storage {
    const [tops, rests] = this.#rowRests(x, rows, cols);
    return letGo(this.run(log ? logSoftmax : softmax, x.size, x, tops, rests, cols), tops, rests);
  }

  copy(x: Storage, shape: readonly number[], strides: readonly number[]): Storage {
    const { sizes, a } = collapse(shape, strides, strides);
    return this.run(copy(sizes.length), sizeOf(shape), x, ...sizes.slice(1), ...a);
  }

  rows(x: Storage, index: Int32Array, width: number): Storage {
    if (x.size / width > MOST_ROWS) fail('rows', `${x.size / width} rows`, `the GPU picks from ${MOST_ROWS} at most`);
    return this.run(rows, index.length * width, x, Float32Array.from(index), width);
  }

  pick(x: Storage, index: Storage, rows: number, cols: number): Storage {
    return this.run(pick, rows, x, index, cols);
  }

  place(x: Storage, index: Storage, rows: number, cols: number): Storage {
    return this.run(place, rows * cols, x, index, cols);
  }

  sgd(rule: SgdRule, updates: readonly SgdUpdate[], guard: Storage | null = null): void {
    const { lr, momentum, weightDecay, nesterov } = rule;
    this.noteRule(rule);
    const by = guard && this.present(guard);
    for (const update of updates) {
      const { parameter, gradient, velocity } = update;
      const [p, g] = [this.present(parameter), this.present(gradient)];
      const args: Argument[] = [p, g, weightDecay];
      let kernel = optim.plain;
      if (velocity !== null) {
        const v = this.#velocity(rule, update, velocity, args, by);
        this.put(velocity, v);
        args.push(v);
        kernel = nesterov ? optim.nesterov : optim.withMomentum;
      }
      args.push(lr);
      if (velocity !== null && nesterov) args.push(momentum);
      this.put(parameter, this.#guarded(kernel, parameter.size, args, p, by));
    }
  }

  /** Runs the guarded twin of a kernel where there is a guard; `kept` is what stays if it fails. */
  #guarded(kernel: optim.Step, size: number, args: readonly Argument[], kept: Cell, guard: Cell | null): Cell {
    if (guard === null) return this.launch(kernel.plain, size, args, kept);
    return this.launch(kernel.guarded, size, [...args, guard], kept);
  }

  /** The next velocity; `args` are the arguments that all kernels begin with. */
  #velocity(
    { momentum, dampening }: SgdRule,
    { firstStep, started }: SgdUpdate,
    velocity: Storage,
    args: readonly Argument[],
    guard: Cell | null,
  ): Cell {
    if (firstStep) this.adopt(velocity);
    const before = this.present(velocity);
    if (!started) {
      const kept = firstStep ? [0, 0] : [momentum, dampening];
      return this.#guarded(optim.velocity, velocity.size, [...args, before, ...kept], before, guard);
    }
    this.adopt(started);
    const flag = this.present(started);
    const given = [...args, before, momentum, dampening, flag];
    const next = this.#guarded(optim.startingVelocity, velocity.size, given, before, guard);
    const after = guard === null ? this.launch(fill, 1, [1], flag) : this.launch(optim.start, 1, [guard, flag], flag);
    this.put(started, after);
    return next;
  }

  finite(operands: readonly Storage[]): Storage {
    const threads = Math.min(MOST_WALKERS, Math.ceil(Math.max(...operands.map((x) => x.size)) / 8));
    let flags: Cell | null = null;
    for (const x of operands) {
      const args: Argument[] = [this.present(x), x.size, threads, Math.ceil(x.size / threads)];
      const next: Cell =
        flags === null ? this.launch(first, threads, args) : this.launch(more, threads, [...args, flags]);
      flags?.release();
      flags = next;
    }
    const flag = this.#fold(fold('finite', MAX, 'largest flag'), flags!, 1, threads, 1);
    return letGo(this.run(verdict, 1, flag, Number.NaN), flag, flags!);
  }

  squaredError(a: Storage, b: Storage, factor: number): Storage {
    const difference = binary('squaredError', '(a - b) * (a - b)', 1);
    const squares = this.launch(difference, a.size, [this.present(a), this.present(b), 1, 1]);
    const sum = this.#fold(fold('squaredError', 'acc + x', 'sum'), squares, 1, a.size, 1);
    return letGo(this.run(scale, 1, sum, factor), squares, sum);
  }

  squaredErrorGrad(a: Storage, b: Storage, g: Storage, factor: number): Storage {
    return this.run(squaredErrorGrad, a.size, a, b, g, factor);
  }

  crossEntropy(x: Storage, index: Storage, rows: number, cols: number): Storage {
    const [tops, rests] = this.#rowRests(x, rows, cols);
    return letGo(this.run(crossEntropy, rows, x, index, tops, rests, cols), tops, rests);
  }

  crossEntropyGrad(x: Storage, index: Storage, g: Storage, rows: number, cols: number, factor: number): Storage {
    const [tops, rests] = this.#rowRests(x, rows, cols);
    return letGo(this.run(crossEntropyGrad, x.size, x, index, g, tops, rests, cols, factor), tops, rests);
  }
}

/** The result, when nothing else needs what was computed on the way. */
function letGo(out: GpuStorage, ...cells: Cell[]): GpuStorage {
  for (const cell of cells) cell.release();
  return out;
}
