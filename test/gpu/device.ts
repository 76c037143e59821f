import { it } from 'vitest';
import { GpuBackend } from '../../src/backends/gpu/index.js';
import { useDevice } from '../../src/index.js';
import { useSwiftShader } from './unpack.js';

/** Why there is no WebGPU here, or null. With TAPEGRAD_TEST_GPU=native the machine's own GPU is used. */
async function obstacle(): Promise<string | null> {
  try {
    if (process.env.TAPEGRAD_TEST_GPU !== 'native') useSwiftShader();
    const { name } = await useDevice('gpu');
    await useDevice('cpu');
    console.log(`the GPU of the tests is ${name}`);
    return null;
  } catch (error) {
    if (process.env.CI === 'true') throw error;
    return (error as Error).message;
  }
}

/** Starts the GPU, or says why there is none. */
const reason = await obstacle();
if (reason !== null) process.stderr.write(`GPU tests are skipped: ${reason}\n`);

/** `it` where there is a GPU, real or in software; elsewhere skipped, but never where CI=true. */
export const onGpu = it.skipIf(reason !== null);

/** A backend of its own. */
export const startBackend = (): Promise<GpuBackend> => GpuBackend.start();
