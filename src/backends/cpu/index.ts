import { map, zip } from '../../../kernels/reference/elementwise.js';
import { reduce } from '../../../kernels/reference/reduce.js';
import { collapse, isBatch, type LoopNest, outerLoops, sizeOf } from '../../shape.js';
import type {
  Backend,
  BinaryKernel,
  DeviceInfo,
  EmbeddedKernels,
  FusedKernel,
  IndexPlan,
  MatmulPlan,
  MemoryInfo,
  ReduceKernel,
  UnaryKernel,
} from '../backend.js';
import type { Storage } from '../storage.js';
import { type Block, Rematerialization } from './block.js';
import { gemm } from './gemm.js';
import { Heap } from './heap.js';
import { gatherJob, scatterJob } from './jobs.js';
import { callWith, type KernelLibrary, Libraries } from './library.js';
import { MAX_THREADS, Pool } from './pool.js';
import { type Build, compile, instantiate, type Kernels } from './wasm.js';
import { MAX_ARGS } from './worker.js';

/** The address of the scratch space; the memory below belongs to the compiled module and to the pool. */
const RESERVED = 65536;

/** The number of elements from which an operation may be faster on several threads. */
const LARGE = 8192;

/** Nanoseconds for an element of a kernel that is limited by memory bandwidth. */
const CHEAP = 0.3;
const MAP_STEPS = [4, 4];

/** WebAssembly SIMD128 on all threads. A row without a kernel runs its scalar function on the same memory. */
export class CpuBackend implements Backend {
  readonly device = 'cpu';
  readonly type = 'float32';
  /** @internal */
  readonly pool: Pool;
  readonly #heap: Heap;
  readonly #kernels: Kernels;
  readonly #loaded = new Set<EmbeddedKernels>();
  readonly #libraries: Libraries;
  readonly #scratch = RESERVED;
  /** The arguments of the running fused kernel. */
  readonly #args: number[] = new Array<number>(MAX_ARGS).fill(0);

  /** @param libraries makers of libraries whose kernels are preferred to those of the build, given the heap's memory */
  constructor(
    private readonly build: Build,
    threads = 1,
    libraries: readonly ((memory: WebAssembly.Memory) => KernelLibrary)[] = [],
  ) {
    const { kernels, module, memory } = instantiate(build);
    this.#kernels = { ...kernels };
    this.#libraries = new Libraries(
      libraries.map((make) => make(memory)),
      { find: (name) => this.#kernels[name] },
      (library) => this.#load(library, memory),
    );
    this.#heap = new Heap(memory, RESERVED + kernels.gemm_scratch!(MAX_THREADS));
    this.pool = new Pool(this.#kernels, module, memory);
    this.pool.threads = threads;
  }

  /** Adds the kernels of a row that is called for the first time. */
  #load(library: EmbeddedKernels, memory: WebAssembly.Memory): void {
    if (this.#loaded.has(library)) return;
    this.#loaded.add(library);
    const { kernels, module } = compile(library, this.build, memory);
    Object.assign(this.#kernels, kernels);
    this.pool.add(Object.keys(kernels), module);
  }

  get threads(): number {
    return this.pool.threads;
  }

  set threads(n: number) {
    this.pool.threads = n;
  }

  info(): DeviceInfo {
    const { threads, obstacle } = this.pool;
    const simd = {
      'wasm-relaxed-simd': 'WebAssembly SIMD with fused multiply-add is available',
      'wasm-simd': 'WebAssembly SIMD is available, without fused multiply-add',
    }[this.build];
    const name = threads === 1 ? 'one CPU thread' : `${threads} CPU threads`;
    return {
      type: 'cpu',
      backend: this.build,
      name,
      reason: obstacle === null ? simd : `${simd}; one thread, because ${obstacle}`,
    };
  }

  /** Begins an operation on up to three operands and allocates its result. */
  #out(size: number, a?: Storage, b?: Storage, c?: Storage | null): Block {
    this.#heap.begin(a as Block, b as Block, c as Block);
    return this.#heap.alloc(this, size);
  }

  #at(x: Storage): number {
    return this.#heap.pointer(x as Block);
  }

