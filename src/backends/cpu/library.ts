import type { EmbeddedKernels } from '../backend.js';

/** A function of addresses in the heap, loop bounds and numbers, called by position. */
export type Kernel = (...args: number[]) => number;

/**
 * Kernels for one instruction set, which work on the heap's memory. A kernel is called 'unary_exp', 'binary_add',
 * 'reduce_sum', or as its fused row. Libraries are searched in order; if none has a kernel, the row's scalar function runs.
 */
export interface KernelLibrary {
  find(name: string): Kernel | undefined;
}

/** A kernel that was found. */
export interface Found {
  /** Its name in the library. */
  readonly name: string;
  readonly run: Kernel;
  /** Whether worker threads have it, too. */
  readonly shared: boolean;
}

/** What is read of a row. */
interface Row {
  readonly name: string;
  readonly library?: EmbeddedKernels;
}

type Family = 'unary' | 'binary' | 'reduce' | 'fused';

/** The libraries in the order of the search. Results are cached, so that names are concatenated and looked up once. */
export class Libraries {
  readonly #found: Record<Family, Map<object, Found | null>> = {
    unary: new Map(),
    binary: new Map(),
    reduce: new Map(),
    fused: new Map(),
  };

  /** The last row and its kernel: an optimizer asks for one kernel again and again. */
  #lastRow: object | null = null;
  #last: Found | null = null;

  /**
   * @param first searched before the others
   * @param shared the kernels that worker threads have as well
   * @param load adds embedded kernels to the shared ones
   */
  constructor(
    private readonly first: readonly KernelLibrary[],
    private readonly shared: KernelLibrary,
    private readonly load: (library: EmbeddedKernels) => void,
  ) {}

  /** The kernel of a row; null where no library has one. */
  find(family: Family, row: Row): Found | null {
    if (row === this.#lastRow) return this.#last;
    let found = this.#found[family].get(row);
    if (found === undefined) {
      found = this.#search(family === 'fused' ? row.name : `${family}_${row.name}`, row.library);
      this.#found[family].set(row, found);
    }
    this.#lastRow = row;
    this.#last = found;
    return found;
  }

  #search(name: string, library: EmbeddedKernels | undefined): Found | null {
    for (const library of this.first) {
      const run = library.find(name);
      if (run !== undefined) return { name, run, shared: false };
    }
    let run = this.shared.find(name);
    if (run === undefined && library !== undefined) {
      this.load(library);
      run = this.shared.find(name);
    }
    return run === undefined ? null : { name, run, shared: true };
  }
}

/** Calls a kernel with MAX_ARGS arguments, one by one: a spread takes longer than a small kernel. */
export function callWith(run: Kernel, a: readonly number[]): void {
  run(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]);
}
