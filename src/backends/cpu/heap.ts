import { fail } from '../../errors.js';
import { builtin } from '../../node.js';
import type { Backend, MemoryInfo } from '../backend.js';
import { BYTES_PER_ELEMENT } from '../storage.js';
import { Block, type Loan, type Segment } from './block.js';

// The WebAssembly memory is a write-back cache in front of garbage-collected Float32Arrays. A block is resident (it has
// a segment) or evicted (its numbers are in `host`), and comes back when a kernel needs it. The heap holds resident
// blocks strongly and evicted ones not at all, so whatever nobody else holds is collected like any object once it has
// been evicted: nobody has to free anything, even in a loop that never yields. Segments are kept in address order;
// allocation goes round them like the hand of a clock and evicts what stands in the way. Eviction costs a copy, so what
// the library itself knows to be dead is freed at once: its segment goes to a bin of its size, from which the next
// allocation of that size takes the last one, still warm in the processor's caches.
//
// A large result that takes no longer to compute than to copy is rematerialized: it is evicted by forgetting its numbers,
// since most such results are dead by then, and the others are computed again when an operation needs them. What that takes
// is lent by the operands. A lent block keeps its numbers when it is evicted, and leaves them to its borrowers when it is changed or freed.

const PAGE = 65536;
const ALIGN = 64;
/** Room behind the last block, into which kernels may read while they load whole vectors. */
const MARGIN = 64;
const INITIAL_BYTES = 16 * 2 ** 20;
/** The arena grows by itself up to this size; beyond it only for an operation that does not fit otherwise. */
const COMFORT_BYTES = 2 ** 30;
const MAX_PAGES = 65536;

/** Up to so many numbers are cheaper to collect as an ordinary array than as one with a buffer. */
const SMALL = 256;
/** From so many on, Node's buffers without zeroes pay: they save a pass over memory that has never been touched. */
const LARGE = 4096;
const unfilled = /* @__PURE__ */ (() => builtin('node:buffer')?.Buffer.allocUnsafeSlow)();

/** A copy of numbers. */
function copyOf(floats: Float32Array, from: number, size: number): Float32Array | number[] {
  if (size <= SMALL) {
    const copy = new Array<number>(size);
    for (let i = 0; i < size; i++) copy[i] = floats[from + i];
    return copy;
  }
  if (!unfilled || size < LARGE) return floats.slice(from, from + size);
  const copy = new Float32Array(unfilled(size * 4).buffer as ArrayBuffer, 0, size);
  copy.set(floats.subarray(from, from + size));
  return copy;
}

export class Heap {
  /** The whole memory as numbers; replaced when the memory grows. */
  floats: Float32Array;
  readonly #bins = new Map<number, Segment[]>();
  #operation = 1;
  #arenaBytes: number;
  #restoredThisTurn = 0;
  #blocks = 0;
  #blockBytes = 0;
  readonly #first: Segment;
  #hand: Segment;

  /** @param from the address at which the heap begins: what lies below belongs to others */
  constructor(
    private readonly memory: WebAssembly.Memory,
    from: number,
  ) {
    this.floats = new Float32Array(memory.buffer);
    const ptr = Math.ceil(from / ALIGN) * ALIGN;
    this.#growTo(ptr + INITIAL_BYTES + MARGIN);
    this.#arenaBytes = this.memory.buffer.byteLength - MARGIN - ptr;
    this.#first = { ptr, bytes: this.#arenaBytes, block: null, prev: null, next: null };
    this.#hand = this.#first;
  }

  /** Begins an operation: blocks pinned for the one before may move again, its own operands stay. */
  begin(a?: Block | null, b?: Block | null, c?: Block | null): void {
    const operation = ++this.#operation;
    if (a) a.pin = operation;
    if (b) b.pin = operation;
    if (c) c.pin = operation;
  }

  /** A block of `size` floats with undefined contents, pinned. */
  alloc(backend: Backend, size: number): Block {
    const block = new Block(backend, size);
    this.#place(block);
    return block;
  }

  /** The address of a block, which is brought back if it was evicted, and pinned. */
  pointer(block: Block): number {
    if (block.segment === null) this.#restore(block);
    block.pin = this.#operation;
    return block.segment!.ptr;
  }

  /** Holds a block at its address, beyond the running operation, until it is unpinned as often; returns the address. */
  pin(block: Block): number {
    const address = this.pointer(block);
    block.pins++;
    return address;
  }

