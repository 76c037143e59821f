// `npm run bench:gpu:pack`: bench/gpu.ts as one archive with everything that it needs on 64-bit Linux, Node included, for
// machines that reach no registry. There: tar -xzf tapegrad-bench-gpu.tgz && tapegrad-bench-gpu/run [--python PATH]
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const MOST_BYTES = 60e6;
const root = fileURLToPath(new URL('..', import.meta.url));
const archive = resolve(process.argv[2] ?? 'tapegrad-bench-gpu.tgz');
const work = mkdtempSync(join(tmpdir(), 'tapegrad-'));
const folder = join(work, 'tapegrad-bench-gpu');
mkdirSync(join(folder, 'node_modules/webgpu/dist'), { recursive: true });

copyFileSync(realpathSync(process.execPath), join(folder, 'node'));
await build({
  entryPoints: [join(root, 'bench/gpu.ts')],
  outfile: join(folder, 'gpu.mjs'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  alias: { tapegrad: join(root, 'dist/index.js') },
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  logLevel: 'warning',
});
cpSync(join(root, 'bench/peers'), join(folder, 'peers'), {
  recursive: true,
  filter: (path) => !path.includes('node_modules'),
});
for (const path of ['package.json', 'index.js', `dist/linux-${process.arch}`]) {
  cpSync(join(root, 'node_modules/webgpu', path), join(folder, 'node_modules/webgpu', path), { recursive: true });
}
writeFileSync(join(folder, 'run'), '#!/bin/sh\ncd "$(dirname "$0")" && exec ./node gpu.mjs "$@"\n');
chmodSync(join(folder, 'run'), 0o755);
execFileSync('tar', ['-I', 'gzip -9', '-cf', archive, '-C', work, 'tapegrad-bench-gpu']);
execFileSync('rm', ['-r', work]);

const { size } = statSync(archive);
if (size > MOST_BYTES) throw new Error(`${archive} has ${size} bytes, more than ${MOST_BYTES}`);
console.log(`${archive}: ${(size / 1e6).toFixed(1)} MB`);
