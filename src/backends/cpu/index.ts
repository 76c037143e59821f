import { map, zip } from '../../../kernels/reference/elementwise.js';
import { pick, place } from '../../../kernels/reference/layout.js';
import { reduce } from '../../../kernels/reference/reduce.js';
import { collapse, type LoopNest, outerLoops, sizeOf, stridesOf } from '../../shape.js';
import type {
  Backend,
  BinaryKernel,
  DeviceInfo,
  MatmulPlan,
  MemoryInfo,
  ReduceKernel,
  SgdRule,
  SgdUpdate,
  Storage,
  UnaryKernel,
} from '../backend.js';
import { type Block, Recipe } from './block.js';
import { gemm } from './gemm.js';
import { Heap } from './heap.js';
import { MAX_THREADS, Pool } from './pool.js';
import { type Build, instantiate, type Kernels } from './wasm.js';

/** Where the scratch space begins: what lies below belongs to the compiled module and to the pool. */
const RESERVED = 65536;

/** Elements from which on an operation may be worth several threads. */
const LARGE = 8192;

/** Nanoseconds an element takes in kernels that are slower than memory. */
const COST: { readonly [kernel: string]: number } = { exp: 1, log: 1.5, tanh: 2, sigmoid: 1.5 };
const CHEAP = 0.3;
const MAP_STEPS = [4, 4];
const SGD_STEPS = [4, 4, 4];

/**
 * WebAssembly SIMD128 on as many threads as there are. A row that has no kernel of its own runs its scalar function over
 * the same memory.
 */
export class CpuBackend implements Backend {
  readonly device = 'cpu';
  /** @internal */
  readonly pool: Pool;
  readonly #heap: Heap;
  readonly #kernels: Kernels;
  readonly #scratch = RESERVED;

