import { fail } from '../../errors.js';
import { builtin } from '../../node.js';
import type { Backend, MemoryInfo } from '../backend.js';
import { BYTES_PER_ELEMENT } from '../storage.js';
import { Block, type Segment, type Snapshot } from './block.js';

// The WebAssembly memory is a write-back cache in front of garbage-collected Float32Arrays. A block is resident (it has
// a segment) or evicted (its numbers are in `host`), and comes back when a kernel needs it. The heap holds resident
// blocks strongly and evicted ones not at all, so a block without other references is garbage-collected once it has been
// evicted: explicit frees are optional, even in a loop that never yields. Segments are kept in address order; allocation
// evicts them in turn (the clock algorithm). Eviction costs a copy, so blocks that the library itself knows to be unused are
// freed at once: their segments go to bins by size, from which the next allocation of that size takes the last one, which is
// still in the processor's caches.
//
// A large result that takes no longer to compute than to copy is rematerialized: its numbers are dropped on eviction, since
// most such results are unused by then, and recomputed when an operation needs them. The rematerialization has snapshots of
// its operands: they keep their numbers when they are evicted, and are copied when they are changed.

const PAGE = 65536;
const ALIGN = 64;
/** Space behind the last block, into which kernels may read when they load whole vectors. */
const MARGIN = 64;
/**
 * The arena begins small: a loop over small tensors then evicts them soon, while they are still cheap to collect as young
 * objects of JavaScript. It grows as soon as evicted blocks come back.
 */
const INITIAL_BYTES = 128 * 2 ** 10;
/** Up to this size, the arena grows when a sixteenth of it was restored in one turn; beyond it, when half of it was. */
const MODEST_BYTES = 16 * 2 ** 20;
/** The arena grows by itself up to this size; beyond it only for an operation that does not fit otherwise. */
const COMFORT_BYTES = 2 ** 30;
const MAX_PAGES = 65536;

/** Up to this size an ordinary array is cheaper to collect than a typed array. */
const SMALL = 256;
/** From this size on, Node's uninitialized buffers are faster: they save a pass over new memory. */
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
  #arenaBytes = INITIAL_BYTES;
  /** The address behind the arena. */
  #end: number;
  #restoredThisTurn = 0;
  #blocks = 0;
  #blockBytes = 0;
  readonly #first: Segment;
  /** Blocks that are to be freed when they are unpinned. */
  readonly #freedWhilePinned = new Set<Block>();
  #hand: Segment;

  /** @param from the address at which the heap begins: the memory below is not part of it */
  constructor(
    private readonly memory: WebAssembly.Memory,
    from: number,
  ) {
    this.floats = new Float32Array(memory.buffer);
    const ptr = Math.ceil(from / ALIGN) * ALIGN;
    this.#end = ptr + INITIAL_BYTES;
    this.#growTo(this.#end + MARGIN);
    this.#first = { ptr, bytes: this.#arenaBytes, block: null, prev: null, next: null };
    this.#hand = this.#first;
  }

  /** Begins an operation: blocks that were pinned for the previous one may move again. */
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

  /** The address of a block, which is restored if it was evicted, and pinned. */
  pointer(block: Block): number {
    if (block.segment === null) this.#restore(block);
    block.pin = this.#operation;
    return block.segment!.ptr;
  }

  /** Pins a block at its address beyond the running operation, until the matching unpin; returns the address. */
  pin(block: Block): number {
    const address = this.pointer(block);
    block.pins++;
    return address;
  }

  /** Undoes a pin. Without pins the block may move again, or is freed if free was called meanwhile. */
  unpin(block: Block): void {
    if (block.pins === 0) fail('unpin', 'this storage is not pinned', 'call unpin once for every pin');
    block.pins--;
    if (block.pins === 0 && this.#freedWhilePinned.delete(block)) this.free(block);
  }

  #restore(block: Block): void {
    const { host, recompute } = block;
    if (host === null && !recompute?.snapshots) {
      fail('storage', 'this storage has been freed', 'do not use a tensor after dispose()');
    }
    const operands = host === null ? recompute!.snapshots!.map((snapshot) => snapshot.block) : [];
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
    if (block.snapshot !== null) {
      const copy = new Block(block.backend, block.size);
      this.#place(copy);
      this.floats.copyWithin(copy.segment!.ptr >>> 2, at >>> 2, (at >>> 2) + block.size);
      copy.snapshot = block.snapshot;
      copy.snapshot.block = copy;
      block.snapshot = null;
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
      this.#freedWhilePinned.add(block);
      return;
    }
    block.recompute = null;
    const { segment: seg, host, snapshot } = block;
    block.host = null;
    if (snapshot !== null) {
      this.#moveToSnapshot(block, seg, host, snapshot);
      return;
    }
    if (seg === null) return;
    this.#vacate(seg);
    const bin = this.#bins.get(seg.bytes);
    if (bin === undefined) this.#bins.set(seg.bytes, [seg]);
    else bin.push(seg);
  }

  /** Moves the numbers of a block with a snapshot to a new block. */
  #moveToSnapshot(block: Block, segment: Segment | null, host: Block['host'], snapshot: Snapshot): void {
    const copy = new Block(block.backend, block.size);
    copy.segment = segment;
    copy.host = host;
    copy.snapshot = snapshot;
    snapshot.block = copy;
    if (segment !== null) segment.block = copy;
    block.segment = null;
    block.snapshot = null;
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
      // Allocation may have merged the segment into another or reused it since.
      if (seg.block === null && seg.bytes === bytes) return seg;
    }
    return null;
  }

  #makeRoom(bytes: number): Segment {
    const tolerated = this.#arenaBytes / (this.#arenaBytes < MODEST_BYTES ? 16 : 2);
    if (this.#restoredThisTurn > tolerated && this.#arenaBytes < COMFORT_BYTES) {
      // Too much of the arena was restored in this turn: the working set does not fit.
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

  /** One turn of the clock: evicts until `bytes` are free in one piece; null if pinned blocks leave no such piece. */
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
      // `seg` is free: merge the following segments that are free or can be evicted until it is large enough.
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
    // A block with a snapshot keeps its numbers, so that no rematerialization depends on another.
    if (block.snapshot !== null || !block.recompute?.takeSnapshots()) this.#copyAside(block, seg.ptr >>> 2);
    this.#vacate(seg);
  }

  #copyAside(block: Block, from: number): void {
    block.recompute = null;
    try {
      block.host = copyOf(this.floats, from, block.size);
    } catch (cause) {
      fail('alloc', `no memory to move ${block.size} elements aside`, 'dispose of tensors that are not needed', {
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

  /** Extends the arena by `wanted` bytes, or by at least `least`; if neither is possible, throws if it is required. */
  #extend(wanted: number, required: boolean, least = wanted): void {
    const end = this.#end;
    let target = Math.min(end + wanted, MAX_PAGES * PAGE - MARGIN);
    if (target < end + least) {
      if (!required) return;
      fail('alloc', `no room for ${least} bytes in the WebAssembly memory of 4 GiB`, 'use smaller tensors');
    }
    if (!this.#tryGrowTo(target + MARGIN)) {
      target = end + least;
      if (!required) return;
      this.#growTo(target + MARGIN);
    }
    this.#end = target;
    const added = target - end;
    let last = this.#hand;
    while (last.next !== null) last = last.next;
    const seg: Segment = { ptr: end, bytes: added, block: null, prev: last, next: null };
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
        `the system refused to allocate ${bytes} bytes`,
        'dispose of tensors that are not needed, or use smaller ones',
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
