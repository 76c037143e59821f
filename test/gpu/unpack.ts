// A GPU and a browser for machines without them: what the npm package @sparticuz/chromium carries.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';

const root = fileURLToPath(new URL('../../node_modules/@sparticuz/chromium', import.meta.url));

/** Unpacks some of the package's archives into one folder of this machine, once for all processes. */
function unpack(name: string, archives: readonly string[]): string {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const folder = join(tmpdir(), `tapegrad-${name}-${version}`);
  if (existsSync(folder)) return folder;
  const own = `${folder}-${process.pid}`;
  mkdirSync(own);
  for (const archive of archives) {
    const file = join(own, archive);
    writeFileSync(file, brotliDecompressSync(readFileSync(join(root, `bin/${archive}.br`))));
    if (!archive.endsWith('.tar')) continue;
    execFileSync('tar', ['-xf', file, '-C', own]);
    rmSync(file);
  }
  try {
    renameSync(own, folder);
  } catch {
    rmSync(own, { recursive: true }); // Another process was faster.
  }
  return folder;
}

/** Tells Vulkan of the software renderer SwiftShader. Must run before WebGPU is first used in a process. */
export function useSwiftShader(): void {
  const folder = unpack('swiftshader', ['swiftshader.tar']);
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

/** A headless Chromium, with the shared libraries that a bare machine lacks. */
export function unpackChromium(): { executablePath: string; env: Record<string, string> } {
  const folder = unpack('chromium', ['chromium', 'swiftshader.tar', 'al2023.tar']);
  const executablePath = join(folder, 'chromium');
  chmodSync(executablePath, 0o755);
  const { LD_LIBRARY_PATH = '', ...rest } = process.env as Record<string, string>;
  return { executablePath, env: { ...rest, LD_LIBRARY_PATH: `${join(folder, 'lib')}:${LD_LIBRARY_PATH}` } };
}
