import type { GpuKernel } from '../../../kernels/gpu/source.js';
import { fail, TapegradError } from '../../errors.js';
import type { MemoryInfo } from '../backend.js';
import { Calls } from './calls.js';
import { CapturableDevice } from './capture/device.js';
import type { Device, Limits } from './capture/interfaces.js';
import { type BufferHandle, WebGpuCapture } from './capture/webgpu.js';
import { create, type GpuJs, gpuJs, type KernelFunction } from './gpujs.js';
import { BufferPool, type GpuBuffer } from './pool.js';
import { type Argument, type Handle, REMEDY, type Runtime, type RuntimeCapture, Unavailable } from './runtime.js';
import { Turns } from './tasks.js';
import { Verdicts } from './verdicts.js';

interface Adapter {
  readonly info?: { readonly vendor: string; readonly architecture: string; readonly description: string };
  readonly limits: Limits;
  requestDevice(descriptor?: object): Promise<Device>;
}

interface WebGpu {
  requestAdapter(options?: object): Promise<Adapter | null>;
}

/** navigator.gpu: the browser's own, or in Node that of the package webgpu. */
async function webGpu(): Promise<WebGpu> {
  const nav = globalThis.navigator as { gpu?: WebGpu } | undefined;
  if (nav?.gpu) return nav.gpu;
  if (typeof process !== 'object' || !process.versions?.node) {
    throw new Unavailable('this browser has no WebGPU', 'use a browser that has it, and a page served over https');
  }
  // A name that bundlers do not follow: in browsers nobody needs it.
  const name = 'webgpu';
  let module: { create(flags: string[]): WebGpu };
  try {
    module = await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
  } catch (error) {
    throw new Unavailable(
      `the package webgpu does not load (${(error as Error).message.split('\n')[0]})`,
      'run npm install webgpu gpu.js',
    );
  }
  const gpu = module.create([]);
  if (nav) Object.defineProperty(nav, 'gpu', { value: gpu, configurable: true });
  else Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
  return gpu;
}

const TYPES = { Array: 'Array', Host: 'Array', Integer: 'Integer', Number: 'Number' };

const failureOf = (op: string, message: string) => new TapegradError(op, `the GPU failed: ${message}`, REMEDY);

/** What gpu.js's kernels keep, beside those of gpujs.ts. */
interface Keeping {
  outputBuffer: (GpuBuffer & { _refs: number }) | null;
  bindGroupDirty: boolean;
}

/** gpu.js on WebGPU: compiled kernels by key, recycled buffers, and what went wrong. */
export class WebGpuRuntime implements Runtime {
  readonly mode = 'webgpu';
  readonly severalResults = true;
  /** The compiled kernels, and promises of those that are being compiled. */
  readonly #kernels = new Map<string, KernelFunction | Promise<KernelFunction>>();
  readonly #calls = new Map<string, Calls>();
  readonly #turns = new Turns();
  #failure: TapegradError | null = null;
  lost: string | null = null;

  private constructor(
    private readonly gpu: GpuJs,
    private readonly adapter: Adapter,
    readonly device: CapturableDevice,
    private readonly pool: BufferPool,
    private readonly verdicts: Verdicts,
    /** An array of one number. */
    private readonly one: Handle,
  ) {
    pool.beforeDestroy = () => device.flush();
    device.inner.onuncapturederror = ({ error }) => {
      this.#failure ??= failureOf(this.pool.op, error.message);
    };
    void device.lost.then(({ reason, message }) => {
      this.lost = `its device was lost, ${reason}: ${message}`;
    });
  }

  /** @throws Unavailable if something is missing */
  static async start(): Promise<WebGpuRuntime> {
    const api = await webGpu();
    const gpu = await gpuJs('webgpu');
    const verdicts = new Verdicts();
    const pool = new BufferPool(verdicts, failureOf);
    let found: { adapter: Adapter; device: CapturableDevice } | undefined;
    // gpu.js takes its device from navigator.gpu, and from nowhere else: while it asks, it is answered with ours.
    const request = api.requestAdapter;
    api.requestAdapter = async (options) => {
      const adapter = await request.call(api, options);
      if (adapter === null) return null;
      return {
        info: adapter.info,
        limits: adapter.limits,
        requestDevice: async (descriptor) => {
          const inner = await adapter.requestDevice(descriptor);
          const device = new CapturableDevice(inner, pool.over(inner), verdicts, failureOf);
          found = { adapter, device };
          return device;
        },
      };
    };
    try {
      const probe = gpu.createKernel('function () { return 1; }', { output: [1], pipeline: true });
      const one = await probe();
      if (!found)
        throw new Unavailable('gpu.js had taken a device before', 'call useDevice before using gpu.js yourself');
      return new WebGpuRuntime(gpu, found.adapter, found.device, pool, verdicts, one);
    } catch (error) {
      if (error instanceof Unavailable) throw error;
      const none = (error as Error).message.includes('no adapter');
      throw new Unavailable(
        none ? 'there is no adapter (no GPU, or no driver for it)' : (error as Error).message,
        none ? "install the GPU's Vulkan driver, or use 'cpu'" : "update the driver, or use 'cpu'",
      );
    } finally {
      // The method of the prototype shows again.
      delete (api as Partial<WebGpu>).requestAdapter;
    }
  }

