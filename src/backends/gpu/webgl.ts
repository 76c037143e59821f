import type { GpuKernel } from '../../../kernels/gpu/source.js';
import { fail } from '../../errors.js';
import type { MemoryInfo } from '../backend.js';
import { create, type GpuJs, gpuJs, type KernelFunction } from './gpujs.js';
import { type Argument, type Handle, type Runtime, Unavailable } from './runtime.js';
import { Turns } from './tasks.js';

interface Context {
  readonly VENDOR: number;
  readonly RENDERER: number;
  readonly MAX_TEXTURE_SIZE: number;
  getParameter(name: number): string & number;
  getExtension(name: string): { readonly UNMASKED_RENDERER_WEBGL: number } | null;
  isContextLost(): boolean;
}

/** Shaders of WebGL count in float32. */
const MOST_NUMBERS = 2 ** 24;

const TYPES = { Array: 'ArrayTexture(1)', Host: 'Array', Integer: 'Integer', Number: 'Float' };

/** gpu.js on WebGL, where an array is a texture. */
export class WebGlRuntime implements Runtime {
  readonly severalResults = false;
  readonly #kernels = new Map<string, KernelFunction>();
  readonly #turns = new Turns();
  #blocks = 0;
  #bytes = 0;

  private constructor(
    readonly mode: 'webgl2' | 'headlessgl',
    private readonly gpu: GpuJs,
    private readonly context: Context,
  ) {}

  /** @throws Unavailable if something is missing */
  static async start(mode: 'webgl2' | 'headlessgl'): Promise<WebGlRuntime> {
    if (mode === 'webgl2' && typeof globalThis.document === 'undefined' && !('OffscreenCanvas' in globalThis)) {
      throw new Unavailable('there is no WebGL2 outside a browser', "install what WebGPU needs, or use 'cpu'");
    }
    try {
      const gpu = await gpuJs(mode);
      const probe = gpu.createKernel('function () { return 1; }', { output: [1], pipeline: true });
      (await probe()).delete();
      return new WebGlRuntime(mode, gpu, gpu.context as Context);
    } catch (error) {
      if (error instanceof Unavailable) throw error;
      throw new Unavailable((error as Error).message, "update the driver, or use 'cpu'");
    }
  }

  get name(): string {
    const { context } = this;
    const details = context.getExtension('WEBGL_debug_renderer_info');
    return context.getParameter(details === null ? context.RENDERER : details.UNMASKED_RENDERER_WEBGL);
  }

  get largest(): number {
    return 4 * Math.min(MOST_NUMBERS, this.context.getParameter(this.context.MAX_TEXTURE_SIZE) ** 2);
  }

  get lost(): string | null {
    return this.context.isContextLost() ? 'its WebGL context was lost' : null;
  }

  get compilations(): number {
    return this.#kernels.size;
  }

  get memory(): MemoryInfo {
    return { blocks: this.#blocks, bytes: this.#bytes };
  }

  takeFailure(): null {
    return null;
  }

  async read(handle: Handle): Promise<Float32Array> {
    return handle.toArray();
  }

  errorOf(): null {
    return null;
  }

  async run(kernel: GpuKernel, threads: readonly number[], args: Argument[]): Promise<Handle> {
    if (this.lost !== null) throw new Error(this.lost);
    const size = threads.reduce((a, b) => a * b);
    for (const bytes of [4 * size, ...args.map((a) => (a instanceof Float32Array ? a.byteLength : 0))]) {
      if (bytes > this.largest) {
        const problem = `an array of ${bytes} bytes on WebGL, whose shaders count to ${this.largest / 4}`;
        fail(kernel.op, problem, "use smaller tensors, a browser with WebGPU, or the 'cpu'");
      }
    }
    let run = this.#kernels.get(kernel.key);
    if (run === undefined) {
      // Compiling keeps the thread for milliseconds, so that each kernel has a task of its own.
      await this.#turns.next();
      run = this.#kernels.get(kernel.key);
    }
    if (run === undefined) {
      run = create(this.gpu, kernel, TYPES, { precision: 'single', tactic: 'precision' });
      this.#kernels.set(kernel.key, run);
    }
    run.setOutput(threads);
    return this.#counted(await run(...args), 4 * size);
  }

  /** Counts an array until it is given back. */
  #counted(handle: Handle, bytes: number): Handle {
    this.#blocks++;
    this.#bytes += bytes;
    const free = handle.delete.bind(handle);
    handle.delete = () => {
      this.#blocks--;
      this.#bytes -= bytes;
      free();
    };
    return handle;
  }
}
