import { map, zip } from '../../kernels/reference/elementwise.js';
import { allFinite } from '../../kernels/reference/finite.js';
import { copy, gather, put, scatter } from '../../kernels/reference/layout.js';
import { matmul } from '../../kernels/reference/matmul.js';
import { reduce } from '../../kernels/reference/reduce.js';
import { softmax } from '../../kernels/reference/softmax.js';
import { type Arithmetic, float32, float64 } from '../../kernels/reference/sums.js';
import { fail } from '../errors.js';
import { type LoopNest, sizeOf } from '../shape.js';
import type {
  Backend,
  BinaryKernel,
  Device,
  DeviceInfo,
  Floats,
  FusedKernel,
  IndexPlan,
  MatmulPlan,
  MemoryInfo,
  ReduceKernel,
  UnaryKernel,
} from './backend.js';
import { type ElementType, Storage } from './storage.js';

class Cells extends Storage {
  constructor(
    readonly backend: Backend,
    readonly values: Floats,
  ) {
    super();
  }

  override get type(): ElementType {
    return this.backend.type;
  }

  get size(): number {
    return this.values.length;
  }
}

const cells = (x: Storage): Floats => (x as Cells).values;

/** The oracle of the tests, and the last fallback: plain loops over typed arrays, which the garbage collector frees. */
export class ReferenceBackend implements Backend {
  readonly #arithmetic: Arithmetic;

  /**
   * @param reason why this backend was chosen, for `info`
   * @param type of every storage; gradient checks need 'float64'
   */
  constructor(
    readonly device: Device,
    private readonly reason: string,
    readonly type: ElementType = 'float32',
  ) {
    this.#arithmetic = type === 'float64' ? float64 : float32;
  }

  info(): DeviceInfo {
    return { type: this.device, backend: 'reference', name: 'JavaScript engine', reason: this.reason };
  }

  #make(size: number, fill: (values: Floats) => void): Storage {
    let values: Floats;
    try {
      values = this.type === 'float64' ? new Float64Array(size) : new Float32Array(size);
    } catch (cause) {
      fail('alloc', `no memory for ${size} elements`, 'dispose of tensors that are not needed, or use smaller ones', {
        cause,
      });
    }
    fill(values);
    return new Cells(this, values);
  }

  upload(values: ArrayLike<number>): Storage {
    return this.#make(values.length, (out) => out.set(values));
  }

  fill(size: number, value: number): Storage {
    return this.#make(size, (out) => out.fill(value));
  }

  write(target: Storage, values: ArrayLike<number>): void {
    cells(target).set(values);
    target.version++;
  }

  readSync(x: Storage): Floats {
    return cells(x).slice();
  }

  async read(x: Storage): Promise<Floats> {
    return this.readSync(x);
  }

  free(): void {
    // The garbage collector frees the array.
  }

  memory(): MemoryInfo {
    return { blocks: 0, bytes: 0 };
  }

  unary(kernel: UnaryKernel, x: Storage): Storage {
    return this.#make(x.size, (out) => map(kernel.f, cells(x), out, x.size));
  }

  binary(kernel: BinaryKernel, a: Storage, b: Storage, loops: LoopNest, size: number): Storage {
    return this.#make(size, (out) => zip(kernel.f, cells(a), cells(b), out, loops.sizes, loops.a, loops.b));
  }

  reduce(kernel: ReduceKernel, x: Storage, outer: number, length: number, inner: number): Storage {
    return this.#make(outer * inner, (out) =>
      reduce(kernel, cells(x), out, outer, length, inner, this.#arithmetic.round),
    );
  }

  matmul(plan: MatmulPlan, a: Storage, b: Storage, bias: Storage | null): Storage {
    const { m, n, offsetsA, offsetsB, transA, transB, relu } = plan;
    return this.#make(offsetsA.length * m * n, (out) => {
      offsetsA.forEach((offset, i) => {
        const at = { a: offset, b: offsetsB[i], out: i * m * n };
        matmul(cells(a), cells(b), out, at, plan, transA, transB, bias && cells(bias), relu, this.#arithmetic);
      });
    });
  }

  softmax(x: Storage, rows: number, cols: number, log: boolean): Storage {
    return this.#make(x.size, (out) => softmax(cells(x), out, rows, cols, log));
  }

  copy(x: Storage, shape: readonly number[], strides: readonly number[], offset: number): Storage {
    return this.#make(sizeOf(shape), (out) => copy(cells(x), out, shape, strides, offset));
  }

  put(target: Storage, source: Storage, shape: readonly number[], strides: readonly number[], offset: number): void {
    put(cells(source), cells(target), shape, strides, offset);
    target.version++;
  }

  cat(parts: readonly Storage[], outer: number, widths: readonly number[]): Storage {
    const width = widths.reduce((a, b) => a + b);
    let at = 0;
    return this.#make(outer * width, (out) => {
      parts.forEach((x, i) => {
        put(cells(x), out, [outer, widths[i]], [width, 1], at);
        at += widths[i];
      });
    });
  }

  gather(x: Storage, index: Storage, plan: IndexPlan): Storage {
    const { outer, count, inner } = plan;
    return this.#make(outer * count * inner, (out) => gather(cells(x), cells(index), out, plan));
  }

  scatter(x: Storage, index: Storage, plan: IndexPlan): Storage {
    const { outer, length, inner } = plan;
    return this.#make(outer * length * inner, (out) => scatter(cells(x), cells(index), out, plan));
  }

  finite(operands: readonly Storage[]): Storage {
    return this.#make(1, (out) => out.fill(operands.every((x) => allFinite(cells(x))) ? 0 : Number.NaN));
  }

  /** Only loops of the host: else the oracle runs the compositions with which tests compare the kernels of other backends. */
  fused(
    { host }: FusedKernel,
    operands: readonly (Storage | null)[],
    size: number,
    bounds: readonly number[],
    numbers: readonly number[],
  ): Storage | null {
    if (host === undefined) return null;
    return this.#make(size, (out) =>
      host(
        out,
        operands.map((x) => cells(x!)),
        bounds,
        numbers,
      ),
    );
  }
}
