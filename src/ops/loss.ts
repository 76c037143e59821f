import { SCALAR } from '../shape.js';
import type { Tensor } from '../tensor.js';
import { dispatch } from './dispatch.js';
import { binaryRows } from './families.js';
import { fusedRow } from './fused.js';
import type { BinaryRow, NamedGeneral } from './row.js';

// The squared error. Other losses are in files of their own, so that a bundle has only the ones that are used.

/** Nanoseconds for an element of a kernel that is limited by memory bandwidth. */
const CHEAP = 0.3;

/** The element-wise part; `a` is the prediction, `b` the target. */
export const losses = /* @__PURE__ */ binaryRows({
  squaredDifference: {
    f: (a, b) => (a - b) * (a - b),
    gpu: '(a - b) * (a - b)',
    saves: 'inputs',
    gradA: (g, a, b) => g.mul(a.sub(b)).mul(2),
    gradB: (g, a, b) => g.mul(b.sub(a)).mul(2),
  },
} satisfies Record<string, BinaryRow>);

/** scale Σ (a - b)² for two tensors of one shape; the attribute is the scale. */
export const squaredError: NamedGeneral<number> = /* @__PURE__ */ fusedRow('squaredError', {
  shape: () => SCALAR,
  bounds: ([a]) => [a.size],
  numbers: (scale) => [scale],
  steps: () => null,
  flops: ([n]) => 3 * n,
  cost: () => CHEAP,
  saves: 'inputs',
  grad: (g, node, scale) => {
    const [a, b] = [node.input(0), node.input(1)];
    const gradient = (x: Tensor, y: Tensor) => dispatch(squaredErrorGrad, [x, y, g], scale);
    return [node.needs(0) ? gradient(a, b) : null, node.needs(1) ? gradient(b, a) : null];
  },
  equals: ([a, b], scale) => a.sub(b).pow(2).sum().mul(scale),
});

/** 2 scale g (a - b) for a scalar g. */
export const squaredErrorGrad: NamedGeneral<number> = /* @__PURE__ */ fusedRow('squaredErrorGrad', {
  shape: ([a]) => a.dims,
  bounds: ([a]) => [a.size],
  numbers: (scale) => [scale],
  steps: () => null,
  flops: ([n]) => 2 * n,
  cost: () => CHEAP,
  saves: 'inputs',
  grad: (gg, node, scale) => {
    const [a, b, g] = [node.input(0), node.input(1), node.input(2)];
    const slope = () => gg.mul(g).mul(2 * scale);
    return [
      node.needs(0) ? slope() : null,
      node.needs(1) ? slope().neg() : null,
      node.needs(2)
        ? gg
            .mul(a.sub(b))
            .sum()
            .mul(2 * scale)
        : null,
    ];
  },
  equals: ([a, b, g], scale) =>
    a
      .sub(b)
      .mul(g)
      .mul(2 * scale),
});
