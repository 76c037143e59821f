import type { GpuBuffer, Maker } from '../pool.js';

// The device that gpu.js gets: it passes every call on to WebGPU's own, and while a capture runs it also notes the compute
// passes, so that all of them can be submitted again at once. gpu.js has no such interface; this is WebGPU's.

interface BindGroupEntry {
  readonly binding: number;
  readonly resource: { readonly buffer: GpuBuffer };
}

interface BindGroupDescriptor {
  readonly layout: object;
  readonly entries: readonly BindGroupEntry[];
}

interface ComputePass {
  setPipeline(pipeline: object): void;
  setBindGroup(index: number, group: object): void;
  dispatchWorkgroups(x: number, y: number, z: number): void;
  end(): void;
}

interface Encoder {
  beginComputePass(descriptor?: object): ComputePass;
  copyBufferToBuffer(from: GpuBuffer, fromOffset: number, to: GpuBuffer, toOffset: number, bytes: number): void;
  finish(): object;
}

interface Queue {
  writeBuffer(buffer: GpuBuffer, offset: number, data: ArrayBuffer | ArrayBufferView): void;
  submit(commands: object[]): void;
}

export interface Limits {
  readonly maxStorageBufferBindingSize: number;
  readonly maxBufferSize: number;
}

/** What is used of a WebGPU device, here or by gpu.js. */
export interface Device extends Maker {
  readonly queue: Queue;
  readonly limits: Limits;
  readonly lost: Promise<{ reason: string; message: string }>;
  onuncapturederror: ((event: { error: Error }) => void) | null;
  createBindGroup(descriptor: BindGroupDescriptor): object;
  createBindGroupLayout(descriptor: object): object;
  createPipelineLayout(descriptor: object): object;
  createShaderModule(descriptor: object): object;
  createComputePipeline(descriptor: object): object;
  createCommandEncoder(): Encoder;
  destroy(): void;
}

/** One dispatch. */
export interface CapturedPass {
  pipeline: object;
  group: BindGroupDescriptor;
  groups: [x: number, y: number, z: number];
  /** What the host had written into some of its buffers. */
  readonly written: Map<GpuBuffer, ArrayBuffer>;
}

/** A device that can note what is submitted. */
export class CapturableDevice implements Device {
  readonly #groups = new WeakMap<object, BindGroupDescriptor>();
  #passes: CapturedPass[] | null = null;
  #written = new Map<GpuBuffer, ArrayBuffer>();
  readonly queue: Queue;
  /** gpu.js sets this to print errors; they are reported by `inner`. */
  onuncapturederror: ((event: { error: Error }) => void) | null = null;

  /** @param buffers makes the buffers of the device */
  constructor(
    readonly inner: Device,
    private readonly buffers: Maker,
  ) {
    this.queue = {
      writeBuffer: (buffer, offset, data) => {
        if (this.#passes !== null) this.#written.set(buffer, bytesOf(data));
        inner.queue.writeBuffer(buffer, offset, data);
      },
      submit: (commands) => inner.queue.submit(commands),
    };
  }

  get limits(): Limits {
    return this.inner.limits;
  }

  get lost(): Device['lost'] {
    return this.inner.lost;
  }

  createBuffer(descriptor: { size: number; usage: number }): GpuBuffer {
    return this.buffers.createBuffer(descriptor);
  }

  pushErrorScope(filter: string): void {
    this.inner.pushErrorScope(filter);
  }

  popErrorScope(): Promise<{ message: string } | null> {
    return this.inner.popErrorScope();
  }

  createBindGroup(descriptor: BindGroupDescriptor): object {
    const group = this.inner.createBindGroup(descriptor);
    this.#groups.set(group, descriptor);
    return group;
  }

  createBindGroupLayout(descriptor: object): object {
    return this.inner.createBindGroupLayout(descriptor);
  }

  createPipelineLayout(descriptor: object): object {
    return this.inner.createPipelineLayout(descriptor);
  }

  createShaderModule(descriptor: object): object {
    return this.inner.createShaderModule(descriptor);
  }

  createComputePipeline(descriptor: object): object {
    return this.inner.createComputePipeline(descriptor);
  }

  createCommandEncoder(): Encoder {
    const encoder = this.inner.createCommandEncoder();
    const passes = this.#passes;
    if (passes === null) return encoder;
    return {
      beginComputePass: (descriptor) => this.#capturing(encoder.beginComputePass(descriptor), passes),
      copyBufferToBuffer: (...args) => encoder.copyBufferToBuffer(...args),
      finish: () => encoder.finish(),
    };
  }

  #capturing(pass: ComputePass, passes: CapturedPass[]): ComputePass {
    const note: Partial<CapturedPass> & Pick<CapturedPass, 'written'> = { written: this.#written };
    return {
      setPipeline: (pipeline) => {
        note.pipeline = pipeline;
        pass.setPipeline(pipeline);
      },
      setBindGroup: (index, group) => {
        note.group = this.#groups.get(group);
        pass.setBindGroup(index, group);
      },
      dispatchWorkgroups: (x, y, z) => {
        note.groups = [x, y, z];
        passes.push(note as CapturedPass);
        pass.dispatchWorkgroups(x, y, z);
      },
      end: () => pass.end(),
    };
  }

  destroy(): void {
    this.inner.destroy();
  }

  /** Runs `queue` and adds the passes that it submits at once to `passes`. */
  captureInto<T>(passes: CapturedPass[], queue: () => T): T {
    this.#passes = passes;
    this.#written = new Map();
    try {
      return queue();
    } finally {
      this.#passes = null;
    }
  }
}

function bytesOf(data: ArrayBuffer | ArrayBufferView): ArrayBuffer {
  if (data instanceof ArrayBuffer) return data.slice(0);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice().buffer;
}
