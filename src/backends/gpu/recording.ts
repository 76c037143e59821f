import { fail } from '../../errors.js';
import type { Capture } from '../backend.js';
import { ESCAPED, type Storage } from '../storage.js';
import type { Handle, Tape } from './runtime.js';
import { Cell, type GpuStorage } from './storage.js';

/** What the notes need of the backend that they are about. */
export interface Recordable {
  /** A copy of its own, which is not noted. */
  copyCell(cell: Cell, size: number): Cell;
  make(size: number, cell: Cell): GpuStorage;
  cellOf(storage: Storage): Cell;
}

/** A storage from outside that the recorded function used. */
interface Outer {
  /** The tape's own array of its numbers. */
  readonly own: Cell;
  /** Whose numbers are in it. */
  from: Cell;
}

/** Refuses to note something. */
export function refuse(what: string, remedy: string): never {
  fail('compile', `the step ${what}, which cannot be recorded`, remedy);
}

/** What is called while a function is being recorded. */
export class Notes {
  readonly made = new Set<GpuStorage>();
  readonly outer = new Map<GpuStorage, Outer>();
  /** The numbers that storages from outside have now, as far as the function has changed them. */
  readonly changed = new Map<GpuStorage, Cell>();
  readonly cells: Cell[] = [];

  #reads = false;

  constructor(
    readonly tape: Tape,
    private readonly backend: Recordable,
  ) {}

  /** The numbers of a storage as the function sees them. */
  cellOf(x: GpuStorage): Cell | null {
    if (this.made.has(x)) return null;
    const changed = this.changed.get(x);
    if (changed !== undefined) return changed;
    let outer = this.outer.get(x);
    if (outer === undefined) {
      const from = this.backend.cellOf(x);
      outer = { own: this.backend.copyCell(from, x.size), from };
      this.outer.set(x, outer);
    }
    return outer.own;
  }

  /** A read is a promise, so what is wrong with it is said at the end. */
  noteRead(): void {
    this.#reads = true;
  }

  replace(x: GpuStorage, cell: Cell): void {
    x.version++;
    this.changed.get(x)?.release();
    this.changed.set(x, cell);
  }

  free(x: GpuStorage): void {
    if (this.outer.has(x)) {
      refuse(
        'reads a tensor from before and then drops it, as gradients that add up do',
        'call optimizer.zeroGrad() at the end of the step',
      );
    }
    x.free();
  }

  /** Ends the notes; `inputs` and `results` are the storages that the function got and gave. */
  end(inputs: readonly GpuStorage[], results: readonly GpuStorage[]): Capture {
    try {
      if (this.#reads) refuse('reads a tensor', 'read what it returns, outside of it');
      // Gradients are counted; what people have seen has a great many holders beside.
      if ([...this.made].some((x) => x.references % ESCAPED > 0 && !x.freed && !results.includes(x))) {
        refuse('leaves gradients behind', 'call optimizer.zeroGrad() at its end');
      }
    } catch (error) {
      this.abandon();
      throw error;
    }
    return new GpuRecording(this, this.backend, inputs, results);
  }

  /** Gives everything back; storages from outside keep the numbers that they had. */
  abandon(): void {
    for (const x of this.made) x.free();
    for (const cell of this.changed.values()) cell.release();
    for (const { own } of this.outer.values()) own.release();
    void this.queued().then(() => this.tape.destroy());
  }

  /** Ends when all that was called has been queued, or has failed. */
  async queued(): Promise<void> {
    await Promise.allSettled(this.cells.map((cell) => cell.handle));
  }
}

/** What a recording keeps on the device. */
interface Arrays {
  readonly tape: Tape;
  readonly cells: readonly Cell[];
}

function giveBack({ tape, cells }: Arrays): void {
  for (const cell of cells) cell.release();
  tape.destroy();
}

/** Recordings that nobody can replay any more. */
const dropped = /* @__PURE__ */ new FinalizationRegistry<Arrays>(giveBack);

interface Output {
  readonly cell: Cell;
  readonly size: number;
}

type Changed = readonly (readonly [GpuStorage, Cell])[];

const wantedOf = (outputs: readonly Output[], changed: Changed): Cell[] => [
  ...outputs.map((o) => o.cell),
  ...changed.map(([, cell]) => cell),
];

class GpuRecording implements Capture {
  readonly #arrays: Arrays;
  readonly results: readonly Storage[];
  readonly #inputs: readonly Cell[];
  readonly #outputs: readonly Output[];
  readonly #changed: Changed;
  /** Ends when everything has been queued that was called before. */
  #ready: Promise<void>;

