// Compiles kernels/wasm to WebAssembly, once plain and once with relaxed SIMD (fused multiply-add), and embeds both in a
// TypeScript module, so that Node and any bundler can load them synchronously. Run by `npm run build:wasm`.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const entry = fileURLToPath(new URL('./index.ts', import.meta.url));
const target = fileURLToPath(new URL('../../src/backends/cpu/wasm.generated.ts', import.meta.url));

async function compile(features) {
  let bytes;
  const { error, stderr } = await asc.main(
    [
      entry,
      ...['--outFile', 'kernels.wasm', '--optimizeLevel', '3', '--shrinkLevel', '0', '--noAssert', '--runtime', 'stub'],
      ...[
        '--bindings',
        'raw',
        '--importMemory',
        '--initialMemory',
        '64',
        '--maximumMemory',
        '65536',
        '--sharedMemory',
        '--use',
        'abort=',
      ],
      ...['threads', ...features].flatMap((feature) => ['--enable', feature]),
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
  console.log(`kernels.wasm (${features.join(', ')}): ${bytes.length} bytes`);
  return Buffer.from(bytes).toString('base64');
}

writeFileSync(
  target,
  `// Written by kernels/wasm/build.mjs; not under version control.
export const plain =
  '${await compile(['simd'])}';
export const relaxed =
  '${await compile(['simd', 'relaxed-simd'])}';
`,
);