  constructor(
    private readonly build: Build,
    threads = 1,
  ) {
    const { kernels, module, memory } = instantiate(build);
    this.#kernels = kernels;
    this.#heap = new Heap(memory, RESERVED + kernels.gemm_scratch!(MAX_THREADS));
    this.pool = new Pool(kernels, module, memory);
    this.pool.threads = threads;
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
    if (x.size >= LARGE && this.#kernels[`unary_${kernel.name}`]) {
      out.recipe = new Recipe([x as Block], (again, [x]) => this.#unary(kernel, x, again));
    }
    return out;
  }

  #unary(kernel: UnaryKernel, x: Storage, out: Block): void {
    const name = `unary_${kernel.name}`;
    const run = this.#kernels[name];
    if (!run) this.#scalar([x], out, (o, a) => map(kernel.f, a, o, x.size));
    else if (x.size < LARGE) run(this.#at(x), this.#at(out), x.size);
    else {
      const args = [this.#at(x), this.#at(out), x.size];
      const cost = COST[kernel.name] ?? CHEAP;
      this.pool.run({ kernel: name, args, perUnit: MAP_STEPS, counted: 2, units: x.size, grain: 1024, cost });
    }
  }

  binary(kernel: BinaryKernel, a: Storage, b: Storage, loops: LoopNest, size: number): Storage {
    const out = this.#out(size, a, b);
    this.#binary(kernel, a, b, loops, out);
    if (size >= LARGE && a.size + b.size <= 2 * size && this.#kernels[`binary_${kernel.name}`]) {
      out.recipe = new Recipe([a as Block, b as Block], (again, [a, b]) => this.#binary(kernel, a, b, loops, again));
    }
    return out;
  }

  #binary(kernel: BinaryKernel, a: Storage, b: Storage, loops: LoopNest, out: Block): void {
    const name = `binary_${kernel.name}`;
    const run = this.#kernels[name];
    if (!run) {
      this.#scalar([a, b], out, (o, x, y) => zip(kernel.f, x, y, o, loops.sizes, loops.a, loops.b));
      return;
    }
    const pa = this.#at(a);
    const pb = this.#at(b);
    const po = this.#at(out);
    const i = loops.sizes.length - 1;
    const inner = loops.sizes[i];
    const sa = loops.a[i];
    const sb = loops.b[i];
    if (i === 0) {
      const args = [pa, pb, po, 1, inner, 0, sa, 0, sb];
      if (inner < LARGE) {
        run(...args);
      } else {
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
      const perUnit = [oa * 4, ob * 4, inner * 4];
      this.pool.run({ kernel: name, args, perUnit, counted: 3, units: outer, grain: 1, cost: CHEAP * inner });
    });
  }

  reduce(kernel: ReduceKernel, x: Storage, outer: number, length: number, inner: number): Storage {
    const out = this.#out(outer * inner, x);
    const name = `reduce_${kernel.name}`;
    const run = this.#kernels[name];
    if (!run) this.#scalar([x], out, (o, a) => reduce(kernel, a, o, outer, length, inner));
    else if (outer === 1 || x.size < LARGE) run(this.#at(x), this.#at(out), outer, length, inner);
    else {
      const args = [this.#at(x), this.#at(out), outer, length, inner];
      const perUnit = [length * inner * 4, inner * 4];
      this.pool.run({ kernel: name, args, perUnit, counted: 2, units: outer, grain: 1, cost: CHEAP * length * inner });
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
    if (x.size >= LARGE) out.recipe = new Recipe([x as Block], run);
    return out;
  }

  squaredError(a: Storage, b: Storage, scale: number): Storage {
    const out = this.#out(1, a, b);
    this.#kernels.squaredError!(this.#at(a), this.#at(b), this.#at(out), a.size, scale);
    return out;
  }

  squaredErrorGrad(a: Storage, b: Storage, g: Storage, scale: number): Storage {
    const out = this.#out(a.size, a, b, g);
    this.#kernels.squaredErrorGrad!(this.#at(a), this.#at(b), this.#at(g), this.#at(out), a.size, scale);
    return out;
  }

  crossEntropy(x: Storage, index: Storage, rows: number, cols: number): Storage {
    const out = this.#out(rows, x, index);
    const args = [this.#at(x), this.#at(index), this.#at(out), rows, cols];
    this.#rows('crossEntropy', args, [cols * 4, 4, 4], 3, rows, cols);
    return out;
  }

  crossEntropyGrad(x: Storage, index: Storage, g: Storage, rows: number, cols: number, scale: number): Storage {
    const out = this.#out(x.size, x, index, g);
    const args = [this.#at(x), this.#at(index), this.#at(g), this.#at(out), rows, cols, scale];
    this.#rows('crossEntropyGrad', args, [cols * 4, 4, 0, cols * 4], 4, rows, cols);
    return out;
  }

  /** Runs a kernel whose rows each need some exponentials. */
  #rows(kernel: string, args: number[], perUnit: readonly number[], counted: number, rows: number, cols: number): void {
    if (rows * cols < LARGE) this.#kernels[kernel]!(...args);
    else this.pool.run({ kernel, args, perUnit, counted, units: rows, grain: 1, cost: 1.2 * cols });
  }

  copy(x: Storage, shape: readonly number[], strides: readonly number[]): Storage {
    const out = this.#out(sizeOf(shape), x);
    const px = this.#at(x);
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

  pick(x: Storage, index: Storage, rows: number, cols: number): Storage {
    const out = this.#out(rows, x, index);
    this.#scalar([x, index], out, (o, a, at) => pick(a, at, o, rows, cols));
    return out;
  }

  place(x: Storage, index: Storage, rows: number, cols: number): Storage {
    const out = this.#out(rows * cols, x, index);
    this.#scalar([x, index], out, (o, a, at) => place(a, at, o, rows, cols));
    return out;
  }

  sgd(rule: SgdRule, updates: readonly SgdUpdate[]): void {
    const { lr, dampening, weightDecay } = rule;
    const nesterov = rule.nesterov ? 1 : 0;
    for (let i = 0; i < updates.length; i++) {
      const { parameter, gradient, velocity, firstStep } = updates[i];
      this.#heap.begin(parameter as Block, gradient as Block, velocity as Block | null);
      const p = this.#heap.change(parameter as Block);
      const g = this.#at(gradient);
      const v = velocity ? this.#heap.change(velocity as Block) : 0;
      const momentum = velocity ? rule.momentum : 0;
      const n = parameter.size;
      if (n < LARGE) {
        this.#kernels.sgd!(p, g, v, n, lr, momentum, dampening, weightDecay, nesterov, firstStep ? 1 : 0);
      } else {
        const args = [p, g, v, n, lr, momentum, dampening, weightDecay, nesterov, firstStep ? 1 : 0];
        this.pool.run({ kernel: 'sgd', args, perUnit: SGD_STEPS, counted: 3, units: n, grain: 1024, cost: CHEAP });
      }
      parameter.version++;
      if (velocity) velocity.version++;
    }
  }

  finite(operands: readonly Storage[]): Storage {
    let verdict = 0;
    for (let i = 0; i < operands.length && verdict === 0; i++) {
      this.#heap.begin(operands[i] as Block);
      verdict = this.#kernels.finite!(this.#at(operands[i]), operands[i].size);
    }
    return this.fill(1, verdict);
  }

  /** Runs a scalar loop over the operands' numbers where they lie. */
  #scalar(inputs: Storage[], out: Block, loop: (out: Float32Array, ...inputs: Float32Array[]) => void): void {
    // Fetching an operand can make the memory grow, which replaces every view: first fetch all, then look.
    for (const x of inputs) this.#at(x);
    loop(this.#heap.view(out), ...inputs.map((x) => this.#heap.view(x as Block)));
  }
}

/** Whether all loops but the last two walk whole matrices one after the other. */
function isBatch(sizes: readonly number[], step: readonly number[]): boolean {
  const i = sizes.length - 2;
  const own = stridesOf(sizes);
  return sizes.slice(0, i).every((_, d) => step[d] === own[d]);
}