  upload(values: ArrayLike<number>): Storage {
    const out = this.#out(values.length);
    this.#heap.view(out).set(values);
    return out;
  }

  fill(size: number, value: number): Storage {
    const out = this.#out(size);
    const from = this.#at(out) >>> 2;
    this.#heap.floats.fill(value, from, from + size);
    return out;
  }

  write(target: Storage, values: ArrayLike<number>): void {
    this.#heap.begin();
    this.#heap.change(target as Block);
    this.#heap.view(target as Block).set(values);
    target.version++;
  }

  readSync(x: Storage): Float32Array {
    this.#heap.begin();
    return this.#heap.copyOut(x as Block);
  }

  async read(x: Storage): Promise<Float32Array> {
    return this.readSync(x);
  }

  free(x: Storage): void {
    this.#heap.free(x as Block);
  }

  memory(): MemoryInfo {
    return this.#heap.info();
  }

  unary(kernel: UnaryKernel, x: Storage): Storage {
    const out = this.#out(x.size, x);
    this.#unary(kernel, x, out);
    if (x.size >= LARGE && this.#libraries.find('unary', kernel) !== null) {
      out.recompute = new Rematerialization([x as Block], (again, [x]) => this.#unary(kernel, x, again));
    }
    return out;
  }

  #unary(kernel: UnaryKernel, x: Storage, out: Block): void {
    const found = this.#libraries.find('unary', kernel);
    if (found === null) this.#scalar([x], out, (o, a) => map(kernel.f, a, o, x.size));
    else if (x.size < LARGE || !found.shared) found.run(this.#at(x), this.#at(out), x.size);
    else {
      const args = [this.#at(x), this.#at(out), x.size];
      const cost = kernel.cost ?? CHEAP;
      this.pool.run({ kernel: found.name, args, perUnit: MAP_STEPS, counted: 2, units: x.size, grain: 1024, cost });
    }
  }

  binary(kernel: BinaryKernel, a: Storage, b: Storage, loops: LoopNest, size: number): Storage {
    const out = this.#out(size, a, b);
    this.#binary(kernel, a, b, loops, out);
    if (size >= LARGE && a.size + b.size <= 2 * size && this.#libraries.find('binary', kernel) !== null) {
      out.recompute = new Rematerialization([a as Block, b as Block], (again, [a, b]) =>
        this.#binary(kernel, a, b, loops, again),
      );
    }
    return out;
  }

  #binary(kernel: BinaryKernel, a: Storage, b: Storage, loops: LoopNest, out: Block): void {
    const found = this.#libraries.find('binary', kernel);
    if (found === null) {
      this.#scalar([a, b], out, (o, x, y) => zip(kernel.f, x, y, o, loops.sizes, loops.a, loops.b));
      return;
    }
    const { name, run, shared } = found;
    const pa = this.#at(a);
    const pb = this.#at(b);
    const po = this.#at(out);
    const i = loops.sizes.length - 1;
    const inner = loops.sizes[i];
    const sa = loops.a[i];
    const sb = loops.b[i];
    if (i === 0) {
      if (inner < LARGE || !shared) {
        run(pa, pb, po, 1, inner, 0, sa, 0, sb);
      } else {
        const args = [pa, pb, po, 1, inner, 0, sa, 0, sb];
        const perUnit = [sa * 4, sb * 4, 4];
        this.pool.run({ kernel: name, args, perUnit, counted: 4, units: inner, grain: 1024, cost: CHEAP });
      }
      return;
    }
    const outer = loops.sizes[i - 1];
    const oa = loops.a[i - 1];
    const ob = loops.b[i - 1];
    outerLoops(loops, (ia, ib, n) => {
      const args = [pa + ia * 4, pb + ib * 4, po + n * outer * inner * 4, outer, inner, oa, sa, ob, sb];
      if (!shared) {
        run(...args);
        return;
      }
      const perUnit = [oa * 4, ob * 4, inner * 4];
      this.pool.run({ kernel: name, args, perUnit, counted: 3, units: outer, grain: 1, cost: CHEAP * inner });
    });
  }

  reduce(kernel: ReduceKernel, x: Storage, outer: number, length: number, inner: number): Storage {
    const out = this.#out(outer * inner, x);
    const found = this.#libraries.find('reduce', kernel);
    if (found === null) this.#scalar([x], out, (o, a) => reduce(kernel, a, o, outer, length, inner));
    else if (outer === 1 || x.size < LARGE || !found.shared) {
      found.run(this.#at(x), this.#at(out), outer, length, inner);
    } else {
      const args = [this.#at(x), this.#at(out), outer, length, inner];
      const perUnit = [length * inner * 4, inner * 4];
      const cost = CHEAP * length * inner;
      this.pool.run({ kernel: found.name, args, perUnit, counted: 2, units: outer, grain: 1, cost });
    }
    return out;
  }

  matmul(plan: MatmulPlan, a: Storage, b: Storage, bias: Storage | null): Storage {
    const { m, n, offsetsA, offsetsB } = plan;
    const out = this.#out(offsetsA.length * m * n, a, b, bias);
    const pa = this.#at(a);
    const pb = this.#at(b);
    const po = this.#at(out);
    const pBias = bias ? this.#at(bias) : 0;
    for (let i = 0; i < offsetsA.length; i++) {
      const to = po + i * m * n * 4;
      gemm(this.#kernels, this.pool, plan, pa + offsetsA[i] * 4, pb + offsetsB[i] * 4, to, pBias, this.#scratch);
    }
    return out;
  }

  softmax(x: Storage, rows: number, cols: number, log: boolean): Storage {
    const out = this.#out(x.size, x);
    const run = (out: Block, [x]: readonly Block[]) => {
      const args = [this.#at(x), this.#at(out), rows, cols];
      this.#rows(log ? 'logSoftmax' : 'softmax', args, [cols * 4, cols * 4], 2, rows, cols);
    };
    run(out, [x as Block]);
    if (x.size >= LARGE) out.recompute = new Rematerialization([x as Block], run);
    return out;
  }

  /**
   * Kernels take the addresses of the operands (0 for one that is left out), that of the result where there is one, the loop
   * bounds and the other numbers.
   */
  fused(
    kernel: FusedKernel,
    operands: readonly (Storage | null)[],
    size: number,
    bounds: readonly number[],
    numbers: readonly number[],
  ): Storage | null {
    const found = this.#libraries.find('fused', kernel);
    if (found === null) {
      const { host } = kernel;
      if (host === undefined) return null;
      const out = this.#out(size, operands[0]!, operands[1]!);
      this.#scalar(operands as Storage[], out, (o, ...given) => host(o, given, bounds, numbers));
      return out;
    }
    const { changes } = kernel;
    const heap = this.#heap;
    const blocks = operands as readonly (Block | null)[];
    const n = blocks.length;
    heap.begin(blocks[0], blocks[1], blocks[2]);
    for (let i = 3; i < n; i++) if (blocks[i] !== null) heap.pointer(blocks[i]!);
    const out = size > 0 ? heap.alloc(this, size) : null;
    for (let i = 0; i < changes.length; i++) {
      const block = blocks[changes[i]];
      if (block != null) {
        heap.change(block);
        block.version++;
      }
    }
    const args = this.#args;
    let filled = 0;
    for (let i = 0; i < n; i++) args[filled++] = blocks[i] === null ? 0 : heap.pointer(blocks[i]!);
    if (out !== null) args[filled++] = heap.pointer(out);
    const counted = filled;
    for (let i = 0; i < bounds.length; i++) args[filled++] = bounds[i];
    for (let i = 0; i < numbers.length; i++) args[filled++] = numbers[i];
    const steps = (blocks[0] ?? out)!.size < LARGE || !found.shared ? null : kernel.steps(bounds);
    // WebAssembly ignores arguments beyond those that a function takes.
    if (steps === null) callWith(found.run, args);
    else {
      this.pool.run({
        kernel: found.name,
        args: args.slice(0, filled),
        perUnit: steps.slice(0, counted).map((s) => 4 * s),
        counted,
        units: bounds[0],
        grain: bounds.length === 1 ? 1024 : 1,
        cost: kernel.cost(bounds),
      });
    }
    return out ?? blocks[changes[0]];
  }

  /** Runs a kernel whose rows each need some exponentials. */
  #rows(kernel: string, args: number[], perUnit: readonly number[], counted: number, rows: number, cols: number): void {
    if (rows * cols < LARGE) this.#kernels[kernel]!(...args);
    else this.pool.run({ kernel, args, perUnit, counted, units: rows, grain: 1, cost: 1.2 * cols });
  }

  copy(x: Storage, shape: readonly number[], strides: readonly number[], offset: number): Storage {
    const out = this.#out(sizeOf(shape), x);
    const px = this.#at(x) + 4 * offset;
    const po = this.#at(out);
    const loops = collapse(shape, strides, strides);
    const { sizes, a: step } = loops;
    const i = sizes.length - 1;
    if (i >= 1 && step[i - 1] === 1 && step[i] === sizes[i - 1] && isBatch(sizes, step)) {
      this.#kernels.transpose!(px, po, sizeOf(sizes) / (sizes[i] * sizes[i - 1]), sizes[i], sizes[i - 1]);
      return out;
    }
    const outer = i > 0 ? sizes[i - 1] : 1;
    outerLoops(loops, (from, _, n) => {
      const to = po + n * outer * sizes[i] * 4;
      this.#kernels.copy!(px + from * 4, to, outer, sizes[i], i > 0 ? step[i - 1] : 0, step[i]);
    });
    return out;
  }

  put(target: Storage, source: Storage, shape: readonly number[], strides: readonly number[], offset: number): void {
    this.#heap.begin(target as Block, source as Block);
    // The source first: bringing it back may evict results that are recomputed from the target's present values.
    const from = this.#at(source);
    const to = this.#heap.change(target as Block) + 4 * offset;
    target.version++;
    const { sizes, a: steps } = collapse(shape, strides, strides);
    const i = sizes.length - 1;
    const [outer, step] = i > 0 ? [sizes[i - 1], steps[i - 1]] : [1, 0];
    outerLoops({ sizes, a: steps, b: steps }, (at, _, n) => {
      this.#kernels.put!(from + n * outer * sizes[i] * 4, to + at * 4, outer, sizes[i], step, steps[i]);
    });
  }

  cat(parts: readonly Storage[], outer: number, widths: readonly number[]): Storage {
    const width = widths.reduce((a, b) => a + b);
    const out = this.#out(outer * width);
    let to = this.#at(out);
    for (let i = 0; i < parts.length; to += 4 * widths[i++])
      this.#kernels.put!(this.#at(parts[i]), to, outer, widths[i], width, 1);
    return out;
  }

  gather(x: Storage, index: Storage, plan: IndexPlan): Storage {
    const out = this.#out(plan.outer * plan.count * plan.inner, x, index);
    this.pool.run(gatherJob(this.#at(x), this.#at(index), this.#at(out), plan));
    return out;
  }

  scatter(x: Storage, index: Storage, plan: IndexPlan): Storage {
    const out = this.#out(plan.outer * plan.length * plan.inner, x, index);
    this.pool.run(scatterJob(this.#at(x), this.#at(index), this.#at(out), plan));
    return out;
  }

  /** Holds a storage at an address in the heap's memory until it is unpinned as often. @internal */
  pin(x: Storage): number {
    return this.#heap.pin(x as Block);
  }

  /** @internal */
  unpin(x: Storage): void {
    this.#heap.unpin(x as Block);
  }

  finite(operands: readonly Storage[]): Storage {
    let verdict = 0;
    for (let i = 0; i < operands.length && verdict === 0; i++) {
      this.#heap.begin(operands[i] as Block);
      verdict = this.#kernels.finite!(this.#at(operands[i]), operands[i].size);
    }
    return this.fill(1, verdict);
  }

  /** Runs a scalar loop over the operands in the WebAssembly memory. */
  #scalar(inputs: Storage[], out: Block, loop: (out: Float32Array, ...inputs: Float32Array[]) => void): void {
    // Restoring an operand can grow the memory, which detaches every view: restore all of them first.
    for (const x of inputs) this.#at(x);
    loop(this.#heap.view(out), ...inputs.map((x) => this.#heap.view(x as Block)));
  }
}
