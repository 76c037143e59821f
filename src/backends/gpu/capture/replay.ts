import type { Capture } from '../../backend.js';
import type { Storage } from '../../storage.js';
import type { Handle, RuntimeCapture } from '../runtime.js';
import { Cell, type GpuStorage } from '../storage.js';
import type { CaptureBackend, CaptureSession, Outer } from './session.js';

/** What a capture keeps on the device. */
interface Arrays {
  readonly runtime: RuntimeCapture;
  readonly cells: readonly Cell[];
}

function giveBack({ runtime, cells }: Arrays): void {
  for (const cell of cells) cell.release();
  runtime.destroy();
}

/** Captures that nobody can replay any more. */
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

export class GpuCapture implements Capture {
  readonly #arrays: Arrays;
  readonly results: readonly Storage[];
  readonly #inputs: readonly Cell[];
  readonly #outputs: readonly Output[];
  readonly #changed: Changed;
  /** Ends when everything has been queued that was called before. */
  #ready: Promise<void>;

  constructor(
    private readonly session: CaptureSession,
    private readonly backend: CaptureBackend,
    inputs: readonly GpuStorage[],
    results: readonly GpuStorage[],
  ) {
    this.#inputs = inputs.map((x) => x.cell!.use());
    this.#outputs = results.map((x) => ({ cell: (session.cellOf(x) ?? x.cell!).use(), size: x.size }));
    this.#changed = [...session.changed];
    // Nobody outside sees the arrays of the capture: they change with every run.
    const copies: Cell[] = [];
    const copy = (cell: Cell, size: number) => {
      const own = backend.copyCell(cell, size);
      // Who reads the copy is told what went wrong with the update.
      void cell.handle.then(
        () => {
          own.unchanged ??= cell.unchanged;
        },
        () => {},
      );
      copies.push(own);
      return own;
    };
    this.results = this.#outputs.map(({ cell, size }) => backend.make(size, copy(cell, size)));
    for (const [x, cell] of this.#changed) x.replace(copy(cell, x.size));
    for (const x of [...session.made, ...inputs]) x.free();
    // A replay overwrites the arrays of the capture: not before the copies have been queued.
    this.#ready = Promise.allSettled([session.queued(), ...copies.map((cell) => cell.handle)]).then(() =>
      this.#check(),
    );
    const outer = [...session.outer.values()].map((o) => o.own);
    this.#arrays = {
      runtime: session.runtime,
      cells: [...this.#inputs, ...wantedOf(this.#outputs, this.#changed), ...outer],
    };
    dropped.register(this, this.#arrays, this);
  }

  /** Whether something failed while it was captured: then replays would fail, too. */
  broken = false;

  async #check(): Promise<void> {
    for (const cell of this.session.cells) {
      const failed = await cell.handle.then(
        (handle) => this.session.runtime.errorOf(handle),
        (error: Error) => error,
      );
      if (failed !== null || cell.unchanged !== null) this.broken = true;
    }
  }

  replay(inputs: readonly Storage[]): Storage[] {
    const given = inputs.map((x) => this.backend.cellOf(x).use());
    const present = [...this.session.outer].map(([x, outer]) => ({ outer, cell: this.backend.cellOf(x).use() }));
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
    const failed = new Set<number>();
    const changed = this.#changed.map(([, cell], i) => {
      const kept = async () => (await before[i].handle).clone();
      const settle = async (fresh: readonly Handle[]) => {
        const handle = fresh[results.length + i];
        const error = await this.session.runtime.errorOf(handle);
        next.unchanged = error ?? before[i].unchanged;
        if (error === null) return handle;
        failed.add(i);
        handle.delete();
        return kept();
      };
      const next: Cell = new Cell(done.then(settle, kept), cell.op);
      return next;
    });
    for (const [i, [x]] of this.#changed.entries()) x.replace(changed[i]);
    this.#ready = done.then(
      async () => {
        await Promise.allSettled(changed.map((cell) => cell.handle));
        for (const [i, [x]] of this.#changed.entries()) {
          const outer = this.session.outer.get(x);
          // What kept its numbers is copied in again.
          if (outer !== undefined && !failed.has(i)) outer.from = changed[i];
        }
      },
      () => {},
    );
    void this.#ready.then(() => {
      for (const cell of [...given, ...present.map((p) => p.cell), ...before]) cell.release();
    });
    return results.map((cell, i) => this.backend.make(this.#outputs[i].size, cell));
  }

  /** Waits for its turn and for what it needs, and submits the capture. */
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
      const outer = this.session.outer.get(x);
      return outer === undefined ? [] : [[outer.own, after] as const];
    });
    const wanted = wantedOf(this.#outputs, this.#changed).map((cell) => cell.handle);
    const [copies, results, carry] = await Promise.all([handles(into), Promise.all(wanted), handles(carried)]);
    const fresh = this.session.runtime.replay(copies, results, carry);
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
