import type { Backend } from '../backend.js';
import { Storage } from '../storage.js';

/** A piece of the heap. */
export interface Segment {
  readonly ptr: number;
  /** 0 for a segment that was joined to another. */
  bytes: number;
  block: Block | null;
  prev: Segment | null;
  next: Segment | null;
}

/** The numbers that a rematerialization needs, which stay the same whatever becomes of the block that they came from. */
export interface Loan {
  block: Block;
}

/** How to compute a block's numbers again: PyTorch calls it recomputation, compilers rematerialization. */
export class Rematerialization {
  /** In place of the operands, from the first eviction on. */
  loans: Loan[] | null = null;
  readonly #versions: readonly number[];
  #operands: readonly Block[];

  constructor(
    operands: readonly Block[],
    readonly run: (out: Block, operands: readonly Block[]) => void,
  ) {
    this.#operands = operands;
    this.#versions = operands.map((x) => x.version);
  }

  /** Borrows the operands' numbers; false if they are not there, or no longer the same. */
  borrow(): boolean {
    if (this.loans !== null) return true;
    if (!this.#operands.every((x, i) => x.holdsNumbers && x.version === this.#versions[i])) return false;
    this.loans = this.#operands.map((x) => {
      x.loan ??= { block: x };
      return x.loan;
    });
    this.#operands = [];
    return true;
  }
}

/** A storage of the cpu backend. */
export class Block extends Storage {
  /** @internal */ segment: Segment | null = null;
  /** The numbers of an evicted block. @internal */
  host: Float32Array | number[] | null = null;
  /** @internal */ recompute: Rematerialization | null = null;
  /** @internal */ loan: Loan | null = null;
  /** The operation for whose duration the block must stay where it is. @internal */
  pin = 0;
  /** How many hold the block at its address across operations. @internal */
  pins = 0;
  /** Whether it is to be freed when nobody does any more. @internal */
  freedWhilePinned = false;

  constructor(
    readonly backend: Backend,
    readonly size: number,
  ) {
    super();
  }

  get holdsNumbers(): boolean {
    return this.segment !== null || this.host !== null;
  }
}
