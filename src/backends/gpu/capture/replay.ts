import type { Capture } from '../../backend.js';
import type { Storage } from '../../storage.js';
import type { Handle, RuntimeCapture } from '../runtime.js';
import { Cell, type GpuStorage } from '../storage.js';
import { fusions } from './fuse.js';
import type { CaptureBackend, CaptureSession } from './session.js';

/** What a capture keeps on the device, and when all that was called has been queued. */
interface Kept {
  readonly runtime: RuntimeCapture;
  ready: Promise<unknown>;
}

const giveBack = ({ runtime, ready }: Kept): void => void ready.then(() => runtime.destroy());

/** Captures that nobody can replay any more. */
const dropped = /* @__PURE__ */ new FinalizationRegistry<Kept>(giveBack);

interface Output {
  readonly op: string;
  readonly size: number;
}

/** A function that was captured. Nothing is copied: replays read the arrays of others, and make new ones for their results. */
export class GpuCapture implements Capture {
  readonly results: readonly Storage[];
  readonly #outputs: readonly Output[];
  /** The storages from outside that the function used, and those that it changed. */
  readonly #outer: readonly GpuStorage[];
  readonly #changed: readonly (readonly [x: GpuStorage, op: string])[];
  readonly #kept: Kept;
  /** Whether the first run has been queued, so that its dispatches are known; and when. */
  #captured = false;
  readonly #begun: Promise<void>;

  /** Whether something failed while it was captured: then replays would fail, too. */
  broken = false;

  constructor(
    session: CaptureSession,
    private readonly backend: CaptureBackend,
    inputs: readonly GpuStorage[],
    results: readonly GpuStorage[],
  ) {
    const given = [...inputs.map((x) => x.cell!.use()), ...session.outer.values()];
    const cellOf = (x: GpuStorage) => session.cellOf(x) ?? x.cell!;
    const changed = [...session.changed];
    this.#outer = [...session.outer.keys()];
    const outputs = results.map(cellOf);
    this.#outputs = results.map(({ size }, i) => ({ op: outputs[i].op, size }));
    this.#changed = changed.map(([x, cell]) => [x, cell.op]);
    const made = [...outputs, ...changed.map(([, cell]) => cell)];
    for (const cell of made) cell.use();
    this.results = results.map(({ size }, i) => backend.make(size, outputs[i].use()));
    // The use of the session becomes that of the storage; the version has been counted up.
    for (const [x, cell] of changed) x.replace(cell);
    for (const x of [...session.made, ...inputs]) x.free();
    const runtime = session.runtime;
    this.#begun = this.#finish(session, given, made);
    this.#kept = { runtime, ready: this.#begun.then(() => this.#fuse(session, given, made)) };
    dropped.register(this, this.#kept, this);
  }

  async #finish(session: CaptureSession, given: readonly Cell[], made: readonly Cell[]): Promise<void> {
    const cells = [...session.cells, ...given];
    await Promise.allSettled(cells.map((cell) => cell.handle));
    for (const cell of cells) {
      const failed = cell.now === null || (await session.runtime.errorOf(cell.now)) !== null;
      if (failed || cell.unchanged !== null) this.broken = true;
    }
    if (!this.broken) session.runtime.finish(given.map(handleNow), made.map(handleNow));
    this.#captured = !this.broken;
  }

  /** Puts one kernel in the place of each chain of element-wise ones. Replays that come before have the chains. */
  async #fuse({ launched, runtime }: CaptureSession, given: readonly Cell[], made: readonly Cell[]): Promise<void> {
    const [before, after] = [given.map(handleNow), made.map(handleNow)];
    try {
      if (this.broken) return;
      for (const { kernel, size, inputs, outputs } of fusions(launched, [...before, ...after])) {
        // Those that the capture keeps may have been let go.
        const arrays = inputs.map((handle) => handle.clone());
        const handle = await this.backend.runIn(runtime, kernel, size, arrays);
        const failed = await runtime.errorOf(handle);
        runtime.substitute(handle, failed === null ? outputs : []);
        for (const array of [...arrays, handle]) array.delete();
      }
      runtime.finish(before, after);
    } catch {
      // A kernel that does not compile, or a device that was lost: what was captured stays as it is.
    } finally {
      for (const cell of [...given, ...made]) cell.release();
    }
  }

  replay(inputs: readonly Storage[]): Storage[] {
    const cellOf = (x: Storage) => this.backend.cellOf(x);
    const given = [...inputs, ...this.#outer].map(cellOf);
    const before = this.#changed.map(([x]) => cellOf(x));
    const cells = this.#replayNow(given, before) ?? this.#replayLater(given, before);
    for (const [i, [x]] of this.#changed.entries()) x.replace(cells[this.#outputs.length + i]);
    return this.#outputs.map(({ size }, i) => this.backend.make(size, cells[i]));
  }

  /** Queues a replay at once; null if it must wait for something. */
  #replayNow(given: readonly Cell[], before: readonly Cell[]): Cell[] | null {
    const { runtime } = this.#kept;
    if (!this.#captured || given.some((cell) => cell.now === null) || before.some((cell) => cell.now === null))
      return null;
    let fresh: readonly Handle[];
    try {
      fresh = runtime.replay(given.map(handleNow));
    } catch {
      return null; // It is lost, which is told to who awaits a result.
    }
    // What is to replace other numbers must be known to be good.
    const sure = fresh.slice(this.#outputs.length).every((handle) => runtime.errorOf(handle) === null);
    return this.#cells(sure ? fresh : Promise.resolve(fresh), before);
  }

  /** Waits for what a replay needs, and queues it. */
  #replayLater(given: readonly Cell[], before: readonly Cell[]): Cell[] {
    for (const cell of given) cell.use();
    const { ready, runtime } = this.#kept;
    const run = async () => {
      try {
        await this.#begun;
        return runtime.replay(await Promise.all(given.map((cell) => cell.handle)));
      } finally {
        for (const cell of given) cell.release();
      }
    };
    const done = run();
    this.#kept.ready = Promise.allSettled([ready, done]).then(() => {});
    return this.#cells(done, before);
  }

  /** Cells for the arrays of a replay: results, then what changes. What fails is told to who awaits a result, and changes nothing. */
  #cells(fresh: readonly Handle[] | Promise<readonly Handle[]>, before: readonly Cell[]): Cell[] {
    const { runtime } = this.#kept;
    const count = this.#outputs.length;
    const at = (i: number) => (fresh instanceof Promise ? fresh.then((handles) => handles[i]) : fresh[i]);
    const results = this.#outputs.map(({ op }, i) => new Cell(at(i), op));
    const changed = this.#changed.map(([, op], i) => {
      const former = before[i];
      if (!(fresh instanceof Promise)) {
        const cell = new Cell(fresh[count + i], op);
        cell.unchanged = former.unchanged;
        return cell;
      }
      former.use();
      const settle = async () => {
        try {
          const handle = (await fresh)[count + i];
          const error = await runtime.errorOf(handle);
          next.unchanged = error ?? former.unchanged;
          if (error === null) return handle;
          handle.delete();
        } catch {
          // What it is computed from failed: there are no other numbers.
        }
        return (await former.handle).clone();
      };
      const next: Cell = new Cell(
        settle().finally(() => former.release()),
        op,
      );
      return next;
    });
    return [...results, ...changed];
  }

  free(): void {
    dropped.unregister(this);
    giveBack(this.#kept);
  }
}

const handleNow = (cell: Cell): Handle => cell.now!;
