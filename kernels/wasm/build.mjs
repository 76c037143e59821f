// Compiles kernels/wasm to WebAssembly and embeds the bytes in a TypeScript module, so that Node and any bundler can
// load them synchronously. Run by `npm run build:wasm`.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const entry = fileURLToPath(new URL('./index.ts', import.meta.url));
const target = fileURLToPath(new URL('../../src/backends/cpu/wasm.generated.ts', import.meta.url));

let bytes;
const { error, stderr } = await asc.main(
  [
    entry,
    ...['--outFile', 'kernels.wasm', '--optimizeLevel', '3', '--shrinkLevel', '0', '--noAssert', '--runtime', 'stub'],
    ...['--bindings', 'raw', '--enable', 'simd', '--importMemory', '--initialMemory', '64', '--use', 'abort='],
  ],
  {
    writeFile: (name, data) => {
      if (name.endsWith('.wasm')) bytes = data;
    },
  },
);
if (error || !bytes) {
  console.error(stderr.toString());
  process.exit(1);
}
writeFileSync(
  target,
  `// Written by kernels/wasm/build.mjs; not under version control.\nexport const wasmBase64 =\n  '${Buffer.from(bytes).toString('base64')}';\n`,
);
console.log(`kernels.wasm: ${bytes.length} bytes`);
