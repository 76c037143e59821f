import type { GpuBuffer } from './pool.js';

// WebGPU reports a failed allocation or kernel later, and goes on meanwhile: what was computed from it holds zeros. Here each
// buffer knows the reports that its numbers depend on, so that an error reaches the readers of those buffers and nobody else.

/** What the device reports on a piece of work, later. */
export interface Verdict {
  /** Settles when the report has come. */
  readonly known: Promise<void>;
  pending: boolean;
  error: Error | null;
  /** Whether it is about an allocation, which what is computed from the buffer can fail by. */
  readonly root: boolean;
}

/** What scopes of errors need of a device. */
export interface Scopes {
  pushErrorScope(filter: string): void;
  popErrorScope(): Promise<{ message: string } | null>;
}

/** Calls a device that may have no memory, with a report on it. */
export function reported<T>(
  device: Scopes,
  call: () => T,
  failure: (message: string) => Error,
): { result: T; report: Promise<Error | null> } {
  const scopes = ['validation', 'out-of-memory'];
  for (const filter of scopes) device.pushErrorScope(filter);
  const result = call();
  const report = Promise.all(scopes.map(() => device.popErrorScope())).then((errors) => {
    const error = errors.find((e) => e !== null);
    return error ? failure(error.message) : null;
  });
  return { result, report };
}

/** Errors that no buffer depends on any more. */
const forgotten = /* @__PURE__ */ new FinalizationRegistry<Verdicts>((verdicts) => verdicts.forget());

/** The reports that buffers and pipelines depend on. */
export class Verdicts {
  /** The report on the allocation of a buffer. */
  readonly #made = new WeakMap<GpuBuffer, Verdict>();
  /** The reports on what its present numbers were computed from. */
  readonly #content = new WeakMap<GpuBuffer, readonly Verdict[]>();
  /** How many are pending, or have an error: without any there is nothing to follow. */
  #open = 0;

  /** Whether passes must be followed. */
  get active(): boolean {
    return this.#open > 0;
  }

  /** Notes that nothing depends on an error any more. @internal */
  forget(): void {
    this.#open--;
  }

  /** A report that comes as a promise of an error. */
  expect(report: Promise<Error | null>, root = false): Verdict {
    const verdict: Verdict = {
      root,
      pending: true,
      error: null,
      known: report
        // A device that was lost meanwhile has no report: readers learn of the loss.
        .catch(() => null)
        .then((error) => {
          verdict.pending = false;
          verdict.error = error;
          if (error === null) this.#open--;
          else forgotten.register(verdict, this);
        }),
    };
    this.#open++;
    return verdict;
  }

  /** Notes the report on the allocation of buffers. */
  made(buffers: readonly GpuBuffer[], report: Promise<Error | null>): void {
    const verdict = this.expect(report, true);
    for (const buffer of buffers) this.#made.set(buffer, verdict);
  }

  /** Whether the allocation of a buffer may have failed. */
  doubtful(buffer: GpuBuffer): boolean {
    const verdict = this.#made.get(buffer);
    return verdict !== undefined && (verdict.pending || verdict.error !== null);
  }

  /** Notes that a buffer gets its numbers from others, and what else they depend on. */
  computed(output: GpuBuffer, inputs: readonly GpuBuffer[], own: readonly Verdict[] = []): void {
    const all = new Set(own);
    for (const input of inputs) if (input !== output) for (const verdict of this.of(input)) all.add(verdict);
    if (all.size > 0) this.#content.set(output, [...all]);
    else this.#content.delete(output);
  }

  /** The reports that the numbers of a buffer depend on, of which none is known to be good. */
  of(buffer: GpuBuffer): Verdict[] {
    const made = this.#made.get(buffer);
    const content = this.#content.get(buffer) ?? [];
    return (made === undefined ? content : [made, ...content]).filter((v) => v.pending || v.error !== null);
  }

  /** Whether a buffer itself could not be allocated. */
  failed(buffer: GpuBuffer): boolean {
    return (this.#made.get(buffer)?.error ?? null) !== null;
  }

  /** The first error among the reports that a buffer depends on, now; null at once where all are good. */
  errorOf(buffer: GpuBuffer): Promise<Error | null> | null {
    if (!this.active) return null;
    const all = this.of(buffer);
    if (all.length === 0) return null;
    return Promise.all(all.map((v) => v.known)).then(() => all.find((v) => v.error !== null)?.error ?? null);
  }
}
