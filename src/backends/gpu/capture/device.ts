import type { GpuBuffer, Maker } from '../pool.js';
import type { Verdict, Verdicts } from '../verdicts.js';

// The device that gpu.js gets: it passes every call on to WebGPU's own. While a capture runs it also notes the compute passes,
// so that all of them can be submitted again at once. While a report of the device is awaited, or one was bad, it follows which
// buffers depend on it. gpu.js has no such interfaces; this is WebGPU's.

interface BindGroupEntry {
  readonly binding: number;
  readonly resource: { readonly buffer: GpuBuffer };
}

interface BindGroupDescriptor {
  readonly layout: object;
  readonly entries: readonly BindGroupEntry[];
}

interface LayoutDescriptor {
  readonly entries: readonly { readonly binding: number; readonly buffer?: { readonly type: string } }[];
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
  createBindGroupLayout(descriptor: LayoutDescriptor): object;
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
  /** The binding of the buffer that a layout's kernels write to. */
  readonly #outputs = new WeakMap<object, number>();
  /** The buffers that passes and copies write to, and that have not been submitted. */
  #writes: GpuBuffer[] = [];
  #passes: CapturedPass[] | null = null;
  #written = new Map<GpuBuffer, ArrayBuffer>();
  readonly queue: Queue;
  /** gpu.js sets this to print errors; they are reported by `inner`. */
  onuncapturederror: ((event: { error: Error }) => void) | null = null;

  /**
   * @param buffers makes the buffers of the device
   * @param verdicts what the device reports
   * @param failure makes an error of what the device says
   */
  constructor(
    readonly inner: Device,
    private readonly buffers: Maker,
    private readonly verdicts: Verdicts,
    private readonly failure: (message: string) => Error,
  ) {
    this.queue = {
      writeBuffer: (buffer, offset, data) => {
        if (this.#passes !== null) this.#written.set(buffer, bytesOf(data));
        inner.queue.writeBuffer(buffer, offset, data);
      },
      submit: (commands) => {
        this.#reported(() => inner.queue.submit(commands));
        this.#writes = [];
      },
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
    const create = () => this.inner.createBindGroup(descriptor);
    // A buffer that could not be allocated makes the group invalid; its readers learn why from its own report.
    const doubtful = descriptor.entries.some(({ resource }) => this.verdicts.doubtful(resource.buffer));
    const group = doubtful ? this.#watched(create).result : create();
    this.#groups.set(group, descriptor);
    return group;
  }

  createBindGroupLayout(descriptor: LayoutDescriptor): object {
    const layout = this.inner.createBindGroupLayout(descriptor);
    const output = descriptor.entries.find((entry) => entry.buffer?.type === 'storage');
    if (output !== undefined) this.#outputs.set(layout, output.binding);
    return layout;
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
    if (passes === null && !this.verdicts.active) return encoder;
    return {
      beginComputePass: (descriptor) => this.#noting(encoder.beginComputePass(descriptor), passes),
      copyBufferToBuffer: (from, fromOffset, to, toOffset, bytes) => {
        this.#follow(to, [from]);
        encoder.copyBufferToBuffer(from, fromOffset, to, toOffset, bytes);
      },
      finish: () => this.#reported(() => encoder.finish()),
    };
  }

  /** Notes what goes into a pass. */
  #noting(pass: ComputePass, passes: CapturedPass[] | null): ComputePass {
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
        passes?.push(note as CapturedPass);
        const { layout, entries } = note.group!;
        const buffers = entries.map((entry) => entry.resource.buffer);
        const output = entries.findIndex((entry) => entry.binding === this.#outputs.get(layout));
        if (output >= 0) this.#follow(buffers[output], buffers);
        pass.dispatchWorkgroups(x, y, z);
      },
      end: () => pass.end(),
    };
  }

  #follow(output: GpuBuffer, inputs: readonly GpuBuffer[]): void {
    if (!this.verdicts.active) return;
    this.verdicts.computed(output, inputs);
    this.#writes.push(output);
  }

  /** Calls the device; if an allocation may have failed, what it says is said of the buffers that are written to. */
  #reported<T>(call: () => T): T {
    if (!this.#writes.some((buffer) => this.verdicts.of(buffer).some((v) => v.root))) return call();
    const { result, verdict } = this.#watched(call);
    // The report on the allocation comes first: it names the cause.
    for (const buffer of this.#writes) this.verdicts.computed(buffer, [], [...this.verdicts.of(buffer), verdict]);
    return result;
  }

  /** Calls the device, with a report on it. */
  #watched<T>(call: () => T): { result: T; verdict: Verdict } {
    this.inner.pushErrorScope('validation');
    const result = call();
    const report = this.inner.popErrorScope().then((error) => error && this.failure(error.message));
    return { result, verdict: this.verdicts.expect(report) };
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
