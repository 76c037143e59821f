import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import type { EmbeddedKernels } from '../src/backends/backend.js';

// Node's files and bundles have the kernels in different forms, which stand for the same modules. `npm run build` writes both.

/** The bytes with every size in the section of the code in as few of them as possible. */
function shortest(bytes: Uint8Array): number[] {
  let at = 8;
  const number = () => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const next = bytes[at++];
      value |= (next & 127) << shift;
      if (next < 128) return value;
    }
  };
  const leb = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)]);
  while (bytes[at] !== 10) {
    at++;
    const size = number();
    at += size;
  }
  const before = bytes.subarray(0, at++);
  expect(number()).toBe(bytes.length - at);
  const count = number();
  const code = leb(count);
  for (let i = 0; i < count; i++) {
    const size = number();
    code.push(...leb(size), ...bytes.subarray(at, at + size));
    at += size;
  }
  return [...before, 10, ...leb(code.length), ...code];
}

const names = readdirSync('src/backends/cpu/generated').map((file) => file.replace('.ts', ''));
it.each(names)('bundles have the same kernels: %s', async (name) => {
  const load = async (path: string) => ((await import(resolve(path))) as Record<string, EmbeddedKernels>)[name];
  const ours = await load(`src/backends/cpu/generated/${name}.ts`);
  const bundled = await load(`dist/src/backends/cpu/generated/${name}.js`);
  expect(bundled.text.length).toBeLessThan(0.7 * ours.text.length);
  for (const fused of [true, false])
    expect(shortest(bundled.decode(bundled.text, fused))).toEqual([...ours.decode(ours.text, fused)]);
});
