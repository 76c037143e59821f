import { backendOf } from '../../src/backends/registry.js';

// Faults of a device, for tests.

interface Descriptor {
  readonly size: number;
  readonly usage: number;
}
interface Inner {
  createBuffer(descriptor: Descriptor): unknown;
  createComputePipelineAsync(descriptor: object): Promise<object>;
}
export interface FaultyDevice {
  readonly inner: Inner;
  destroy(): void;
}

/** The device of the GPU that runs. */
export const device = (): FaultyDevice =>
  (backendOf('gpu') as unknown as { runtime: { device: FaultyDevice } }).runtime.device;

/** The bit of results in a buffer's usage, of what the host writes, and of what the host reads. */
export const [UNIFORM, MAP_READ] = [0x40, 0x01];
export const isResult = ({ usage }: Descriptor): boolean => (usage & 0x84) === 0x84;

/** Lets the device refuse the memory for some buffers that are made while `fn` runs. @returns how many */
export async function withoutMemory(refused: (d: Descriptor) => boolean, fn: () => unknown): Promise<number> {
  const { inner } = device();
  const create = inner.createBuffer.bind(inner);
  let count = 0;
  inner.createBuffer = (descriptor) => {
    const refuse = refused(descriptor);
    if (refuse) count++;
    return create(refuse ? { ...descriptor, size: 2 ** 45 } : descriptor);
  };
  try {
    fn();
    // Kernels are queued in microtasks.
    for (let i = 0; i < 20; i++) await null;
    await new Promise((resolve) => setTimeout(resolve));
  } finally {
    Object.assign(inner, { createBuffer: create });
  }
  return count;
}
