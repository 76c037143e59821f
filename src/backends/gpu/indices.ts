import { badIndices } from '../../../kernels/gpu/indices.js';
import { fill } from '../../../kernels/gpu/layout.js';
import { reduce } from '../../../kernels/gpu/reduce.js';
import { TapegradError } from '../../errors.js';
import type { Launcher } from './launcher.js';
import { type Handle, REMEDY } from './runtime.js';
import type { GpuStorage } from './storage.js';

// Labels and indices that the device computed are unknown to the host. Kernels would read beside their arrays, and compute
// finite numbers of nonsense, so that the device checks them, and the next read says what it found.

/** The indices that one thread looks at. */
const EACH = 128;
const MAX = 'x > acc ? x : acc';
/** How many sites are known by name; the others are one site. */
const MOST_SITES = 1024;

export class IndexChecks {
  /** One number: 0, or the position of the site that found a bad index, plus 1. */
  #flag: GpuStorage | null = null;
  /** Its version as of the last look. */
  #seen = 0;
  readonly #sites = new Map<string, number>();

  /** What was found and not told. */
  #found: TapegradError | null = null;
  /** The look that is under way. */
  #looking: Promise<TapegradError | null> | null = null;

  /** @param errorOf what went wrong with an array */
  constructor(
    private readonly gpu: Launcher,
    private readonly makeFlag: () => GpuStorage,
    private readonly errorOf: (handle: Handle) => Promise<Error | null> | null,
  ) {}

  /** Checks on the device that numbers are integers from 0 to count - 1; `take` tells. */
  check(op: string, index: GpuStorage, count: number): void {
    const { gpu } = this;
    const site = `${op} ${count}`;
    if (!this.#sites.has(site) && this.#sites.size < MOST_SITES) this.#sites.set(site, this.#sites.size + 1);
    this.#flag ??= this.makeFlag();
    const threads = Math.max(1, Math.ceil(index.size / EACH));
    const steps = Math.ceil(index.size / threads);
    const number = this.#sites.get(site) ?? MOST_SITES + 1;
    const [numbers, before] = [gpu.present(index), gpu.present(this.#flag)];
    let flag = gpu.launch(badIndices, threads, [numbers, before, index.size, threads, steps, count, number]);
    if (threads > 1) {
      const each = flag;
      flag = gpu.stages(reduce('index', MAX, 'largest flag'), each, 1, threads, 1);
      each.release();
    }
    gpu.replace(this.#flag, flag);
  }

  /** What checks have found and nobody was told; null at once if there was no check. Reads at the same time are told the same. */
  take(): Promise<TapegradError | null> | null {
    const flag = this.#flag;
    if (flag !== null && flag.version !== this.#seen) {
      this.#seen = flag.version;
      const looking = this.#look(flag).then((found) => {
        if (this.#looking === looking) this.#looking = null;
        this.#found ??= found;
        return this.#found;
      });
      this.#looking = looking;
    }
    return this.#looking ?? (this.#found === null ? null : Promise.resolve(this.#found));
  }

  /** Notes that somebody was told what was found. */
  told(): void {
    this.#found = null;
  }

  async #look(flag: GpuStorage): Promise<TapegradError | null> {
    const cell = flag.cell!.use();
    try {
      const handle = await cell.handle;
      const failed = await this.errorOf(handle);
      const [found] = failed === null ? await handle.toArray() : [0];
      if (failed === null && found === 0) return null;
      if (flag.cell === cell) {
        this.gpu.replace(flag, this.gpu.launch(fill, 1, [0]));
        this.#seen = flag.version;
      }
      return failed === null ? this.#complaint(found) : unchecked(failed.message);
    } catch (cause) {
      return unchecked((cause as Error).message);
    } finally {
      cell.release();
    }
  }

  #complaint(number: number): TapegradError {
    const [site] = [...this.#sites].find(([, n]) => n === number) ?? [];
    const [op, count] = site?.split(' ') ?? ['index'];
    const wanted = count === undefined ? 'integer within its range' : `integer from 0 to ${Number(count) - 1}`;
    return new TapegradError(
      op,
      `a label or index that was computed on the GPU is no ${wanted}`,
      `labels are ${wanted.replace('integer', 'integers')}; read them to see which one is wrong`,
    );
  }
}

const unchecked = (problem: string) =>
  new TapegradError('index', `labels that were computed on the GPU could not be checked: ${problem}`, REMEDY);