  get name(): string {
    const { vendor = '', architecture = '', description = '' } = this.adapter.info ?? {};
    return [vendor, architecture, description].filter((s) => s !== '').join(' ') || 'unnamed adapter';
  }

  get largest(): number {
    return this.device.limits.maxStorageBufferBindingSize;
  }

  get compilations(): number {
    return this.#kernels.size;
  }

  get memory(): MemoryInfo {
    return this.pool.live;
  }

  takeFailure(): TapegradError | null {
    const failure = this.#failure;
    this.#failure = null;
    return failure;
  }

  errorOf(handle: Handle): Promise<Error | null> | null {
    return this.device.errorOf((handle as BufferHandle).buffer);
  }

  async read(handle: Handle): Promise<Float32Array> {
    const { inner } = this.device;
    inner.pushErrorScope('validation');
    const reading = handle.toArray();
    const report = inner.popErrorScope().catch(() => null);
    try {
      const values = await reading;
      const error = await report;
      if (error !== null) this.#failure ??= failureOf(this.pool.op, error.message);
      return values;
    } catch (error) {
      // gpu.js keeps the buffers that it reads by, also one that could not be allocated.
      const { kernel } = handle as BufferHandle;
      const broken = kernel.stagingPool.find(({ buffer }) => this.verdicts.failed(buffer));
      if (broken === undefined) throw error;
      kernel.stagingPool = kernel.stagingPool.filter((entry) => entry !== broken);
      throw (await this.device.errorOf(broken.buffer)) ?? error;
    }
  }

  prepare(kernel: GpuKernel): void {
    if (this.#kernels.has(kernel.key) || this.lost !== null) return;
    const { key } = kernel;
    const building = this.#build(kernel).then(
      (run) => {
        this.#kernels.set(key, run);
        return run;
      },
      (error: unknown) => {
        // Those that wait for it are told; the next call tries again.
        this.#kernels.delete(key);
        throw error;
      },
    );
    building.catch(() => {});
    this.#kernels.set(key, building);
  }

  /**
   * Compiles a kernel by a call whose result nobody needs: gpu.js does so in the first call, and its device compiles several
   * kernels at a time.
   */
  async #build(kernel: GpuKernel): Promise<KernelFunction> {
    // The translation to WGSL takes milliseconds of this thread.
    await this.#turns.next();
    // gpu.js would take another device, which the next start would find taken.
    if (this.lost !== null) throw new Error(this.lost);
    const run = create(this.gpu, kernel, TYPES);
    run.setOutput(new Array<number>(kernel.dimensions).fill(1));
    const args = kernel.types.map((type) => (type === 'Array' ? this.one : type === 'Host' ? new Float32Array(1) : 1));
    (await run(...args)).delete();
    return run;
  }

  async run(kernel: GpuKernel, threads: readonly number[], args: Argument[], capture?: WebGpuCapture): Promise<Handle> {
    if (this.lost !== null) throw new Error(this.lost);
    const size = threads.reduce((a, b) => a * b) * kernel.results;
    if (size * 4 > this.largest) {
      const problem = `a result of ${size * 4} bytes on a GPU that allows ${this.largest}`;
      fail(kernel.op, problem, "use smaller tensors, or the 'cpu'");
    }
    this.prepare(kernel);
    const compiled = await this.#kernels.get(kernel.key)!;
    this.pool.op = kernel.op;
    compiled.setOutput(threads);
    const queue = () => compiled(...args) as Promise<BufferHandle>;
    const queued = capture === undefined ? queue() : capture.add(queue);
    const { last } = this.device;
    const handle = await queued;
    // The next kernel sees a flat array, whatever the threads were.
    handle.componentCount = 1;
    handle.output = [size];
    letGo(compiled.kernel as unknown as Keeping, handle.buffer);
    this.#callsOf(kernel).note(threads, args, handle, last);
    return handle;
  }

  again(kernel: GpuKernel, threads: readonly number[], args: readonly Argument[]): Handle | null {
    const calls = this.#calls.get(kernel.key);
    if (calls === undefined || this.lost !== null) return null;
    this.pool.op = kernel.op;
    return calls.again(threads, args);
  }

  #callsOf({ key }: GpuKernel): Calls {
    let calls = this.#calls.get(key);
    if (calls === undefined) {
      calls = new Calls(this.device);
      this.#calls.set(key, calls);
    }
    return calls;
  }

  beginCapture(): RuntimeCapture {
    return new WebGpuCapture(this.device, this.pool, () => this.lost);
  }
}

/** Kernels of gpu.js hold their last result until the next one, which may never come. */
function letGo(kernel: Keeping | undefined, buffer: GpuBuffer): void {
  if (kernel?.outputBuffer !== buffer || kernel.outputBuffer._refs < 2) return;
  kernel.outputBuffer._refs--;
  kernel.outputBuffer = null;
  kernel.bindGroupDirty = true;
}
