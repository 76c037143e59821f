import type { GpuBuffer } from '../pool.js';
import type { CapturedPass, Device } from './device.js';

/** STORAGE | COPY_DST, and UNIFORM | COPY_DST. */
const HOST_STORAGE = 0x88;
const HOST_UNIFORM = 0x48;

/** A buffer of the capture, and one outside that is copied to or from it. */
export type Copy = readonly [inside: GpuBuffer, outside: GpuBuffer];

/** Captured passes that are submitted together, as often as one likes. The buffers that they touch are the capture's own. */
export class PassList {
  readonly #passes: { pipeline: object; group: object; groups: CapturedPass['groups'] }[];
  readonly #constants: GpuBuffer[] = [];

  constructor(
    private readonly device: Device,
    passes: readonly CapturedPass[],
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
  submit(copiesIn: readonly Copy[], copiesOut: readonly Copy[]): void {
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
