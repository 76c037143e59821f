import { order as orderLoop } from '../../kernels/reference/order.js';
import type { FusedKernel } from '../backends/backend.js';
import { checkBoolean, checkInteger, checkOptions, fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { Tensor } from '../tensor.js';
import { dispatch } from './dispatch.js';
import { checkIndices } from './families.js';
import { gather } from './indexing.js';
import { dense } from './operand.js';
import { type Dispatchable, Operation } from './row.js';
import { alongLast } from './scan.js';

/** Options of `sort` and `argsort`. */
export interface SortOptions {
  /** Whether the largest comes first. Default false. */
  descending?: boolean;
}

/** Options of `topk`. */
export interface TopkOptions {
  /** Whether the largest elements are taken, instead of the smallest. Default true. */
  largest?: boolean;
  /** Whether the elements must be in order; they are in any case. Default true. */
  sorted?: boolean;
}

/** Options of `unique`. */
export interface UniqueOptions {
  /** Whether the elements must ascend; they do in any case. Default true. */
  sorted?: boolean;
  /** Whether the result has for each element the index of its value. Default false. */
  returnInverse?: boolean;
  /** Whether the result has how often each value occurs. Default false. */
  returnCounts?: boolean;
}

/** Sorting. */
export interface OrderMethods {
  /**
   * The elements in order along a dimension. Equal ones keep their order; NaN is larger than every number. Derivative 1 for the
   * element. As torch.sort with stable=True.
   * @param dim the dimension; a negative one counts from the end. Default -1
   * @param options `descending`: the largest first
   * @returns the sorted elements, and their indices along `dim`, a constant; both of the same shape
   * @throws TapegradError for a dimension that does not exist, and for more than 2^24 elements along it, whose indices float32
   *   cannot represent
   * @example
   * const [values, indices] = tensor([3, 1, 2]).sort(); // [1, 2, 3] and [1, 2, 0]
   */
  sort(dim?: number, options?: SortOptions): [values: Tensor, indices: Tensor];
  /**
   * The indices that sort the elements along a dimension. Equal ones keep their order. As torch.argsort with stable=True.
   * @param dim the dimension; a negative one counts from the end. Default -1
   * @param options `descending`: the largest first
   * @returns a tensor of the same shape; a constant, without a gradient
   * @throws TapegradError for a dimension that does not exist, and for more than 2^24 elements along it, whose indices float32
   *   cannot represent
   */
  argsort(dim?: number, options?: SortOptions): Tensor;
  /**
   * The k largest elements along a dimension, the largest first, or the smallest. NaN is larger than every number. Derivative 1
   * for the element. As torch.topk.
   * @param k how many, at least 0
   * @param dim the dimension; a negative one counts from the end. Default -1
   * @param options `largest`: false for the smallest; `sorted`: the elements are in order in any case
   * @returns the elements, and their indices along `dim`, a constant; both have k in the place of `dim`
   * @throws TapegradError for a dimension that does not exist, for a k above its size, and for more than 2^24 elements along it,
   *   whose indices float32 cannot represent
   * @example
   * const [values, indices] = tensor([3, 1, 2]).topk(2); // [3, 2] and [0, 2]
   */
  topk(k: number, dim?: number, options?: TopkOptions): [values: Tensor, indices: Tensor];
  /**
   * The different values of all elements, ascending; every NaN counts as another one. The result is on the device of this tensor,
   * without a gradient. It waits for the elements, because its size depends on them. As torch.unique.
   * @param options `returnInverse` and `returnCounts` add tensors to the result; `sorted`: the values ascend in any case
   * @returns the values [n]; with options an array of the values, the index of its value for each element, in the shape of this
   *   tensor, if `returnInverse`, and how often each value occurs [n], if `returnCounts`
   * @throws TapegradError for more than 2^24 elements, whose indices float32 cannot represent
   * @example
   * const [values, counts] = await tensor([2, 1, 2]).unique({ returnCounts: true }); // [1, 2] and [1, 2]
   */
  unique<O extends UniqueOptions = Pick<UniqueOptions, 'sorted'>>(
    options?: O,
  ): Promise<O extends Record<'returnInverse', true> | Record<'returnCounts', true> ? Tensor[] : Tensor>;
}

/** The attributes of the order of rows: how many positions, and whether the largest comes first. */
interface Sorting {
  readonly k: number;
  readonly descending: boolean;
}

const orderKernel: FusedKernel = {
  name: 'order',
  changes: [],
  steps: () => null,
  flops: () => 0,
  cost: () => 0,
  host: (out, [x], [rows, n, k], [descending]) => orderLoop(x, out, rows, n, k, descending > 0),
};

/** The positions of the k first elements of each row of [rows, n]; a constant. */
export const order: Dispatchable<Sorting> = /* @__PURE__ */ (() => {
  const forward = ([x]: readonly Tensor[], { k, descending }: Sorting) => {
    const [rows, n] = x.dims;
    const size = rows * k;
    const storage =
      size === 0
        ? x.backend.fill(0, 0)
        : x.backend.fused(orderKernel, [dense(x)], size, [rows, n, k], [descending ? 1 : 0], null);
    return new Tensor(Layout.rowMajor([rows, k]), storage!);
  };
  return { name: 'order', operation: new Operation<Sorting>('order', 'nothing', forward, null) };
})();

/** The positions of the first elements along a dimension, in the order of these, and how to get the elements. */
function ordered(
  op: string,
  x: Tensor,
  dim: number,
  descending: boolean,
  k?: number,
): [positions: Tensor, values: () => Tensor] {
  const [rows, back] = alongLast(op, x, dim);
  const n = rows.dims[1];
  checkIndices(op, n, x.dims);
  if (k !== undefined && k > n)
    fail(op, `k is ${k} for shape ${show(x.dims)}`, `there are only ${n} elements along the dimension`, {
      shapes: [x.dims],
    });
  const index = dispatch(order, [rows], { k: k ?? n, descending });
  return [back(index), () => back(dispatch(gather, [rows, index], { dim: 1, length: n }))];
}

function descends(op: string, options: SortOptions): boolean {
  checkOptions(op, options, ['descending']);
  return checkBoolean(op, 'descending', options.descending ?? false);
}

async function unique(x: Tensor, options: UniqueOptions): Promise<Tensor | Tensor[]> {
  const { returnInverse = false, returnCounts = false } = options;
  checkOptions('unique', options, ['sorted', 'returnInverse', 'returnCounts']);
  checkIndices('unique', x.size, x.dims);
  const { backend } = x;
  const values = await x.data();
  const positions = new Float32Array(x.size);
  orderLoop(values, positions, 1, x.size, x.size, false);
  const found: number[] = [];
  const counts: number[] = [];
  const inverse = new Float32Array(x.size);
  for (const at of positions) {
    const last = found.length - 1;
    if (found[last] === values[at]) counts[last]++;
    else counts[found.push(values[at]) - 1] = 1;
    inverse[at] = found.length - 1;
  }
  const make = (numbers: ArrayLike<number>, shape: readonly number[]) =>
    new Tensor(Layout.rowMajor(shape), backend.upload(numbers));
  const all = [make(found, [found.length])];
  if (returnInverse) all.push(make(inverse, x.dims));
  if (returnCounts) all.push(make(counts, [found.length]));
  return all.length > 1 ? all : all[0];
}

/** The methods. */
export const ordering = {
  sort(this: Tensor, dim = -1, options: SortOptions = {}) {
    const [index, values] = ordered('sort', this, dim, descends('sort', options));
    return [values(), index];
  },
  argsort(this: Tensor, dim = -1, options: SortOptions = {}) {
    return ordered('argsort', this, dim, descends('argsort', options))[0];
  },
  topk(this: Tensor, k: number, dim = -1, options: TopkOptions = {}) {
    checkOptions('topk', options, ['largest', 'sorted']);
    const { largest = true } = options;
    const [index, values] = ordered(
      'topk',
      this,
      dim,
      checkBoolean('topk', 'largest', largest),
      checkInteger('topk', 'k', k, 0),
    );
    return [values(), index];
  },
  unique(this: Tensor, options: UniqueOptions = {}) {
    return unique(this, options);
  },
};
