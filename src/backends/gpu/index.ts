import { binary, unary } from '../../../kernels/gpu/elementwise.js';
import { first, more, verdict } from '../../../kernels/gpu/finite.js';
import { GROUP, GROUP_SEGMENT } from '../../../kernels/gpu/groups.js';
import { cat, chains, gather, MOST_PARTS, scatter, scatterShared } from '../../../kernels/gpu/indexing.js';
import { copy, put, rows } from '../../../kernels/gpu/layout.js';
import { finish, locate, type Reduction, reduce } from '../../../kernels/gpu/reduce.js';
import { expRest, expRestGroups, logSoftmax, softmax } from '../../../kernels/gpu/softmax.js';
import { fail } from '../../errors.js';
import { collapse, type LoopNest, sizeOf, stridesOf } from '../../shape.js';
import type {
  Backend,
  BinaryKernel,
  DeviceInfo,
  FusedKernel,
  IndexPlan,
  MatmulPlan,
  ReduceKernel,
  UnaryKernel,
} from '../backend.js';
import type { Storage } from '../storage.js';
import type { Limits } from './capture/interfaces.js';
import { fused } from './fused.js';
import { IndexChecks } from './indices.js';
import type { Launcher } from './launcher.js';
import { type Argument, GpuMemory } from './memory.js';
import { type GroupLimits, plainProduct, type TileDevice, type Tiling, tiledProduct, tileFor } from './product.js';
import { type Mode, type Runtime, Unavailable } from './runtime.js';
import type { Cell, GpuStorage } from './storage.js';
import { WebGlRuntime } from './webgl.js';
import { WebGpuRuntime } from './webgpu.js';

const API: Record<Mode, string> = { webgpu: 'WebGPU', webgl2: 'WebGL2', headlessgl: 'WebGL without a window' };

const SOFTWARE = /swiftshader|llvmpipe|software/i;

/** Their numbers reach the device as float32. */
const MOST_ROWS = 2 ** 24;
/** How many numbers one thread reduces. */
const SEGMENT = 128;
/** How many threads look for numbers that are not finite. */
const MOST_WALKERS = 16384;
const MIN = 'x < acc ? x : acc';
const MAX = 'x > acc ? x : acc === acc ? (x === x ? acc : x) : acc';

