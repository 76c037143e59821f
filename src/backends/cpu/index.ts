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
  Storage,
  UnaryKernel,
} from '../backend.js';
import { type Block, Heap } from './heap.js';
import { type Build, instantiate, type Kernels } from './wasm.js';

/** Where the heap begins: what lies below belongs to the compiled module. */
const RESERVED = 65536;

/**
 * WebAssembly SIMD128 on one thread. A row that has no kernel of its own runs its scalar function over the same memory.
 */
export class CpuBackend implements Backend {
  readonly device = 'cpu';
  readonly #heap = new Heap();
  readonly #kernels: Kernels;
  readonly #scratch = RESERVED;

  constructor(private readonly build: Build) {
    this.#kernels = instantiate(build, this.#heap.memory);
    this.#heap.start(RESERVED + this.#kernels.gemm_scratch!());
  }

  info(): DeviceInfo {
    const reason = {
      'wasm-relaxed-simd': 'WebAssembly SIMD with fused multiply-add is available',
      'wasm-simd': 'WebAssembly SIMD is available, without fused multiply-add',
    }[this.build];
    return { type: 'cpu', backend: this.build, name: 'one CPU core', reason };
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
    this.#heap.view(out).fill(value);
    return out;
  }

  write(target: Storage, values: ArrayLike<number>): void {
    this.#heap.begin();
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
    const run = this.#kernels[`unary_${kernel.name}`];
    if (run) run(this.#at(x), this.#at(out), x.size);
    else this.#scalar([x], out, (o, a) => map(kernel.f, a, o, x.size));
    return out;
  }

  binary(kernel: BinaryKernel, a: Storage, b: Storage, loops: LoopNest, size: number): Storage {
    const out = this.#out(size, a, b);
    const run = this.#kernels[`binary_${kernel.name}`];
    if (!run) {
      this.#scalar([a, b], out, (o, x, y) => zip(kernel.f, x, y, o, loops.sizes, loops.a, loops.b));
      return out;
    }
    const pa = this.#at(a);
    const pb = this.#at(b);
    const po = this.#at(out);
    const i = loops.sizes.length - 1;
    const inner = loops.sizes[i];
    if (i === 0) {
      run(pa, pb, po, 1, inner, 0, loops.a[0], 0, loops.b[0]);
      return out;
    }
    const outer = loops.sizes[i - 1];
    outerLoops(loops, (ia, ib, n) => {
      const to = po + n * outer * inner * 4;
      run(pa + ia * 4, pb + ib * 4, to, outer, inner, loops.a[i - 1], loops.a[i], loops.b[i - 1], loops.b[i]);
    });
    return out;
  }

  reduce(kernel: ReduceKernel, x: Storage, outer: number, length: number, inner: number): Storage {
    const out = this.#out(outer * inner, x);
    const run = this.#kernels[`reduce_${kernel.name}`];
    if (run) run(this.#at(x), this.#at(out), outer, length, inner);
    else this.#scalar([x], out, (o, a) => reduce(kernel, a, o, outer, length, inner));
    return out;
  }

  matmul(plan: MatmulPlan, a: Storage, b: Storage, bias: Storage | null): Storage {
    const { m, n, k, offsetsA, offsetsB } = plan;
    const out = this.#out(offsetsA.length * m * n, a, b, bias);
    const pa = this.#at(a);
    const pb = this.#at(b);
    const po = this.#at(out);
    const pBias = bias ? this.#at(bias) : 0;
    const tA = plan.transA ? 1 : 0;
    const tB = plan.transB ? 1 : 0;
    for (let i = 0; i < offsetsA.length; i++) {
      const to = po + i * m * n * 4;
      this.#kernels.gemm!(pa + offsetsA[i] * 4, pb + offsetsB[i] * 4, to, m, n, k, tA, tB, pBias, this.#scratch);
    }
    return out;
  }

  softmax(x: Storage, rows: number, cols: number, log: boolean): Storage {
    const out = this.#out(x.size, x);
    this.#kernels[log ? 'logSoftmax' : 'softmax']!(this.#at(x), this.#at(out), rows, cols);
    return out;
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

  sgd(rule: SgdRule, parameter: Storage, gradient: Storage, velocity: Storage | null, firstStep: boolean): void {
    this.#heap.begin(parameter as Block, gradient as Block, velocity as Block | null);
    const p = this.#at(parameter);
    const g = this.#at(gradient);
    const v = velocity ? this.#at(velocity) : 0;
    const { lr, momentum, dampening, weightDecay, nesterov } = rule;
    this.#kernels.sgd!(
      p,
      g,
      v,
      parameter.size,
      lr,
      velocity ? momentum : 0,
      dampening,
      weightDecay,
      nesterov ? 1 : 0,
      firstStep ? 1 : 0,
    );
    parameter.version++;
    if (velocity) velocity.version++;
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
