import { type GpuKernel, helpers } from '../../../kernels/gpu/source.js';
import { fail, TapegradError } from '../../errors.js';
import { BufferPool, type GpuBuffer } from './pool.js';

/** An array on the device, as gpu.js hands it out. */
export interface Handle {
  readonly buffer: GpuBuffer;
  /** Its dimensions, and how many numbers there are at each place. */
  output: number[];
  componentCount: number;
  toArray(): Promise<Float32Array>;
  clone(): Handle;
  delete(): void;
}

/** What a kernel of gpu.js is, as far as it is used here. */
interface KernelFunction {
  (...args: (Handle | Float32Array | number)[]): Promise<Handle>;
  setOutput(size: readonly number[]): void;
}

interface GpuJs {
  GPU: new (options: {
    mode: string;
  }) => {
    createKernel(source: string, settings: object): KernelFunction;
    addFunction(source: string, settings: object): void;
    destroy(): Promise<void>;
  };
}

interface Device {
  createBuffer(descriptor: { size: number; usage: number }): GpuBuffer;
  pushErrorScope(filter: string): void;
  popErrorScope(): Promise<{ message: string } | null>;
  onuncapturederror: ((event: { error: Error }) => void) | null;
  readonly lost: Promise<{ reason: string; message: string }>;
  readonly limits: { readonly maxStorageBufferBindingSize: number; readonly maxBufferSize: number };
}

export interface Adapter {
  readonly info?: { readonly vendor: string; readonly architecture: string; readonly description: string };
  readonly limits: { readonly maxStorageBufferBindingSize: number; readonly maxBufferSize: number };
  requestDevice(descriptor?: object): Promise<Device>;
}

interface WebGpu {
  requestAdapter(options?: object): Promise<Adapter | null>;
}

/** A missing package or adapter, and what to do about it. */
export class Unavailable extends Error {
  constructor(
    message: string,
    readonly remedy: string,
  ) {
    super(message);
  }
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
      'run npm install webgpu',
    );
  }
  const gpu = module.create([]);
  if (nav) Object.defineProperty(nav, 'gpu', { value: gpu, configurable: true });
  else Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
  return gpu;
}

async function gpuJs(): Promise<GpuJs> {
  try {
    const module = (await import('gpu.js')) as unknown as { default?: GpuJs } & GpuJs;
    return module.GPU ? module : module.default!;
  } catch (error) {
    throw new Unavailable(
      `the package gpu.js does not load (${(error as Error).message.split('\n')[0]})`,
      'run npm install gpu.js',
    );
  }
}

const REMEDY = "go on with await useDevice('cpu') and model.to('cpu')";

interface Compiled {
  readonly run: KernelFunction;
  /** Until the first call has been built; its output size must not change before. */
  building: Promise<unknown> | null;
}

/** gpu.js on one device: compiled kernels by key, recycled buffers, and what went wrong. */
export class Runtime {
  readonly #kernels = new Map<string, Compiled>();
  #failure: TapegradError | null = null;
  /** The operation that was queued last. */
  #op = 'useDevice';
  /** Why the device is gone, if it is. */
  lost: string | null = null;

  private constructor(
    private readonly gpu: InstanceType<GpuJs['GPU']>,
    readonly adapter: Adapter,
    readonly device: Device,
    readonly pool: BufferPool,
  ) {
    const note = (message: string) => {
      this.#failure ??= new TapegradError(this.#op, `the GPU failed: ${message}`, REMEDY);
    };
    pool.onOutOfMemory = note;
    device.onuncapturederror = ({ error }) => note(error.message);
    void device.lost.then(({ reason, message }) => {
      this.lost = `its device was lost, ${reason}: ${message}`;
    });
  }

  /** @throws Unavailable if something is missing */
  static async start(): Promise<Runtime> {
    const [{ GPU }, api] = await Promise.all([gpuJs(), webGpu()]);
    const pool = new BufferPool();
    let found: { adapter: Adapter; device: Device } | undefined;
    // gpu.js asks for a device with the smallest limits and makes a buffer for every result. For as long as it asks, the
    // request goes through here.
    const request = api.requestAdapter;
    api.requestAdapter = async (options) => {
      const adapter = await request.call(api, options);
      if (adapter === null) return null;
      const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
      const requestDevice = adapter.requestDevice.bind(adapter);
      adapter.requestDevice = async (descriptor) => {
        const device = await requestDevice({
          ...descriptor,
          requiredLimits: { maxStorageBufferBindingSize, maxBufferSize },
        });
        pool.attach(device);
        found = { adapter, device };
        return device;
      };
      return adapter;
    };
    try {
      const gpu = new GPU({ mode: 'webgpu' });
      for (const { source, ...settings } of helpers) gpu.addFunction(source, settings);
      const probe = gpu.createKernel('function () { return 1; }', { output: [1], pipeline: true });
      (await probe()).delete();
      if (!found)
        throw new Unavailable('gpu.js had taken a device before', 'call useDevice before using gpu.js yourself');
      return new Runtime(gpu, found.adapter, found.device, pool);
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

  /** How many kernels have been compiled. */
  get compilations(): number {
    return this.#kernels.size;
  }

  /** What went wrong on the device since the last time that it was asked. */
  async takeFailure(): Promise<TapegradError | null> {
    await this.pool.settled();
    const failure = this.#failure;
    this.#failure = null;
    return failure;
  }

  /**
   * Queues a kernel. Its result may be used at once; it is there when the device has come to it.
   * @param threads how many, in each of the kernel's dimensions
   */
  async run(kernel: GpuKernel, threads: readonly number[], args: (Handle | Float32Array | number)[]): Promise<Handle> {
    if (this.lost !== null) throw new Error(this.lost);
    const size = threads.reduce((a, b) => a * b) * kernel.results;
    const { maxStorageBufferBindingSize: most } = this.device.limits;
    if (size * 4 > most) {
      fail(
        kernel.op,
        `a result of ${size * 4} bytes on a GPU that allows ${most}`,
        "use smaller tensors, or the 'cpu'",
      );
    }
    let compiled = this.#kernels.get(kernel.key);
    const isFirst = compiled === undefined;
    if (compiled === undefined) {
      compiled = { run: this.#compile(kernel), building: null };
      this.#kernels.set(kernel.key, compiled);
    }
    if (compiled.building !== null) await compiled.building;
    this.#op = kernel.op;
    compiled.run.setOutput(threads);
    const result = compiled.run(...args);
    if (isFirst) compiled.building = result.catch(() => {}).then(() => (compiled.building = null));
    const handle = await result;
    // The next kernel sees a flat array, whatever the threads were.
    handle.componentCount = 1;
    handle.output = [size];
    return handle;
  }

  #compile({ source, types, dimensions, results }: GpuKernel): KernelFunction {
    return this.gpu.createKernel(source, {
      output: new Array(dimensions).fill(1),
      pipeline: true,
      immutable: true,
      dynamicOutput: true,
      dynamicArguments: true,
      argumentTypes: [...types],
      returnType: results === 1 ? 'Number' : `Array(${results})`,
      // Loops whose bounds gpu.js does not see through end after so many turns.
      loopMaxIterations: 2 ** 31 - 1,
    });
  }
}
