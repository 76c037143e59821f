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

/** What WebGL says to a tensor beyond what its shaders count to, and how many of the numbers just below come back wrong. */
export async function limit(): Promise<{ message: string; wrong: number }> {
  const backend = await GpuBackend.start(['webgl2']);
  const most = backend.largest / 4;
  const neg = { name: 'neg', f: (x: number) => -x, gpu: '-x' };
  const values = Float32Array.from({ length: most }, (_, i) => i);
  const got = await backend.read(backend.unary(neg, backend.upload(values)));
  let wrong = 0;
  for (let i = 0; i < most; i++) if (got[i] !== -i) wrong++;
  const message = await backend.read(backend.fill(most + 1, 0)).then(
    () => 'nothing',
    (error: Error) => error.message,
  );
  return { message, wrong };
}

Object.assign(globalThis, { parity, limit });
