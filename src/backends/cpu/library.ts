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
   * @param shared the library that worker threads have as well
   */
  constructor(
    private readonly first: readonly KernelLibrary[],
    private readonly shared: KernelLibrary,
  ) {}

  /** The kernel of a row; null where no library has one. */
  find(family: Family, row: { readonly name: string }): Found | null {
    if (row === this.#lastRow) return this.#last;
    let found = this.#found[family].get(row);
    if (found === undefined) {
      found = this.#search(family === 'fused' ? row.name : `${family}_${row.name}`);
      this.#found[family].set(row, found);
    }
    this.#lastRow = row;
    this.#last = found;
    return found;
  }

  #search(name: string): Found | null {
    for (const library of this.first) {
      const run = library.find(name);
      if (run !== undefined) return { name, run, shared: false };
    }
    const run = this.shared.find(name);
    return run === undefined ? null : { name, run, shared: true };
  }
}