/** gpu.js on the best of its ways to a GPU that works here. */
export class GpuBackend extends GpuMemory implements Backend, Launcher {
  readonly #indices = new IndexChecks(
    this,
    () => this.uncaptured(() => this.fill(1, 0) as GpuStorage),
    (handle) => this.runtime.errorOf(handle),
  );
  /** Which products are tiled. @internal */
  tiling: Tiling = 'by size';
  /** Which reductions of neighbours are made by workgroups; in software they are slower. @internal */
  groups: 'by size' | 'never' | 'always' = 'by size';
  /** Null where kernels have no shaders of their own. */
  readonly #tiles: TileDevice | null = null;

  private constructor(
    runtime: Runtime,
    private readonly obstacles: readonly Unavailable[],
  ) {
    super(runtime);
    if (runtime instanceof WebGpuRuntime) {
      const limits = runtime.device.limits as Limits & GroupLimits;
      this.#tiles = { limits, inSoftware: SOFTWARE.test(runtime.name) };
    }
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

  protected override get self(): Backend {
    return this;
  }

  info(): DeviceInfo {
    const { mode, name } = this.runtime;
    const missed = this.obstacles.map((o) => `${o.message}; `).join('');
    const slow = SOFTWARE.test(name) ? ', in software: the CPU is faster' : '';
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
    const reduced = this.stages(reduce(kernel.name, kernel.gpu), cell, outer, length, inner);
    if (kernel.result === 'index') {
      const parts = Math.ceil(length / SEGMENT);
      const positions = this.launch(locate, outer * parts * inner, [cell, length, inner, parts, SEGMENT, reduced]);
      const firsts = this.stages(reduce('argmax', MIN, 'first position'), positions, outer, parts, inner);
      return letGo(this.make(size, firsts), reduced, positions);
    }
    if (kernel.gpuFinish === undefined) return this.make(size, reduced);
    return letGo(this.run(finish(kernel.name, kernel.gpuFinish), size, reduced, length), reduced);
  }

  /** Reduces in stages until one number is left for each of the outer times inner. @internal */
  stages(kernel: Reduction, x: Cell, outer: number, length: number, inner: number): Cell {
    let cell = x.use();
    let left = length;
    do {
      const inGroups = inner === 1 && this.#groupsFor(left) ? kernel.inGroups() : null;
      const segment = inGroups === null ? SEGMENT : GROUP_SEGMENT;
      const parts = Math.ceil(left / segment);
      const next = this.launch(inGroups ?? kernel, outer * parts * inner, [cell, left, inner, parts, segment]);
      cell.release();
      cell = next;
      left = parts;
    } while (left > 1);
    return cell;
  }

  /** Whether a workgroup reduces so many neighbours. */
  #groupsFor(length: number): boolean {
    if (this.#tiles === null || this.groups === 'never') return false;
    return this.groups === 'always' || (length >= GROUP && !this.#tiles.inSoftware);
  }

  matmul(plan: MatmulPlan, a: Storage, b: Storage, bias: Storage | null): Storage {
    const { m, n, k, offsetsA, offsetsB } = plan;
    const tile = this.#tiles && tileFor(plan, this.#tiles, this.tiling);
    const hasBias = bias !== null;
    const { kernel, threads } =
      tile === null ? plainProduct(plan, hasBias, this.runtime.severalResults) : tiledProduct(plan, hasBias, tile);
    const whichA = Float32Array.from(offsetsA, (o) => o / (m * k));
    const whichB = Float32Array.from(offsetsB, (o) => o / (k * n));
    const operands = (bias ? [a, b, bias] : [a, b]).map((x) => this.present(x));
    return this.make(offsetsA.length * m * n, this.launch(kernel, threads, [...operands, whichA, whichB, m, n, k]));
  }

  /** The rows' maxima, and the sums of their other exponentials; see expRest. @internal */
  rowRests(x: Storage, rows: number, cols: number): [tops: Cell, rests: Cell] {
    const cell = this.present(x);
    const tops = this.stages(reduce('softmax', MAX, 'largest'), cell, rows, cols, 1);
    return [tops, this.launch(this.#groupsFor(cols) ? expRestGroups : expRest, rows, [cell, tops, cols])];
  }

  softmax(x: Storage, rows: number, cols: number, log: boolean): Storage {
    const [tops, rests] = this.rowRests(x, rows, cols);
    return letGo(this.run(log ? logSoftmax : softmax, x.size, x, tops, rests, cols), tops, rests);
  }

  copy(x: Storage, shape: readonly number[], strides: readonly number[], offset: number): Storage {
    const { sizes, a } = collapse(shape, strides, strides);
    return this.run(copy(sizes.length), sizeOf(shape), x, ...sizes.slice(1), ...a, offset);
  }

  put(target: Storage, source: Storage, shape: readonly number[], strides: readonly number[], offset: number): void {
    const from = this.present(source);
    const loops = collapse(shape, strides, stridesOf(shape));
    if (loops.sizes.length === 1 && loops.sizes[0] === target.size) {
      this.replace(target, this.orBefore(from, this.present(target)));
      return;
    }
    // The kernel finds a place by dividing by one stride after the other, the largest first.
    const order = loops.a.map((_, i) => i).sort((i, j) => loops.a[j] - loops.a[i]);
    const sorted = (values: readonly number[]) => order.map((i) => values[i]);
    const before = this.present(target);
    const args = [before, from, ...sorted(loops.sizes), ...sorted(loops.a), ...sorted(loops.b), offset];
    this.replace(target, this.launch(put(order.length), target.size, args, before));
  }

  rows(x: Storage, index: Int32Array, width: number): Storage {
    if (x.size / width > MOST_ROWS) fail('rows', `${x.size / width} rows`, `the GPU picks from ${MOST_ROWS} at most`);
    return this.run(rows, index.length * width, x, Float32Array.from(index), width);
  }

  cat(parts: readonly Storage[], outer: number, widths: readonly number[]): Storage {
    const total = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
    let cells = parts.map((x) => this.present(x).use());
    let sizes = widths;
    do {
      const next: Cell[] = [];
      const wider: number[] = [];
      for (let i = 0; i < cells.length; i += MOST_PARTS) {
        const some = cells.slice(i, i + MOST_PARTS);
        const ends = some.map((_, n) => total(sizes.slice(i, i + n + 1)));
        wider.push(ends[ends.length - 1]);
        next.push(this.launch(cat(some.length), outer * wider[wider.length - 1], [...some, ...ends]));
      }
      for (const cell of cells) cell.release();
      [cells, sizes] = [next, wider];
    } while (cells.length > 1);
    return this.make(outer * total(widths), cells[0]);
  }

  gather(x: Storage, index: Storage, { outer, length, inner, count, shared }: IndexPlan): Storage {
    return this.run(gather(shared), outer * count * inner, x, index, length, inner, count);
  }

  scatter(x: Storage, index: Storage, { outer, length, inner, count, shared }: IndexPlan): Storage {
    const size = outer * length * inner;
    if (!shared) return this.run(scatter, size, x, index, length, inner, count);
    const lists = this.launch(chains, length + count, [this.present(index), length, count]);
    return letGo(this.run(scatterShared, size, x, lists, length, inner, count), lists);
  }

  checkIndices(op: string, index: Storage, count: number): void {
    this.#indices.check(op, index as GpuStorage, count);
  }

  protected override complaint() {
    return this.#indices.take();
  }

  protected override complained() {
    this.#indices.told();
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
    const flag = this.stages(reduce('finite', MAX, 'largest flag'), flags!, 1, threads, 1);
    return letGo(this.run(verdict, 1, flag, Number.NaN), flag, flags!);
  }

  fused(
    kernel: FusedKernel,
    operands: readonly (Storage | null)[],
    size: number,
    bounds: readonly number[],
    numbers: readonly number[],
    guard: Storage | null,
  ): Storage | null {
    const run = fused[kernel.name];
    if (run === undefined) return null;
    const cell = run(this, { operands, size, bounds, numbers, guard });
    if (cell === undefined) return null;
    return cell === null ? operands[kernel.changes[0]] : this.make(size, cell);
  }
}

/** The result, when nothing else needs what was computed on the way. */
function letGo(out: GpuStorage, ...cells: Cell[]): GpuStorage {
  for (const cell of cells) cell.release();
  return out;
}
