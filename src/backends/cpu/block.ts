import type { Backend } from '../backend.js';
import { Storage } from '../storage.js';

/** A piece of the heap. */
export interface Segment {
  readonly ptr: number;
  /** 0 for a segment that was merged into another. */
  bytes: number;
  block: Block | null;
  prev: Segment | null;
  next: Segment | null;
}

/** An operand of a rematerialization: a block with the same numbers, also after the original was changed or freed. */
export interface Snapshot {
  block: Block;
}

/** How to recompute the numbers of a block; compilers call it rematerialization. */
export class Rematerialization {
  /** Replaces the operands from the first eviction on. */
  snapshots: Snapshot[] | null = null;
  readonly #versions: readonly number[];
  #operands: readonly Block[];

  constructor(
    operands: readonly Block[],
    readonly run: (out: Block, operands: readonly Block[]) => void,
  ) {
    this.#operands = operands;
    this.#versions = operands.map((x) => x.version);
  }

  /** Takes snapshots of the operands; false if they were freed or changed. */
  takeSnapshots(): boolean {
    if (this.snapshots !== null) return true;
    if (!this.#operands.every((x, i) => x.holdsNumbers && x.version === this.#versions[i])) return false;
    this.snapshots = this.#operands.map((x) => {
      x.snapshot ??= { block: x };
      return x.snapshot;
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
  /** @internal */ snapshot: Snapshot | null = null;
  /** The operation during which the block must not move. @internal */
  pin = 0;
  /** The number of pins that hold the block at its address across operations. @internal */
  pins = 0;

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
