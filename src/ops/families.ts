import type { Node } from '../autograd/node.js';
import type { BinaryKernel, ReduceKernel } from '../backends/backend.js';
import type { Storage } from '../backends/storage.js';
import { checkBoolean, checkOptions, describe, fail, show } from '../errors.js';
import { denseLike, Layout } from '../layout.js';
import { temporary } from '../lifetime.js';
import { broadcastShapes, normalizeDims, reducedShape, SCALAR, sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';
import { dispatch } from './dispatch.js';
import { dense, pair } from './operand.js';
import {
  type BinaryRow,
  type CompareRow,
  type NamedBinary,
  type NamedCompare,
  type NamedReduce,
  type NamedUnary,
  Operation,
  type ReduceRow,
  type Reduction,
  type Saves,
  type UnaryRow,
} from './row.js';
import { broadcastTo, reshapeTo, sumTo } from './view.js';

/** Options of reductions. */
export interface KeepdimOptions {
  /** Whether the result keeps the reduced dimensions as 1. Default false. */
  keepdim?: boolean;
}

type Named<T, R> = { readonly [K in keyof T]: R };

function withNames<T extends Record<string, object>, R>(
  rows: T,
  complete: (row: T[keyof T], name: string) => R,
): Named<T, R> {
  return Object.fromEntries(
    Object.entries(rows).map(([name, row]) => [name, complete(row as T[keyof T], name)]),
  ) as Named<T, R>;
}

/** Completes rows with their names, their forward, and the backward rule for autograd. */
export function unaryRows<T extends Record<string, UnaryRow>>(rows: T): Named<T, NamedUnary> {
  return withNames<T, NamedUnary>(rows, (row, name) => {
    const kernel = { ...row, name };
    const forward = ([x]: readonly Tensor[]) => {
      const storage = x.size === 0 ? x.backend.fill(0, 0) : x.backend.unary(kernel, dense(x));
      return new Tensor(denseLike(x.layout), storage);
    };
    const operation = new Operation<null>(name, row.saves, forward, (g, node) => [
      row.grad(g, saved(node, 0, row.saves), node.output),
    ]);
    return { ...kernel, operation };
  });
}

function binaryForward(kernel: BinaryKernel, a: Tensor, b: Tensor): Tensor {
  const shape = broadcastShapes(kernel.name, a.dims, b.dims);
  const size = sizeOf(shape);
  const { backend } = a;
  if (size === 0) return new Tensor(Layout.rowMajor(shape), backend.fill(0, 0));
  const operands = pair(a, b, shape);
  const storage = backend.binary(kernel, operands.a, operands.b, operands.loops, size);
  return new Tensor(denseLike(a.layout, shape), storage);
}

export function binaryRows<T extends Record<string, BinaryRow>>(rows: T): Named<T, NamedBinary> {
  return withNames<T, NamedBinary>(rows, (row, name) => {
    const kernel = { ...row, name };
    const forward = ([a, b]: readonly Tensor[]) => binaryForward(kernel, a, b);
    const operation = new Operation<null>(name, row.saves, forward, (g, node) => {
      const a = saved(node, 0, row.saves);
      const b = saved(node, 1, row.saves);
      return [
        node.needs(0) ? sumTo(row.gradA(g, a, b, node.output), node.shapes[0]) : null,
        node.needs(1) ? sumTo(row.gradB(g, a, b, node.output), node.shapes[1]) : null,
      ];
    });
    return { ...kernel, operation };
  });
}

export function compareRows<T extends Record<string, CompareRow>>(rows: T): Named<T, NamedCompare> {
  return withNames<T, NamedCompare>(rows, (row, name) => {
    const kernel = { ...row, name };
    // A mask is a constant: no gradient reaches its operands.
    const operation = new Operation<null>(name, 'nothing', ([a, b]) => binaryForward(kernel, a, b), null);
    return { ...kernel, operation };
  });
}

export function reduceRows<T extends Record<string, ReduceRow>>(rows: T): Named<T, NamedReduce> {
  return withNames<T, NamedReduce>(rows, (row, name) => {
    const { grad, saves } = row;
    const kernel = { ...row, name };
    const forward = ([x]: readonly Tensor[], reduction: Reduction) => reduceForward(kernel, x, reduction);
    const backward = (g: Tensor, node: Node) => {
      const { kept } = node.attributes as Reduction;
      const n = sizeOf(node.shapes[0]) / sizeOf(kept);
      const y = saves === 'both' || saves === 'output' ? reshapeTo(node.output, kept) : node.output;
      return [broadcastTo(grad!(reshapeTo(g, kept), saved(node, 0, saves), y, n), node.shapes[0])];
    };
    return { ...kernel, operation: new Operation(name, saves, forward, grad === undefined ? null : backward) };
  });
}

function reduceForward(row: ReduceKernel, x: Tensor, { dims, shape }: Reduction): Tensor {
  const n = dims.length;
  let length = 1;
  let inner = 1;
  for (let i = 0; i < n; i++) length *= x.dims[dims[i]];
  if (row.result === 'index') checkIndices(row.name, length, x.dims);
  if (x.size === 0) return reduceNothing(row, x, length, shape);
  // Adjacent dimensions are reduced as one; other ones are moved to the end first.
  const adjacent = n === 0 || dims[n - 1] - dims[0] === n - 1;
  let source: Storage;
  if (adjacent) {
    source = dense(x);
    if (n > 0) for (let i = dims[n - 1] + 1; i < x.ndim; i++) inner *= x.dims[i];
  } else {
    const order = x.dims.map((_, i) => i).filter((i) => !dims.includes(i));
    order.push(...dims);
    const { strides, offset } = x.layout;
    source = temporary(
      x.backend.copy(
        x.storage,
        order.map((d) => x.dims[d]),
        order.map((d) => strides[d]),
        offset,
      ),
    );
  }
  return new Tensor(Layout.rowMajor(shape), x.backend.reduce(row, source, x.size / length / inner, length, inner));
}

/** Reduces a tensor without elements: the sum is 0, the mean NaN, and a maximum does not exist. */
function reduceNothing(row: ReduceKernel, x: Tensor, length: number, shape: readonly number[]): Tensor {
  const size = sizeOf(shape);
  if (size > 0 && !Number.isFinite(row.init)) {
    fail(
      row.name,
      `a tensor of shape ${show(x.dims)} has no elements, so no maximum or minimum`,
      'check x.size first',
      {
        shapes: [x.dims],
      },
    );
  }
  return new Tensor(Layout.rowMajor(shape), x.backend.fill(size, row.finish(row.init, length)));
}

function saved(node: Node, i: number, saves: Saves): Tensor {
  return saves === 'inputs' || saves === 'both' ? node.input(i) : (undefined as never);
}

export function applyBinary(row: NamedBinary | NamedCompare, a: Tensor, operand: Tensor | number): Tensor {
  const b = typeof operand === 'number' ? new Tensor(SCALAR_LAYOUT, a.backend.fill(1, operand)) : operand;
  return dispatch(row, [a, b], null);
}

const SCALAR_LAYOUT = /* @__PURE__ */ Layout.rowMajor(SCALAR);

/** Indices are float32 numbers, which are exact up to 2^24. */
export function checkIndices(op: string, length: number, shape: readonly number[]): void {
  if (length > 2 ** 24)
    fail(
      op,
      `${length} elements of shape [${shape.join(', ')}] have indices that float32 cannot represent`,
      'reduce at most 2^24 elements at once: reshape to [rows, columns], and reduce one dimension after the other',
      { shapes: [shape] },
    );
}

export function applyReduce(
  row: NamedReduce,
  x: Tensor,
  dim: number | readonly number[] | undefined,
  options: boolean | KeepdimOptions,
): Tensor {
  return dispatch(row, [x], reduction(row.name, x, dim, options));
}

/** The attributes of a reduction; `more` are the options that `op` has besides keepdim. */
export function reduction(
  op: string,
  x: Tensor,
  dim: number | readonly number[] | undefined,
  options: boolean | KeepdimOptions = false,
  ...more: string[]
): Reduction {
  const keepdim = typeof options === 'boolean' ? options : keepdimOf(op, options, more);
  const dims = normalizeDims(op, dim, x.dims);
  const kept = reducedShape(x.dims, dims, true);
  return { dims, kept, shape: keepdim ? kept : reducedShape(x.dims, dims, false) };
}

function keepdimOf(op: string, options: unknown, more: string[]): boolean {
  if (typeof options !== 'object' || options === null)
    fail(op, `keepdim is ${describe(options)}`, 'pass true, false or { keepdim: true }');
  checkOptions(op, options, ['keepdim', ...more]);
  const { keepdim = false } = options as KeepdimOptions;
  return checkBoolean(op, 'keepdim', keepdim);
}
