import type { BackwardRule, Node } from '../autograd/node.js';
import type { BinaryKernel, EmbeddedKernels, ReduceKernel, UnaryKernel } from '../backends/backend.js';
import type { Tensor } from '../tensor.js';

// The types of the rows of the op table. Shared code depends on the properties of a row, never on its name.

/** Which values are kept for the gradient. */
export type Saves = 'inputs' | 'output' | 'both' | 'nothing';

/** What dispatch and autograd read of a row. It is a class, so that V8 reads its fields in the same way for every row. */
export class Operation<A> {
  constructor(
    readonly name: string,
    readonly saves: Saves,
    /** Computes the result with backend calls. */
    readonly forward: (inputs: readonly Tensor[], attributes: A) => Tensor,
    /** null for a result that is a constant: no gradient reaches its inputs. */
    readonly backward: BackwardRule['backward'] | null,
  ) {}
}

/** A complete row, which can be dispatched. */
export interface Dispatchable<A> {
  readonly name: string;
  readonly operation: Operation<A>;
}

/** What a row may bring. */
interface OwnKernels {
  /** WebAssembly kernels that only this row and its neighbours need; see NamedKernel. */
  library?: EmbeddedKernels;
}

/** y = f(x), element by element. */
export interface UnaryRow extends OwnKernels {
  /** The scalar reference. */
  f(x: number): number;
  /** The same as an expression in x for gpu.js. It must handle NaN and ±Infinity explicitly. */
  gpu: string;
  /** About how many nanoseconds an element takes on one core of a CPU, where that is more than its memory accesses. */
  cost?: number;
  saves: Saves;
  /** The gradient of x; x and y are defined if the row saves them. */
  grad(g: Tensor, x: Tensor, y: Tensor): Tensor;
}

/** y = f(a, b), element by element under broadcasting. */
export interface BinaryRow extends OwnKernels {
  f(a: number, b: number): number;
  /** The same as an expression in a and b for gpu.js. */
  gpu: string;
  saves: Saves;
  gradA(g: Tensor, a: Tensor, b: Tensor, y: Tensor): Tensor;
  gradB(g: Tensor, a: Tensor, b: Tensor, y: Tensor): Tensor;
}

/** A 0/1 mask of two operands: a constant, whose operands get no gradient. */
export interface CompareRow extends OwnKernels {
  f(a: number, b: number): number;
  gpu: string;
  differentiable: false;
}

/** A reduction over dimensions. */
export interface ReduceRow extends OwnKernels {
  init: number;
  combine(acc: number, x: number): number;
  /** The same as an expression in acc and x for gpu.js. */
  gpu: string;
  finish(acc: number, n: number): number;
  /** The same as an expression in acc and n for gpu.js; absent where it is acc. */
  gpuFinish?: string;
  result: 'value' | 'index';
  /** Absent for a row that is not differentiable. `y` keeps the reduced dimensions; n is the number of elements reduced to one. */
  grad?(g: Tensor, x: Tensor, y: Tensor, n: number): Tensor;
  saves: Saves;
}

/** An operation with a shape rule of its own. */
export interface GeneralRow<A> {
  /** Computes the result with backend calls. */
  forward(inputs: readonly Tensor[], attributes: A): Tensor;
  saves: Saves;
  /** Gradients in the order of the inputs, null where there is none. */
  grad(g: Tensor, node: Node, attributes: A): (Tensor | null)[];
  /** The same result from simpler operations, for rows that fuse them. */
  equals?(inputs: readonly Tensor[], attributes: A): Tensor;
}

export type NamedUnary = UnaryRow & UnaryKernel & Dispatchable<null>;
export type NamedBinary = BinaryRow & BinaryKernel & Dispatchable<null>;
export type NamedCompare = CompareRow & BinaryKernel & Dispatchable<null>;
export type NamedReduce = ReduceRow & ReduceKernel & Dispatchable<Reduction>;
export type NamedGeneral<A> = GeneralRow<A> & Dispatchable<A>;

/** The attributes of a reduction. */
export interface Reduction {
  /** The reduced dimensions, ascending. */
  readonly dims: readonly number[];
  /** The shape of the result with the reduced dimensions as 1. */
  readonly kept: readonly number[];
  /** The shape of the result. */
  readonly shape: readonly number[];
}
