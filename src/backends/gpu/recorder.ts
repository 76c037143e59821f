import type { GpuBuffer } from './pool.js';

// Notes the compute passes that gpu.js submits, so that a plan can submit all of them at once. It listens to the calls of
// WebGPU's own interface.

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
  beginComputePass(): ComputePass;
  copyBufferToBuffer(from: GpuBuffer, fromOffset: number, to: GpuBuffer, toOffset: number, bytes: number): void;
  finish(): object;
}

export interface RecordableDevice {
  readonly queue: {
    writeBuffer(buffer: GpuBuffer, offset: number, data: ArrayBuffer | ArrayBufferView): void;
    submit(commands: object[]): void;
  };
  createBuffer(descriptor: { size: number; usage: number }): GpuBuffer;
  createBindGroup(descriptor: BindGroupDescriptor): object;
  createCommandEncoder(): Encoder;
}

/** One dispatch. */
export interface Pass {
  pipeline: object;
  group: BindGroupDescriptor;
  groups: [x: number, y: number, z: number];
  /** What the host had written into some of its buffers. */
  readonly written: Map<GpuBuffer, ArrayBuffer>;
}

export class Recorder {
  readonly #groups = new WeakMap<object, BindGroupDescriptor>();
  #passes: Pass[] | null = null;
  #written = new Map<GpuBuffer, ArrayBuffer>();

  attach(device: RecordableDevice): void {
    const { queue } = device;
    const createBindGroup = device.createBindGroup.bind(device);
    device.createBindGroup = (descriptor) => {
      const group = createBindGroup(descriptor);
      this.#groups.set(group, descriptor);
      return group;
    };
    const writeBuffer = queue.writeBuffer.bind(queue);
    queue.writeBuffer = (buffer, offset, data) => {
      if (this.#passes !== null) this.#written.set(buffer, bytesOf(data));
      writeBuffer(buffer, offset, data);
    };
    const createCommandEncoder = device.createCommandEncoder.bind(device);
    device.createCommandEncoder = () => {
      const encoder = createCommandEncoder();
      if (this.#passes !== null) this.#listen(encoder, this.#passes);
      return encoder;
    };
  }

  #listen(encoder: Encoder, passes: Pass[]): void {
    const begin = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = () => {
      const pass = begin();
      const { setPipeline, setBindGroup, dispatchWorkgroups } = pass;
      const note: Partial<Pass> & { written: Map<GpuBuffer, ArrayBuffer> } = { written: this.#written };
      pass.setPipeline = (pipeline) => {
        note.pipeline = pipeline;
        setPipeline.call(pass, pipeline);
      };
      pass.setBindGroup = (index, group) => {
        note.group = this.#groups.get(group);
        setBindGroup.call(pass, index, group);
      };
      pass.dispatchWorkgroups = (x, y, z) => {
        note.groups = [x, y, z];
        passes.push(note as Pass);
        dispatchWorkgroups.call(pass, x, y, z);
      };
      return pass;
    };
  }

  /** Runs `queue` and adds the passes that it submits at once to `passes`. */
  into<T>(passes: Pass[], queue: () => T): T {
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
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice().buffer as ArrayBuffer;
}

/** STORAGE | COPY_DST, and UNIFORM | COPY_DST. */
const HOST_STORAGE = 0x88;
const HOST_UNIFORM = 0x48;

/** A buffer of the plan, and one outside that is copied to or from it. */
export type Copy = readonly [inside: GpuBuffer, outside: GpuBuffer];

/** Passes that are submitted together, as often as one likes. The buffers that they touch are the plan's own. */
export class Plan {
  readonly #passes: { pipeline: object; group: object; groups: Pass['groups'] }[];
  readonly #constants: GpuBuffer[] = [];

  constructor(
    private readonly device: RecordableDevice,
    passes: readonly Pass[],
  ) {
    this.#passes = passes.map(({ pipeline, group, groups, written }) => {
      const entries = group.entries.map(({ binding, resource: { buffer } }) => {
        const data = written.get(buffer);
        const own = data === undefined ? buffer : this.#constant(data, binding === 0 ? HOST_UNIFORM : HOST_STORAGE);
        return { binding, resource: { buffer: own } };
      });
      return { pipeline, groups, group: device.createBindGroup({ layout: group.layout, entries }) };
    });
  }

  #constant(data: ArrayBuffer, usage: number): GpuBuffer {
    const buffer = this.device.createBuffer({ size: data.byteLength, usage });
    this.device.queue.writeBuffer(buffer, 0, data);
    this.#constants.push(buffer);
    return buffer;
  }

  /** One submission: copies in, all passes, copies out. */
  run(copiesIn: readonly Copy[], copiesOut: readonly Copy[]): void {
    const encoder = this.device.createCommandEncoder();
    for (const [inside, outside] of copiesIn) {
      encoder.copyBufferToBuffer(outside, 0, inside, 0, Math.min(inside.size, outside.size));
    }
    for (const { pipeline, group, groups } of this.#passes) {
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...groups);
      pass.end();
    }
    for (const [inside, outside] of copiesOut) {
      encoder.copyBufferToBuffer(inside, 0, outside, 0, Math.min(inside.size, outside.size));
    }
    this.device.queue.submit([encoder.finish()]);
  }

  destroy(): void {
    for (const buffer of this.#constants) buffer.destroy();
  }
}
