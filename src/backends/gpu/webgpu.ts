import type { GpuKernel } from '../../../kernels/gpu/source.js';
import { fail, TapegradError } from '../../errors.js';
import type { MemoryInfo } from '../backend.js';
import { create, type GpuJs, gpuJs, type KernelFunction } from './gpujs.js';
import { BufferPool, type GpuBuffer, type Maker, RESULT } from './pool.js';
import { type Copy, type Pass, Plan, type RecordableDevice, Recorder } from './recorder.js';
import { type Argument, type Handle, REMEDY, type Runtime, type Tape, Unavailable } from './runtime.js';

interface Limits {
  readonly maxStorageBufferBindingSize: number;
  readonly maxBufferSize: number;
}

interface Device extends Maker, RecordableDevice {
  createBuffer: Maker['createBuffer'];
  onuncapturederror: ((event: { error: Error }) => void) | null;
  readonly lost: Promise<{ reason: string; message: string }>;
  readonly limits: Limits;
}

interface Adapter {
  readonly info?: { readonly vendor: string; readonly architecture: string; readonly description: string };
  readonly limits: Limits;
  requestDevice(descriptor?: object): Promise<Device>;
}

interface WebGpu {
  requestAdapter(options?: object): Promise<Adapter | null>;
}

/** An array as gpu.js has it on WebGPU. */
interface BufferHandle extends Handle {
  readonly buffer: GpuBuffer;
  /** How many numbers there are at each place. */
  componentCount: number;
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

interface Compiled {
  readonly run: KernelFunction;
  /** Until the first call has been built; its output size must not change before. */
  building: Promise<unknown> | null;
}

/** gpu.js on WebGPU: compiled kernels by key, recycled buffers, and what went wrong. */
export class WebGpuRuntime implements Runtime {
  readonly mode = 'webgpu';
  readonly severalResults = true;
  readonly #kernels = new Map<string, Compiled>();
  #failure: TapegradError | null = null;
  lost: string | null = null;

  private constructor(
    private readonly gpu: GpuJs,
    private readonly adapter: Adapter,
    readonly device: Device,
    private readonly pool: BufferPool,
    private readonly recorder: Recorder,
  ) {
    const note = (op: string, message: string) => {
      this.#failure ??= new TapegradError(op, `the GPU failed: ${message}`, REMEDY);
    };
    pool.onOutOfMemory = note;
    device.onuncapturederror = ({ error }) => note(this.pool.op, error.message);
    void device.lost.then(({ reason, message }) => {
      this.lost = `its device was lost, ${reason}: ${message}`;
    });
  }

  /** @throws Unavailable if something is missing */
  static async start(): Promise<WebGpuRuntime> {
    const api = await webGpu();
    const gpu = await gpuJs('webgpu');
    const pool = new BufferPool();
    const recorder = new Recorder();
    let found: { adapter: Adapter; device: Device } | undefined;
    // gpu.js makes a buffer for every result. While it asks for its device, the request goes through here.
    const request = api.requestAdapter;
    api.requestAdapter = async (options) => {
      const adapter = await request.call(api, options);
      if (adapter === null) return null;
      const requestDevice = adapter.requestDevice.bind(adapter);
      adapter.requestDevice = async (descriptor) => {
        const device = await requestDevice(descriptor);
        pool.attach(device);
        recorder.attach(device);
        found = { adapter, device };
        return device;
      };
      return adapter;
    };
    try {
      const probe = gpu.createKernel('function () { return 1; }', { output: [1], pipeline: true });
      (await probe()).delete();
      if (!found)
        throw new Unavailable('gpu.js had taken a device before', 'call useDevice before using gpu.js yourself');
      return new WebGpuRuntime(gpu, found.adapter, found.device, pool, recorder);
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

  async takeFailure(): Promise<TapegradError | null> {
    await this.pool.settled();
    const failure = this.#failure;
    this.#failure = null;
    return failure;
  }

  async run(kernel: GpuKernel, threads: readonly number[], args: Argument[], tape?: WebGpuTape): Promise<Handle> {
    if (this.lost !== null) throw new Error(this.lost);
    const size = threads.reduce((a, b) => a * b) * kernel.results;
    if (size * 4 > this.largest) {
      const problem = `a result of ${size * 4} bytes on a GPU that allows ${this.largest}`;
      fail(kernel.op, problem, "use smaller tensors, or the 'cpu'");
    }
    let compiled = this.#kernels.get(kernel.key);
    const isFirst = compiled === undefined;
    if (compiled === undefined) {
      compiled = { run: create(this.gpu, kernel, TYPES), building: null };
      this.#kernels.set(kernel.key, compiled);
    }
    if (compiled.building !== null) await compiled.building;
    this.pool.op = kernel.op;
    compiled.run.setOutput(threads);
    const queue = () => compiled.run(...args) as Promise<BufferHandle>;
    // The first call of a kernel is queued later, when it has been compiled: a tape would not hear it.
    const result = tape === undefined || isFirst ? queue() : tape.note(queue);
    if (isFirst) {
      compiled.building = result
        .catch(() => {})
        .then(() => {
          compiled.building = null;
        });
    }
    const handle = await result;
    if (isFirst && tape !== undefined) {
      handle.delete();
      return this.run(kernel, threads, args, tape);
    }
    // The next kernel sees a flat array, whatever the threads were.
    handle.componentCount = 1;
    handle.output = [size];
    return handle;
  }

  tape(): Tape {
    return new WebGpuTape(this.device, this.pool, this.recorder, () => this.lost);
  }
}

class WebGpuTape implements Tape {
  readonly #passes: Pass[] = [];
  readonly #buffers = new Set<GpuBuffer>();
  #plan: Plan | null = null;

  constructor(
    private readonly device: Device,
    private readonly pool: BufferPool,
    private readonly recorder: Recorder,
    private readonly lost: () => string | null,
  ) {}

  /** Notes what `queue` submits at once; the buffers that it touches are kept for the plan. */
  note<T>(queue: () => T): T {
    const before = this.#passes.length;
    const result = this.recorder.into(this.#passes, queue);
    for (const { group, written } of this.#passes.slice(before)) {
      for (const { resource } of group.entries) {
        if (written.has(resource.buffer)) continue;
        this.pool.keep(resource.buffer);
        this.#buffers.add(resource.buffer);
      }
    }
    return result;
  }

  end(): void {
    this.#plan = new Plan(this.device, this.#passes);
    this.#passes.length = 0;
  }

  run(
    copiesIn: readonly (readonly [BufferHandle, BufferHandle])[],
    results: readonly BufferHandle[],
    carried: readonly (readonly [BufferHandle, BufferHandle])[],
  ): Handle[] {
    const lost = this.lost();
    if (lost !== null) throw new Error(lost);
    const fresh = results.map((result) => this.#like(result));
    this.#plan!.run(
      copiesIn.map(([inside, outside]) => [inside.buffer, outside.buffer]),
      [
        ...results.map((result, i): Copy => [result.buffer, fresh[i].buffer]),
        ...carried.map(([before, after]): Copy => [after.buffer, before.buffer]),
      ],
    );
    return fresh;
  }

  /** Another array of the same size. */
  #like(handle: BufferHandle): BufferHandle {
    const buffer = this.device.createBuffer({ size: handle.buffer.size, usage: RESULT });
    const Class = handle.constructor as new (settings: object) => BufferHandle;
    (buffer as { _refs?: number })._refs = 0;
    return new Class({ ...handle, buffer });
  }

  destroy(): void {
    this.#plan?.destroy();
    for (const buffer of this.#buffers) this.pool.letGo(buffer);
    this.#buffers.clear();
  }
}
