import type { Node } from '../autograd/node.js';
import type { Storage } from '../backends/backend.js';
import { checkOptions, describe, fail } from '../errors.js';
import { broadcastShapes, loopNest, normalizeDims, reducedShape, SCALAR, sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';
import { checkTensors, record } from './record.js';
import type {
  BinaryRow,
  CompareRow,
  NamedBinary,
  NamedCompare,
  NamedReduce,
  NamedUnary,
  ReduceRow,
  Saves,
  UnaryRow,
} from './row.js';
import { broadcastTo, permuted, reshapeTo, sumTo } from './shape.js';

/** Whether a reduction leaves the dimensions that it folds as 1. */
export interface KeepdimOptions {
  /** Default false. */
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

/** Completes rows with their names and with what the tape calls. */
export function unaryRows<T extends Record<string, UnaryRow>>(rows: T): Named<T, NamedUnary> {
  return withNames<T, NamedUnary>(rows, (row, name) => ({
    ...row,
    name,
    backward: (g, node) => [row.grad(g, saved(node, 0, row.saves), node.output)],
  }));
}

export function binaryRows<T extends Record<string, BinaryRow>>(rows: T): Named<T, NamedBinary> {
  return withNames<T, NamedBinary>(rows, (row, name) => ({
    ...row,
    name,
    backward: (g, node) => {
      const a = saved(node, 0, row.saves);
      const b = saved(node, 1, row.saves);
      return [
        node.needs(0) ? sumTo(row.gradA(g, a, b, node.output), node.shapes[0]) : null,
        node.needs(1) ? sumTo(row.gradB(g, a, b, node.output), node.shapes[1]) : null,
      ];
    },
  }));
}

export function compareRows<T extends Record<string, CompareRow>>(rows: T): Named<T, NamedCompare> {
  return withNames<T, NamedCompare>(rows, (row, name) => ({ ...row, name }));
}

export function reduceRows<T extends Record<string, ReduceRow>>(rows: T): Named<T, NamedReduce> {
  return withNames<T, NamedReduce>(rows, (row, name) => ({
    ...row,
    name,
    backward: (g, node) => {
      const kept = node.attributes as readonly number[];
      const n = sizeOf(node.shapes[0]) / sizeOf(kept);
      const y = row.saves === 'both' || row.saves === 'output' ? reshapeTo(node.output, kept) : node.output;
      return [broadcastTo(row.grad!(reshapeTo(g, kept), saved(node, 0, row.saves), y, n), node.shapes[0])];
    },
  }));
}

function saved(node: Node, i: number, saves: Saves): Tensor {
  return saves === 'inputs' || saves === 'both' ? node.input(i) : (undefined as never);
}

export function applyUnary(row: NamedUnary, x: Tensor): Tensor {
  return record(row, row.saves, [x], new Tensor(x.dims, x.backend.unary(row, x.storage)), null);
}

export function applyBinary(row: NamedBinary | NamedCompare, a: Tensor, operand: Tensor | number): Tensor {
  const b = typeof operand === 'number' ? new Tensor(SCALAR, a.backend.fill(1, operand)) : operand;
  checkTensors(row.name, [a, b]);
  const shape = broadcastShapes(row.name, a.dims, b.dims);
  const loops = loopNest(a.dims, b.dims, shape);
  const out = new Tensor(shape, a.backend.binary(row, a.storage, b.storage, loops, sizeOf(shape)));
  // A mask is a constant: it has no gradient to ask for.
  return 'saves' in row ? record(row, row.saves, [a, b], out, null) : out;
}

/** Indices are float32 numbers, which are exact up to 2^24. */
function checkIndices(op: string, length: number, shape: readonly number[]): void {
  if (length > 2 ** 24)
    fail(
      op,
      `${length} elements of shape [${shape.join(', ')}] have indices that float32 cannot hold`,
      'reduce at most 2^24 elements at once: reshape to [rows, columns], and go along one dimension after the other',
      { shapes: [shape] },
    );
}

export function applyReduce(
  row: NamedReduce,
  x: Tensor,
  dim: number | readonly number[] | undefined,
  options: boolean | KeepdimOptions,
): Tensor {
  const keepdim = typeof options === 'boolean' ? options : keepdimOf(row.name, options);
  const { dims: shape } = x;
  const dims = normalizeDims(row.name, dim, shape);
  const kept = reducedShape(shape, dims, true);
  const result = keepdim ? kept : reducedShape(shape, dims, false);
  // Dimensions that follow each other are folded as one; otherwise they are brought to the end first.
  const n = dims.length;
  const adjacent = n === 0 || dims[n - 1] - dims[0] === n - 1;
  let source: Storage;
  let length = 1;
  let inner = 1;
  for (let i = 0; i < n; i++) length *= shape[dims[i]];
  if (adjacent) {
    source = x.storage;
    if (n > 0) for (let i = dims[n - 1] + 1; i < shape.length; i++) inner *= shape[i];
  } else {
    const order = Array.from({ length: shape.length }, (_, i) => i).filter((i) => !dims.includes(i));
    source = permuted(x, order.concat(dims));
  }
  if (row.result === 'index') checkIndices(row.name, length, shape);
  const out = new Tensor(result, x.backend.reduce(row, source, x.size / length / inner, length, inner));
  return row.grad === undefined ? out : record(row, row.saves, [x], out, kept);
}

function keepdimOf(op: string, options: unknown): boolean {
  if (typeof options !== 'object' || options === null)
    fail(op, `keepdim is ${describe(options)}`, 'pass true, false or { keepdim: true }');
  checkOptions(op, options, ['keepdim']);
  const { keepdim = false } = options as KeepdimOptions;
  if (typeof keepdim !== 'boolean') fail(op, `keepdim is ${describe(keepdim)}`, 'pass true or false');
  return keepdim;
}
