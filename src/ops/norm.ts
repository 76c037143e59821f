import { isGradEnabled } from '../autograd/mode.js';
import type { Backend, FusedKernel } from '../backends/backend.js';
import { norm as library } from '../backends/cpu/generated/norm.js';
import type { Storage } from '../backends/storage.js';
import { Layout } from '../layout.js';
import { temporary } from '../lifetime.js';
import { sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';
import { dispatch, generalRow, unrecorded } from './dispatch.js';
import { stack } from './join.js';
import { dense } from './operand.js';
import type { NamedGeneral } from './row.js';
import { sumTo } from './view.js';

// Normalization of the last dimension: xhat = (x - mean) r with r = 1 / √(var + eps), or without the mean for RMSNorm, and
// then y = xhat w + b. With P h = h - mean h - xhat mean(h xhat), which is its own transpose, the gradient of x for the
// gradient h = g w of xhat is r P h (Ba, Kiros and Hinton, "Layer normalization", 2016).

/** How rows are normalized. */
export interface Normalization {
  readonly eps: number;
  /** Whether the mean is subtracted; false for RMSNorm. */
  readonly center: boolean;
}

/** How many rows a partial sum of the gradients of weight and bias has; a lane of other sums has as many numbers. */
const BLOCK = 32;

const numbersOf = ({ eps, center }: Normalization): number[] => [eps, center ? 1 : 0];

function kernelOf(
  name: string,
  steps: FusedKernel['steps'],
  work: number,
  changes: readonly number[] = [],
): FusedKernel {
  return {
    name,
    library,
    changes,
    steps,
    flops: ([rows, cols]) => work * rows * cols,
    cost: ([, cols]) => 0.15 * work * cols,
  };
}

const columns = (x: Tensor): number => x.dims[x.ndim - 1];

/** Runs a kernel on operands of which the last ones may be missing; null where the backend has none. */
function run(
  kernel: FusedKernel,
  inputs: readonly Tensor[],
  places: number,
  shape: readonly number[],
  bounds: readonly number[],
  a: Normalization,
): Tensor | null {
  const operands = new Array<Storage | null>(places).fill(null);
  for (let i = 0; i < inputs.length; i++) operands[i] = operands[inputs.indexOf(inputs[i])] ?? dense(inputs[i]);
  if (inputs[0].size === 0) return null;
  const storage = inputs[0].backend.fused(kernel, operands, sizeOf(shape), bounds, numbersOf(a), null);
  return storage === null ? null : new Tensor(Layout.rowMajor(shape), storage);
}

/** The centred rows and 1 / r. */
function parts(x: Tensor, { eps, center }: Normalization): [centred: Tensor, deviation: Tensor] {
  const c = center ? x.sub(x.mean(-1, true)) : x;
  return [c, c.mul(c).mean(-1, true).add(eps).sqrt()];
}

const forwardKernel = /* @__PURE__ */ kernelOf('layerNorm', ([, cols]) => [cols, 0, 0, cols], 8);

/** xhat w + b; the inputs are x [.., cols], and w and b [cols], of which the last ones may be missing. */
export const layerNorm: NamedGeneral<Normalization> = /* @__PURE__ */ generalRow('layerNorm', {
  forward: (inputs, a) => {
    const [x] = inputs;
    const cols = columns(x);
    const out = run(forwardKernel, inputs, 3, x.dims, [x.size / cols, cols], a);
    return out ?? unrecorded(() => normalized(inputs, a));
  },
  saves: 'inputs',
  grad: (g, node, a) => {
    const n = node.shapes.length;
    const x = node.input(0);
    const both = n > 1 && node.needs(0) && node.needs(1) && !isGradEnabled() ? atOnce(x, g, node.input(1), a) : null;
    if (both !== null) return n > 2 ? both : both.slice(0, 2);
    const dx = node.needs(0) ? dispatch(layerNormGrad, n > 1 ? [x, g, node.input(1)] : [x, g], a) : null;
    if (n === 1) return [dx];
    const bias = n > 2 && node.needs(2);
    const sums = node.needs(1) || bias ? dispatch(layerNormSums, [x, g], a) : null;
    const own = (i: number) => sums!.select(0, i).contiguous();
    return [dx, node.needs(1) ? own(0) : null, ...(n > 2 ? [bias ? own(1) : null] : [])];
  },
  equals: (inputs, a) => normalized(inputs, a),
});

const backwardKernel = /* @__PURE__ */ kernelOf(
  'layerNormBackward',
  ([, cols]) => [BLOCK * cols, BLOCK * cols, 0, 2 * cols, 0, BLOCK * cols],
  18 * BLOCK,
  [3],
);

/** The gradients of x, weight and bias from one pass, where there is a kernel for it and nothing is recorded. */
function atOnce(x: Tensor, g: Tensor, w: Tensor, a: Normalization): Tensor[] | null {
  const { backend } = x;
  if (x.size === 0 || without.has(backend)) return null;
  const cols = columns(x);
  const blocks = Math.ceil(x.size / cols / BLOCK);
  const partial = new Tensor(Layout.rowMajor([blocks, 2, cols]), backend.fill(blocks * 2 * cols, 0));
  const rows = dense(x);
  // The first block is an operand as well, from which a thread finds the number of a block.
  const operands = [rows, dense(g), dense(w), partial.storage, rows];
  const bounds = [blocks, cols, x.size / cols];
  const storage = backend.fused(backwardKernel, operands, x.size, bounds, numbersOf(a), null);
  if (storage === null) without.add(backend);
  const sums = storage === null ? null : partial.sum(0);
  backend.free(partial.storage);
  if (storage === null || sums === null) return null;
  const own = (i: number) => sums.select(0, i).contiguous();
  return [new Tensor(Layout.rowMajor(x.dims), storage), own(0), own(1)];
}

/** The backends that have no kernel for it. */
const without = /* @__PURE__ */ new WeakSet<Backend>();

function normalized([x, w, b]: readonly Tensor[], a: Normalization): Tensor {
  const [c, deviation] = parts(x, a);
  const y = c.div(deviation);
  if (w === undefined) return y;
  return b === undefined ? y.mul(w) : y.mul(w).add(b);
}

const gradKernel = /* @__PURE__ */ kernelOf('layerNormGrad', ([, cols]) => [cols, cols, 0, cols], 14);

/** r P (g w), the gradient of x; the inputs are x, g, and w, which may be missing. */
export const layerNormGrad: NamedGeneral<Normalization> = /* @__PURE__ */ generalRow('layerNormGrad', {
  forward: (inputs, a) => {
    const [x] = inputs;
    const cols = columns(x);
    return run(gradKernel, inputs, 3, x.dims, [x.size / cols, cols], a) ?? unrecorded(() => projected(inputs, a));
  },
  saves: 'inputs',
  grad: (u, node, a) => {
    const [x, g] = [node.input(0), node.input(1)];
    const w = node.shapes.length > 2 ? node.input(2) : null;
    const through = dispatch(layerNormGrad, [x, u], a);
    const dx = node.needs(0) ? curvature(x, g, w, u, through, a) : null;
    const dg = node.needs(1) ? (w === null ? through : through.mul(w)) : null;
    if (w === null) return [dx, dg];
    return [dx, dg, node.needs(2) ? sumTo(through.mul(g), w.dims) : null];
  },
  equals: (inputs, a) => projected(inputs, a),
});

function projected([x, g, w]: readonly Tensor[], a: Normalization): Tensor {
  const h = w === undefined ? g : g.mul(w);
  const [c, deviation] = parts(x, a);
  const y = c.div(deviation);
  const p = h.sub(y.mul(h.mul(y).mean(-1, true)));
  return (a.center ? p.sub(h.mean(-1, true)) : p).div(deviation);
}

/** The gradient of Σ u r P h for x: -r (r xhat (A - B C) + C U + B H), where U = r P u, H = r P h, and A, B, C as below. */
function curvature(x: Tensor, g: Tensor, w: Tensor | null, u: Tensor, through: Tensor, a: Normalization): Tensor {
  const h = w === null ? g : g.mul(w);
  const mean = (t: Tensor) => t.mean(-1, true);
  const [, deviation] = parts(x, a);
  const y = dispatch(layerNorm, [x], a);
  const products = a.center ? mean(u.mul(h)).sub(mean(u).mul(mean(h))) : mean(u.mul(h));
  const [b, c] = [mean(u.mul(y)), mean(h.mul(y))];
  const own = dispatch(layerNormGrad, w === null ? [x, g] : [x, g, w], a);
  const first = y.mul(products.sub(b.mul(c))).div(deviation);
  return first.add(through.mul(c)).add(own.mul(b)).div(deviation).neg();
}

const sumsKernel = /* @__PURE__ */ kernelOf(
  'layerNormSums',
  ([, cols]) => [BLOCK * cols, BLOCK * cols, 0, 2 * cols],
  8 * BLOCK,
);

/** Σ g xhat and Σ g over all rows, as [2, cols]: the gradients of weight and bias; the inputs are x and g. */
export const layerNormSums: NamedGeneral<Normalization> = /* @__PURE__ */ generalRow('layerNormSums', {
  forward: (inputs, a) => {
    const [x, g] = inputs;
    const cols = columns(x);
    const rows = x.size / cols;
    const blocks = Math.ceil(rows / BLOCK);
    return unrecorded(() => {
      if (x.size === 0) return summed(inputs, a);
      const partial = run(sumsKernel, [x, g, x], 3, [blocks, 2, cols], [blocks, cols, rows], a);
      if (partial === null) return summed(inputs, a);
      temporary(partial.storage);
      return partial.sum(0);
    });
  },
  saves: 'inputs',
  grad: (u, node, a) => {
    const [x, g] = [node.input(0), node.input(1)];
    const [w, b] = [u.select(0, 0), u.select(0, 1)];
    const dg = () => dispatch(layerNorm, [x], a).mul(w).add(b);
    return [node.needs(0) ? dispatch(layerNormGrad, [x, g, w], a) : null, node.needs(1) ? dg() : null];
  },
  equals: (inputs, a) => summed(inputs, a),
});

function summed([x, g]: readonly Tensor[], a: Normalization): Tensor {
  const cols = columns(x);
  const [c, deviation] = parts(x, a);
  const flat = g.reshape([sizeOf(g.dims.slice(0, -1)), cols]);
  const y = c.div(deviation).reshape(flat.dims);
  return stack([flat.mul(y).sum(0), flat.sum(0)]);
}
