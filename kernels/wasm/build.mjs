// Compiles kernels/wasm to WebAssembly with relaxed SIMD (fused multiply-add) and embeds it in TypeScript modules, so that
// Node and any bundler can load it synchronously: the kernels that every program needs (index.ts), and one module for each
// file of libraries/, which a row of the op table imports. The build without relaxed SIMD is the same code with each fused
// multiply-add as a product and a sum. So one text holds both, which src/backends/cpu/hexadecimal.ts expands to one of them.
// Run by `npm run build:wasm`.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { expand, pack } from './pack.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const target = fileURLToPath(new URL('../../src/backends/cpu/generated/', import.meta.url));

/** Compiles one module and returns its text. */
async function compile(entry) {
  const outputs = {};
  const { error, stderr } = await asc.main(
    [
      entry,
      ...['--outFile', 'kernels.wasm', '--textFile', 'kernels.wat'],
      ...[
        '--optimizeLevel',
        '3',
        '--shrinkLevel',
        '1',
        '--converge',
        '--noAssert',
        '--runtime',
        'stub',
        '--bindings',
        'raw',
      ],
      ...['--importMemory', '--initialMemory', '64', '--maximumMemory', '65536', '--sharedMemory', '--use', 'abort='],
      ...['threads', 'simd', 'relaxed-simd'].flatMap((feature) => ['--enable', feature]),
    ],
    { writeFile: (name, data) => Object.assign(outputs, { [name]: data }) },
  );
  const [bytes, listing] = [outputs['kernels.wasm'], outputs['kernels.wat']];
  if (error || !bytes) {
    console.error(stderr.toString());
    process.exit(1);
  }
  const { text, fused } = pack(bytes);
  // The bytes of the instruction could also be a part of a number. The listing says how many there are.
  const listed = [...listing.matchAll(/\bf32x4\.relaxed_madd\b/g)].length;
  if (fused !== listed) throw new Error(`${fused} places look like a fused multiply-add, and ${listed} are`);
  if (listing.match(/\.relaxed_(?!madd)/)) throw new Error('only relaxed_madd has a form without relaxed SIMD');
  if (listing.match(/^ \(data /m)) throw new Error('modules share one memory: none may have data of its own in it');
  if (!Buffer.from(bytes).equals(expand(text, true))) throw new Error('the text does not expand to what was compiled');
  if (!WebAssembly.validate(expand(text, false))) throw new Error('the form without relaxed SIMD is not valid');
  return { text, bytes: bytes.length };
}

const entries = readdirSync(`${here}libraries`).map((file) => [basename(file, '.ts'), `${here}libraries/${file}`]);
rmSync(target, { recursive: true, force: true });
mkdirSync(target);
for (const [name, entry] of [['core', `${here}index.ts`], ...entries]) {
  const { text, bytes } = await compile(entry);
  console.log(`${name}: ${bytes} bytes`);
  writeFileSync(
    `${target}${name}.ts`,
    `// Written by kernels/wasm/build.mjs; not under version control.
import type { EmbeddedKernels } from '../../backend.js';
import { decode } from '../hexadecimal.js';

export const ${name}: EmbeddedKernels = {
  name: '${name}',
  decode,
  text: '${text}',
};
`,
  );
}
