import { fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { broadcastShapes, broadcastStrides, sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';
import { checkTensors, dispatch, generalRow, unrecorded } from './dispatch.js';
import { reluGrad } from './elementwise.js';
import { dense, type MatrixOperand, matrices } from './operand.js';
import type { NamedGeneral } from './row.js';
import { reshapeTo, sumTo } from './view.js';

/** Matrix products. */
export interface MatmulMethods {
  /**
   * The matrix product a·b. Derivatives g·bᵀ and aᵀ·g. As torch.matmul.
   * @param other b: [k, n], [k], or [.., k, n]; leading dimensions broadcast
   * @returns [m, k]·[k, n] is [m, n]; [k]·[k] a scalar; [m, k]·[k] is [m]; [k]·[k, n] is [n]; [.., m, k]·[.., k, n] is [.., m, n]
   * @throws TapegradError for inner dimensions that differ, leading dimensions that do not broadcast, scalars, and tensors on
   *   different devices
   */
  matmul(other: Tensor): Tensor;
}

/** Which operands are transposed. */
export interface Transposes {
  readonly a: boolean;
  readonly b: boolean;
}

const dimsOf = (shape: readonly number[], swapped: boolean): [number, number] => {
  const n = shape.length;
  return swapped ? [shape[n - 1], shape[n - 2]] : [shape[n - 2], shape[n - 1]];
};

/** The offsets of a single product. */
const ONE = [0];

/** op(a)·op(b) for operands of at least two dimensions. */
export const product: NamedGeneral<Transposes> = /* @__PURE__ */ generalRow('matmul', {
  forward: ([a, b], { a: ta, b: tb }) => {
    const { backend } = a;
    const [m, k] = dimsOf(a.dims, ta);
    const [k2, n] = dimsOf(b.dims, tb);
    if (k !== k2) mismatch(a.dims, b.dims, k, k2);
    const [left, right] = [matrices(a), matrices(b)];
    const transA = ta !== left.transposed;
    const transB = tb !== right.transposed;
    if (a.ndim === 2 && b.ndim === 2 && m * n > 0 && k > 0) {
      const offsetsA = left.offset === 0 ? ONE : [left.offset];
      const offsetsB = right.offset === 0 ? ONE : [right.offset];
      const plan = { m, n, k, transA, transB, relu: false, offsetsA, offsetsB };
      return new Tensor(Layout.rowMajor([m, n]), backend.matmul(plan, left.storage, right.storage, null));
    }
    const batchA = a.dims.slice(0, -2);
    const batchB = b.dims.slice(0, -2);
    const batch = broadcastShapes('matmul', batchA, batchB);
    const layout = Layout.rowMajor([...batch, m, n]);
    const size = sizeOf(layout.shape);
    // An empty sum is 0.
    if (size === 0 || k === 0) return new Tensor(layout, backend.fill(size, 0));
    // One matrix b for the whole batch: the matrices of a are one long matrix.
    const merge = batch.length > 0 && sizeOf(batchB) === 1 && !transA && a.layout.dense;
    const plan = {
      m: merge ? sizeOf(batch) * m : m,
      n,
      k,
      transA,
      transB,
      relu: false,
      offsetsA: merge || batch.length === 0 ? [left.offset] : offsets(a, batch, left),
      offsetsB: merge || batch.length === 0 ? [right.offset] : offsets(b, batch, right),
    };
    return new Tensor(layout, backend.matmul(plan, left.storage, right.storage, null));
  },
  saves: 'inputs',
  grad: (g, node, { a: ta, b: tb }) => {
    const a = node.input(0);
    const b = node.input(1);
    const gradientB = () => {
      // One matrix b for the whole batch: its gradient is one product of long matrices, not a sum of products.
      const single = a.ndim > 2 && sizeOf(b.dims.slice(0, -2)) === 1;
      if (single && !ta) {
        const [left, right] = tb ? [rows(g), rows(a)] : [rows(a), rows(g)];
        return reshapeTo(times(left, right, true, false), b.dims);
      }
      return sumTo(tb ? times(g, a, true, ta) : times(a, g, !ta, false), b.dims);
    };
    return [
      node.needs(0) ? sumTo(ta ? times(b, g, tb, true) : times(g, b, false, !tb), a.dims) : null,
      node.needs(1) ? gradientB() : null,
    ];
  },
});

function times(a: Tensor, b: Tensor, ta: boolean, tb: boolean): Tensor {
  return dispatch(product, [a, b], { a: ta, b: tb });
}

/** The offsets of the matrices of one operand, in the order of the batch. */
function offsets(x: Tensor, batch: readonly number[], { strides, offset }: MatrixOperand): readonly number[] {
  const own = x.ndim - 2;
  const steps = broadcastStrides(x.dims.slice(0, own), batch, strides.slice(0, own));
  let all = [offset];
  batch.forEach((d, i) => {
    all = all.flatMap((o) => Array.from({ length: d }, (_, j) => o + j * steps[i]));
  });
  return all;
}

function mismatch(a: readonly number[], b: readonly number[], k: number, k2: number): never {
  fail(
    'matmul',
    `shapes ${show(a)} and ${show(b)} cannot be multiplied: the inner dimensions are ${k} and ${k2}`,
    'the last dimension of the first must equal the second to last of the second; transpose one operand',
    { shapes: [a, b] },
  );
}

/** The public product, vectors included. */
export function applyMatmul(a: Tensor, b: Tensor): Tensor {
  if (b instanceof Tensor && a.ndim > 1 && b.ndim > 1) return times(a, b, false, false);
  checkTensors('matmul', [a, b]);
  if (a.ndim === 0 || b.ndim === 0) {
    fail('matmul', `shapes ${show(a.dims)} and ${show(b.dims)}: a scalar is not a matrix`, 'use mul() to scale', {
      shapes: [a.dims, b.dims],
    });
  }
  const [ka, kb] = [a.dims[a.ndim - 1], b.dims[Math.max(0, b.ndim - 2)]];
  if (ka !== kb) mismatch(a.dims, b.dims, ka, kb);
  const matA = a.ndim === 1 ? reshapeTo(a, [1, ka]) : a;
  const matB = b.ndim === 1 ? reshapeTo(b, [kb, 1]) : b;
  const out = times(matA, matB, false, false);
  const shape = out.dims.filter(
    (_, i) => !(a.ndim === 1 && i === out.ndim - 2) && !(b.ndim === 1 && i === out.ndim - 1),
  );
  return reshapeTo(out, shape);
}

/** Whether relu follows the linear layer. */
export interface LinearAttributes {
  readonly relu: boolean;
}

/** x·weightᵀ + bias, with relu if the attribute is true: x [.., in], weight [out, in], bias [out] if there is one. */
export const linear: NamedGeneral<LinearAttributes> = /* @__PURE__ */ generalRow('linear', {
  forward: (inputs, { relu }) => {
    checkLinear(inputs);
    const [x, weight, bias] = inputs;
    const [n, k] = weight.dims;
    const layout = Layout.rowMajor(x.ndim === 2 ? [x.dims[0], n] : [...x.dims.slice(0, -1), n]);
    const size = sizeOf(layout.shape);
    if (size === 0 || k === 0) return withoutProducts(x, layout, size, bias, relu);
    const w = matrices(weight);
    const plan = {
      m: x.size / k,
      n,
      k,
      transA: false,
      transB: !w.transposed,
      relu,
      offsetsA: ONE,
      offsetsB: w.offset === 0 ? ONE : [w.offset],
    };
    return new Tensor(layout, x.backend.matmul(plan, dense(x), w.storage, bias ? dense(bias) : null));
  },
  saves: 'both',
  grad: (gradient, node, { relu }) => {
    const x = node.input(0);
    const g = relu ? reluGrad(gradient, node.output) : gradient;
    const gradients = [
      node.needs(0) ? reshapeTo(times(rows(g), node.input(1), false, false), x.dims) : null,
      node.needs(1) ? times(rows(g), rows(x), true, false) : null,
    ];
    if (node.edges.length > 2) gradients.push(node.needs(2) ? sumTo(g, node.shapes[2]) : null);
    return gradients;
  },
  equals: ([x, weight, bias], { relu }) => {
    const product = x.matmul(weight.t());
    const y = bias ? product.add(bias) : product;
    return relu ? y.relu() : y;
  },
});

/** A linear layer without input features or samples: the result is the bias. */
function withoutProducts(x: Tensor, layout: Layout, size: number, bias: Tensor | undefined, relu: boolean): Tensor {
  const zeros = new Tensor(layout, x.backend.fill(size, 0));
  const y = bias ? unrecorded(() => zeros.add(bias)) : zeros;
  return relu ? unrecorded(() => y.relu()) : y;
}

/** All leading dimensions as one. */
function rows(t: Tensor): Tensor {
  return t.ndim === 2 ? t : reshapeTo(t, [sizeOf(t.dims.slice(0, -1)), t.dims[t.ndim - 1]]);
}

const PLAIN: LinearAttributes = { relu: false };
const RELU: LinearAttributes = { relu: true };

/** As torch.nn.functional.linear, followed by relu if `relu` is true. */
export function applyLinear(x: Tensor, weight: Tensor, bias: Tensor | null, relu = false): Tensor {
  return dispatch(linear, bias ? [x, weight, bias] : [x, weight], relu ? RELU : PLAIN);
}

function checkLinear(inputs: readonly Tensor[]): void {
  const [x, weight, bias] = inputs;
  const refuse = (problem: string, remedy: string): never =>
    fail('linear', problem, remedy, { shapes: inputs.map((t) => t.dims) });
  if (weight.ndim !== 2) refuse(`weight has shape ${show(weight.dims)}`, 'it must be [out, in]');
  const [out, features] = weight.dims;
  if (x.ndim === 0 || x.dims[x.ndim - 1] !== features) {
    refuse(
      `input of shape ${show(x.dims)} for a weight of shape ${show(weight.dims)}`,
      `the last dimension of the input must be ${features}`,
    );
  }
  if (bias && (bias.ndim !== 1 || bias.dims[0] !== out)) {
    refuse(`bias has shape ${show(bias.dims)} for a weight of shape ${show(weight.dims)}`, `it must be [${out}]`);
  }
}
