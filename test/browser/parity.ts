// A page's program: every case of the op table on one of gpu.js's modes.
import { GpuBackend } from '../../src/backends/gpu/index.js';
import type { Mode } from '../../src/backends/gpu/runtime.js';
import { replaceBackend } from '../../src/backends/registry.js';
import { cases } from '../gpu/cases.js';

/** What is wrong, and how many cases there were. */
export async function parity(mode: Mode): Promise<{ info: unknown; count: number; wrong: string[] }> {
  const backend = await GpuBackend.start([mode]);
  replaceBackend('gpu', backend);
  const wrong: string[] = [];
  for (const { name, run } of cases) {
    try {
      const problem = await run();
      if (problem !== null) wrong.push(`${name}: ${problem}`);
    } catch (error) {
      wrong.push(`${name}: ${(error as Error).message}`);
    }
  }
  return { info: backend.info(), count: cases.length, wrong };
}

Object.assign(globalThis, { parity });