  /** Lets a pinned block move again, or frees it if it was to be freed meanwhile. */
  unpin(block: Block): void {
    if (block.pins === 0) fail('unpin', 'this storage is not pinned', 'call unpin once for every pin');
    block.pins--;
    if (block.pins === 0 && block.freedWhilePinned) {
      block.freedWhilePinned = false;
      this.free(block);
    }
  }

  #restore(block: Block): void {
    const { host, recompute } = block;
    if (host === null && !recompute?.loans) {
      fail('storage', 'this storage has been freed', 'do not use a tensor after dispose()');
    }
    const operands = host === null ? recompute!.loans!.map((loan) => loan.block) : [];
    for (const x of operands) this.pointer(x);
    this.#place(block);
    if (host !== null) {
      this.floats.set(host, block.segment!.ptr >>> 2);
      block.host = null;
    } else {
      try {
        recompute!.run(block, operands);
      } catch (error) {
        this.#vacate(block.segment!);
        throw error;
      }
    }
    this.#restoredThisTurn += block.segment!.bytes;
  }

  /** The address of a block that is about to be changed in place. */
  change(block: Block): number {
    const at = this.pointer(block);
    block.recompute = null;
    if (block.loan !== null) {
      const copy = new Block(block.backend, block.size);
      this.#place(copy);
      this.floats.copyWithin(copy.segment!.ptr >>> 2, at >>> 2, (at >>> 2) + block.size);
      copy.loan = block.loan;
      copy.loan.block = copy;
      block.loan = null;
    }
    return at;
  }

  /** The numbers of a block as a view that is valid until the next allocation. */
  view(block: Block): Float32Array {
    const from = this.pointer(block) >>> 2;
    return this.floats.subarray(from, from + block.size);
  }

  /** A copy of a block's numbers, wherever they are. */
  copyOut(block: Block): Float32Array {
    const { host } = block;
    if (block.segment === null && host !== null) return Float32Array.from(host);
    return this.view(block).slice();
  }

  free(block: Block): void {
    if (block.pins > 0) {
      block.freedWhilePinned = true;
      return;
    }
    block.recompute = null;
    const { segment: seg, host, loan } = block;
    block.host = null;
    if (loan !== null) {
      this.#inherit(block, seg, host, loan);
      return;
    }
    if (seg === null) return;
    this.#vacate(seg);
    const bin = this.#bins.get(seg.bytes);
    if (bin === undefined) this.#bins.set(seg.bytes, [seg]);
    else bin.push(seg);
  }

  /** Moves what was a lent block's to a new one for those who borrowed it. */
  #inherit(block: Block, segment: Segment | null, host: Block['host'], loan: Loan): void {
    const heir = new Block(block.backend, block.size);
    heir.segment = segment;
    heir.host = host;
    heir.loan = loan;
    loan.block = heir;
    if (segment !== null) segment.block = heir;
    block.segment = null;
    block.loan = null;
  }

  info(): MemoryInfo {
    return { blocks: this.#blocks, bytes: this.#blockBytes };
  }

  #place(block: Block): void {
    const bytes = Math.max(1, Math.ceil((block.size * BYTES_PER_ELEMENT[block.type]) / ALIGN)) * ALIGN;
    block.pin = this.#operation;
    const segment = this.#takeFromBin(bytes) ?? this.#makeRoom(bytes);
    segment.block = block;
    block.segment = segment;
    this.#blocks++;
    this.#blockBytes += segment.bytes;
  }

  #takeFromBin(bytes: number): Segment | null {
    const bin = this.#bins.get(bytes);
    if (bin === undefined) return null;
    for (let seg = bin.pop(); seg !== undefined; seg = bin.pop()) {
      // The hand may have come by since, and joined the segment to another or given it away.
      if (seg.block === null && seg.bytes === bytes) return seg;
    }
    return null;
  }

  #makeRoom(bytes: number): Segment {
    if (this.#restoredThisTurn > this.#arenaBytes / 2 && this.#arenaBytes < COMFORT_BYTES) {
      // More comes back than passes through: the working set does not fit.
      this.#extend(Math.max(this.#arenaBytes, bytes), false);
    }
    return this.#sweep(bytes) ?? this.#sweepLarger(bytes);
  }

  #sweepLarger(bytes: number): Segment {
    this.#extend(Math.max(bytes, Math.min(this.#arenaBytes, COMFORT_BYTES)), true, bytes);
    const segment = this.#sweep(bytes);
    if (segment === null) fail('alloc', `no room for ${bytes} bytes`, 'use smaller tensors');
    return segment;
  }

  /** Goes round once, evicting, until `bytes` lie free in one piece; null if pinned blocks leave no such piece. */
  #sweep(bytes: number): Segment | null {
    if (bytes > this.#arenaBytes) return null;
    let seg = this.#hand;
    let travelled = 0;
    while (travelled <= 2 * this.#arenaBytes) {
      if (seg.block !== null) {
        if (this.#stays(seg.block)) {
          travelled += seg.bytes;
          seg = this.#after(seg);
          continue;
        }
        this.#evict(seg.block);
      }
      // `seg` is free: join what is free or can be evicted behind it until it is large enough.
      while (seg.bytes < bytes && seg.next !== null) {
        const next: Segment = seg.next;
        if (next.block !== null) {
          if (this.#stays(next.block)) break;
          this.#evict(next.block);
        }
        this.#join(seg, next);
      }
      if (seg.bytes >= bytes) {
        if (seg.bytes > bytes) this.#split(seg, bytes);
        this.#hand = this.#after(seg);
        return seg;
      }
      travelled += seg.bytes;
      seg = this.#after(seg);
    }
    return null;
  }

  /** Whether a block must stay at its address now. */
  #stays(block: Block): boolean {
    return block.pin === this.#operation || block.pins > 0;
  }

  #after(seg: Segment): Segment {
    if (seg.next !== null) return seg.next;
    this.#restoredThisTurn = 0;
    this.#bins.clear();
    return this.#first;
  }

  #evict(block: Block): void {
    const seg = block.segment!;
    // A lent block keeps its numbers, so that no rematerialization depends on another.
    if (block.loan !== null || !block.recompute?.borrow()) this.#copyAside(block, seg.ptr >>> 2);
    this.#vacate(seg);
  }

  #copyAside(block: Block, from: number): void {
    block.recompute = null;
    try {
      block.host = copyOf(this.floats, from, block.size);
    } catch (cause) {
      fail('alloc', `no memory to move ${block.size} elements aside`, 'drop tensors that are no longer needed', {
        cause,
      });
    }
  }

  #vacate(seg: Segment): void {
    this.#blocks--;
    this.#blockBytes -= seg.bytes;
    seg.block!.segment = null;
    seg.block = null;
  }

  #join(seg: Segment, next: Segment): void {
    seg.bytes += next.bytes;
    seg.next = next.next;
    if (next.next !== null) next.next.prev = seg;
    next.bytes = 0;
    if (this.#hand === next) this.#hand = seg;
  }

  #split(seg: Segment, bytes: number): void {
    const rest: Segment = { ptr: seg.ptr + bytes, bytes: seg.bytes - bytes, block: null, prev: seg, next: seg.next };
    if (seg.next !== null) seg.next.prev = rest;
    seg.next = rest;
    seg.bytes = bytes;
  }

  /** Adds room at the end of the arena; if there is not so much, as much as `least`, or nothing where it is optional. */
  #extend(wanted: number, required: boolean, least = wanted): void {
    const end = this.memory.buffer.byteLength;
    const max = MAX_PAGES * PAGE;
    let target = Math.min(end + wanted, max);
    if (target < end + least) {
      if (!required) return;
      fail('alloc', `no room for ${least} bytes in the WebAssembly memory of 4 GiB`, 'use smaller tensors');
    }
    if (!this.#tryGrowTo(target)) {
      target = end + least;
      if (!required) return;
      this.#growTo(target);
    }
    const added = this.memory.buffer.byteLength - end;
    let last = this.#hand;
    while (last.next !== null) last = last.next;
    const seg: Segment = { ptr: end - MARGIN, bytes: added, block: null, prev: last, next: null };
    last.next = seg;
    this.#hand = seg;
    if (last.block === null) this.#join(last, seg);
    this.#arenaBytes += added;
    this.#restoredThisTurn = 0;
  }

  #growTo(bytes: number): void {
    if (!this.#tryGrowTo(bytes)) {
      fail(
        'alloc',
        `the system gave no memory for ${bytes} bytes`,
        'drop tensors that are no longer needed, or use smaller ones',
      );
    }
  }

  #tryGrowTo(bytes: number): boolean {
    const pages = Math.ceil(bytes / PAGE) - this.memory.buffer.byteLength / PAGE;
    if (pages <= 0) return true;
    try {
      this.memory.grow(pages);
    } catch {
      return false;
    }
    this.floats = new Float32Array(this.memory.buffer);
    return true;
  }
}
