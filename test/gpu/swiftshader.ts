// A GPU for machines without one: the software renderer that comes in the npm package @sparticuz/chromium.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';

/** Unpacks SwiftShader once, and tells Vulkan of it. Must run before WebGPU is first used in a process. */
export function useSwiftShader(): void {
  if (process.env.VK_DRIVER_FILES) return;
  const root = fileURLToPath(new URL('../../node_modules/@sparticuz/chromium', import.meta.url));
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const folder = join(tmpdir(), `tapegrad-swiftshader-${version}`);
  if (!existsSync(folder)) {
    const own = `${folder}-${process.pid}`;
    mkdirSync(own);
    const archive = join(own, 'swiftshader.tar');
    writeFileSync(archive, brotliDecompressSync(readFileSync(join(root, 'bin/swiftshader.tar.br'))));
    execFileSync('tar', ['-xf', archive, '-C', own]);
    try {
      renameSync(own, folder);
    } catch {
      // Another process was faster.
    }
  }
  process.env.VK_DRIVER_FILES = join(folder, 'vk_swiftshader_icd.json');
  process.env.XDG_RUNTIME_DIR ??= tmpdir();
  try {
    // Dawn loads Vulkan by its name alone. Once in the process it is found, wherever it lies; NODELETE keeps it there
    // although it is no module of Node's, of which dlopen complains.
    const NODELETE = 0x1000;
    process.dlopen({ exports: {} }, join(folder, 'libvulkan.so.1'), constants.dlopen.RTLD_NOW | NODELETE);
  } catch {
    // It is loaded now, or Dawn will say that it is missing.
  }
}
