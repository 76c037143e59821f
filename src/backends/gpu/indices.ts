import { badIndices } from '../../../kernels/gpu/indices.js';
import { fill } from '../../../kernels/gpu/layout.js';
import { reduce } from '../../../kernels/gpu/reduce.js';
import { TapegradError } from '../../errors.js';
import type { Launcher } from './fused.js';
import type { GpuStorage } from './storage.js';

// Labels and indices that the device computed are unknown to the host. Kernels would read beside their arrays, and compute
// finite numbers of nonsense, so that the device checks them, and the next read says what it found.

/** The indices that one thread looks at. */
const EACH = 128;
const MAX = 'x > acc ? x : acc';

export class IndexChecks {
  /** One number: 0, or the position of the site that found a bad index, plus 1. */
  #flag: GpuStorage | null = null;
  /** Its version as of the last look. */
  #seen = 0;
  readonly #sites: string[] = [];

  constructor(
    private readonly gpu: Launcher,
    private readonly makeFlag: () => GpuStorage,
  ) {}

  /** Checks on the device that numbers are integers from 0 to count - 1; `take` tells. */
  check(op: string, index: GpuStorage, count: number): void {
    const { gpu } = this;
    const site = `${op} ${count}`;
    if (!this.#sites.includes(site)) this.#sites.push(site);
    this.#flag ??= this.makeFlag();
    const threads = Math.max(1, Math.ceil(index.size / EACH));
    const steps = Math.ceil(index.size / threads);
    const number = this.#sites.indexOf(site) + 1;
    const [numbers, before] = [gpu.present(index), gpu.present(this.#flag)];
    let flag = gpu.launch(badIndices, threads, [numbers, before, index.size, threads, steps, count, number]);
    if (threads > 1) {
      const each = flag;
      flag = gpu.stages(reduce('index', MAX, 'largest flag'), each, 1, threads, 1);
      each.release();
    }
    gpu.replace(this.#flag, flag);
  }

  /** What checks have found since the last call, told once; null at once if there were none. */
  take(): Promise<TapegradError | null> | null {
    const flag = this.#flag;
    if (flag === null || flag.version === this.#seen) return null;
    this.#seen = flag.version;
    return this.#read(flag);
  }

  async #read(flag: GpuStorage): Promise<TapegradError | null> {
    const cell = flag.cell!.use();
    try {
      const [found] = await (await cell.handle).toArray();
      if (found === 0) return null;
      if (flag.cell === cell) {
        this.gpu.replace(flag, this.gpu.launch(fill, 1, [0]));
        this.#seen = flag.version;
      }
      const [op, count] = this.#sites[found - 1].split(' ');
      return new TapegradError(
        op,
        `a label or index that was computed on the GPU is no integer from 0 to ${Number(count) - 1}`,
        `labels are integers from 0 to ${Number(count) - 1}; read them to see which one is wrong`,
      );
    } catch {
      // A device that failed or was lost: the read itself says so.
      return null;
    } finally {
      cell.release();
    }
  }
}
