import type { Binding } from '../constants.js';
import type { GpuBuffer, Maker } from '../pool.js';

// What is used of WebGPU's interfaces, here or by gpu.js, which has no types for them.

export interface BindGroupDescriptor {
  readonly layout: object;
  readonly entries: readonly Binding[];
}

export interface LayoutDescriptor {
  readonly entries: readonly { readonly binding: number; readonly buffer?: { readonly type: string } }[];
}

export interface ComputePass {
  setPipeline(pipeline: object): void;
  setBindGroup(index: number, group: object): void;
  dispatchWorkgroups(x: number, y: number, z: number): void;
  end(): void;
}

export interface Encoder {
  beginComputePass(descriptor?: object): ComputePass;
  copyBufferToBuffer(from: GpuBuffer, fromOffset: number, to: GpuBuffer, toOffset: number, bytes: number): void;
  finish(): object;
}

export interface Queue {
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
  createComputePipelineAsync(descriptor: object): Promise<object>;
  createCommandEncoder(): Encoder;
  destroy(): void;
}