  constructor(
    private readonly notes: Notes,
    private readonly backend: Recordable,
    inputs: readonly GpuStorage[],
    results: readonly GpuStorage[],
  ) {
    this.#inputs = inputs.map((x) => x.cell!.use());
    this.#outputs = results.map((x) => ({ cell: (notes.cellOf(x) ?? x.cell!).use(), size: x.size }));
    this.#changed = [...notes.changed];
    // Nobody outside sees the arrays of the tape: they change with every run.
    this.results = this.#outputs.map(({ cell, size }) => backend.make(size, backend.copyCell(cell, size)));
    for (const [x, cell] of this.#changed) x.replace(backend.copyCell(cell, x.size));
    for (const x of [...notes.made, ...inputs]) x.free();
    this.#ready = notes.queued().then(() => notes.tape.end());
    const outer = [...notes.outer.values()].map((o) => o.own);
    this.#arrays = { tape: notes.tape, cells: [...this.#inputs, ...wantedOf(this.#outputs, this.#changed), ...outer] };
    dropped.register(this, this.#arrays, this);
  }

  replay(inputs: readonly Storage[]): Storage[] {
    const given = inputs.map((x) => this.backend.cellOf(x).use());
    const present = [...this.notes.outer].map(([x, outer]) => ({ outer, cell: this.backend.cellOf(x).use() }));
    const before = this.#changed.map(([x]) => this.backend.cellOf(x).use());
    const done = this.#run(this.#ready, given, present);
    const results = this.#outputs.map(
      ({ cell }, i) =>
        new Cell(
          done.then((fresh) => fresh[i]),
          cell.op,
        ),
    );
    // What fails is told to who awaits a result, and changes nothing.
    const changed = this.#changed.map(([, cell], i) => {
      const kept = async () => (await before[i].handle).clone();
      return new Cell(
        done.then((fresh) => fresh[results.length + i], kept),
        cell.op,
      );
    });
    for (const [i, [x]] of this.#changed.entries()) x.replace(changed[i]);
    this.#ready = done.then(
      () => {
        for (const [i, [x]] of this.#changed.entries()) {
          const outer = this.notes.outer.get(x);
          if (outer !== undefined) outer.from = changed[i];
        }
      },
      () => {},
    );
    void this.#ready.then(() => {
      for (const cell of [...given, ...present.map((p) => p.cell), ...before]) cell.release();
    });
    return results.map((cell, i) => this.backend.make(this.#outputs[i].size, cell));
  }

  /** Waits for its turn and for what it needs, and submits the tape. */
  async #run(
    turn: Promise<void>,
    given: readonly Cell[],
    present: readonly { outer: Outer; cell: Cell }[],
  ): Promise<Handle[]> {
    await turn;
    const stale = present.filter(({ outer, cell }) => outer.from !== cell);
    const into = [
      ...given.map((cell, i) => [this.#inputs[i], cell] as const),
      ...stale.map(({ outer, cell }) => [outer.own, cell] as const),
    ];
    const carried = this.#changed.flatMap(([x, after]) => {
      const outer = this.notes.outer.get(x);
      return outer === undefined ? [] : [[outer.own, after] as const];
    });
    const wanted = wantedOf(this.#outputs, this.#changed).map((cell) => cell.handle);
    const [copies, results, carry] = await Promise.all([handles(into), Promise.all(wanted), handles(carried)]);
    const fresh = this.notes.tape.run(copies, results, carry);
    for (const { outer, cell } of stale) outer.from = cell;
    return fresh;
  }

  free(): void {
    dropped.unregister(this);
    void this.#ready.then(() => giveBack(this.#arrays));
  }
}

const handles = (pairs: readonly (readonly [Cell, Cell])[]): Promise<(readonly [Handle, Handle])[]> =>
  Promise.all(pairs.map(async ([a, b]) => [await a.handle, await b.handle] as const));
