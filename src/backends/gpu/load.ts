import { GpuBackend } from './index.js';

/**
 * The class of the GPU backend, for bundlers. Rollup may put the package into the chunk of an app's entry, which a chunk with
 * the GPU alone would import: an app that awaits useDevice at its top level would wait for itself. Node and script tags get
 * load.lazy.ts in its place.
 */
export const loadGpu = async (): Promise<typeof GpuBackend> => GpuBackend;
