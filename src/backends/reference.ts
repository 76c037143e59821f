import { map, zip } from '../../kernels/reference/elementwise.js';
import { allFinite } from '../../kernels/reference/finite.js';
import { copy, pick, place } from '../../kernels/reference/layout.js';
import { crossEntropy, crossEntropyGrad, squaredError, squaredErrorGrad } from '../../kernels/reference/loss.js';
import { matmul } from '../../kernels/reference/matmul.js';
import { sgd } from '../../kernels/reference/optim.js';
import { reduce } from '../../kernels/reference/reduce.js';
import { softmax } from '../../kernels/reference/softmax.js';
import { type Arithmetic, float32, float64 } from '../../kernels/reference/sums.js';
import { fail } from '../errors.js';
import { type LoopNest, sizeOf } from '../shape.js';
import {
  type Backend,
  type BinaryKernel,
  type Device,
  type DeviceInfo,
  type Floats,
  type MatmulPlan,
  type MemoryInfo,
  nextBirth,
  type ReduceKernel,
  type SgdRule,
  type SgdUpdate,
  type Storage,
  type UnaryKernel,
} from './backend.js';

class Cells implements Storage {
  version = 0;
  holders = 0;
  tensors = 0;
  readonly born = nextBirth();
  constructor(
    readonly backend: Backend,
    readonly values: Floats,
  ) {}

  get size(): number {
    return this.values.length;
  }
}

const cells = (x: Storage): Floats => (x as Cells).values;

/** The oracle and last fallback: plain loops over typed arrays, which the garbage collector looks after. */
export class ReferenceBackend implements Backend {
  readonly #float: Float32ArrayConstructor | Float64ArrayConstructor;
  readonly #arithmetic: Arithmetic;

  /** @param reason why this backend was chosen, for `info` */
  constructor(
    readonly device: Device,
    private readonly reason: string,
  ) {
    this.#float = device === 'float64' ? Float64Array : Float32Array;
    this.#arithmetic = device === 'float64' ? float64 : float32;
  }

  info(): DeviceInfo {
    return { type: this.device, backend: 'reference', name: 'JavaScript engine', reason: this.reason };
  }

  #make(size: number, fill: (values: Floats) => void): Storage {
    let values: Floats;
    try {
      values = new this.#float(size);
    } catch (cause) {
      fail('alloc', `no memory for ${size} elements`, 'drop tensors that are no longer needed, or use smaller ones', {
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
    // The garbage collector frees the array with its last holder.
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

  copy(x: Storage, shape: readonly number[], strides: readonly number[]): Storage {
    return this.#make(sizeOf(shape), (out) => copy(cells(x), out, shape, strides));
  }

  pick(x: Storage, index: Storage, rows: number, cols: number): Storage {
    return this.#make(rows, (out) => pick(cells(x), cells(index), out, rows, cols));
  }

  place(x: Storage, index: Storage, rows: number, cols: number): Storage {
    return this.#make(rows * cols, (out) => place(cells(x), cells(index), out, rows, cols));
  }

  sgd(rule: SgdRule, updates: readonly SgdUpdate[]): void {
    for (const { parameter, gradient, velocity, firstStep } of updates) {
      sgd(rule, cells(parameter), cells(gradient), velocity && cells(velocity), firstStep);
      parameter.version++;
      if (velocity) velocity.version++;
    }
  }

  finite(operands: readonly Storage[]): Storage {
    return this.#make(1, (out) => out.fill(operands.every((x) => allFinite(cells(x))) ? 0 : Number.NaN));
  }

  squaredError(a: Storage, b: Storage, scale: number): Storage {
    return this.#make(1, (out) => squaredError(cells(a), cells(b), out, scale, this.#arithmetic.round));
  }

  squaredErrorGrad(a: Storage, b: Storage, g: Storage, scale: number): Storage {
    return this.#make(a.size, (out) => squaredErrorGrad(cells(a), cells(b), cells(g), out, scale));
  }

  crossEntropy(x: Storage, index: Storage, rows: number, cols: number): Storage {
    return this.#make(rows, (out) => crossEntropy(cells(x), cells(index), out, rows, cols));
  }

  crossEntropyGrad(x: Storage, index: Storage, g: Storage, rows: number, cols: number, scale: number): Storage {
    return this.#make(x.size, (out) => crossEntropyGrad(cells(x), cells(index), cells(g), out, rows, cols, scale));
  }
}
