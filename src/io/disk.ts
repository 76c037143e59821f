import { describe, fail } from '../errors.js';
import { builtin } from '../node.js';

// Files, whatever is in them. Apart from the formats: checkpoints of training need no reader of pickles.

function files(op: string): typeof import('node:fs').promises {
  const fs = builtin('node:fs');
  if (fs === null) fail(op, 'this environment has no file system', 'use toSafetensors and fromSafetensors with bytes');
  return fs.promises;
}

/** The host in the names of temporary files: containers that share a folder have process ids of their own. */
const host = (): string => (builtin('node:os')?.hostname() ?? '').replace(/[^\w-]/g, '').slice(0, 32);
/** Milliseconds after which nobody writes a temporary file any more, on whatever host. */
const ABANDONED = 3_600_000;

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Removes what writers of the same file left behind when they were killed. */
async function removeAbandoned(fs: typeof import('node:fs').promises, path: string): Promise<void> {
  const { dirname, basename, join } = builtin('node:path')!;
  const [folder, prefix] = [dirname(path), `${basename(path)}.`];
  for (const name of await fs.readdir(folder)) {
    const parts = name.startsWith(prefix) ? /^([\w-]*)-(\d+)-[0-9a-z]+\.tmp$/.exec(name.slice(prefix.length)) : null;
    if (parts === null) continue;
    const [, writerHost, writer] = parts;
    const age = Date.now() - (await fs.stat(join(folder, name))).mtimeMs;
    // A process id can be used again, as in a container that starts anew.
    const own = Number(writer) === process.pid;
    const dead = own ? age > process.uptime() * 1000 : !isRunning(Number(writer));
    if ((writerHost === host() && dead) || age > ABANDONED) await fs.rm(join(folder, name), { force: true });
  }
}

/**
 * Writes a file atomically: to a temporary file in the same folder, which is then renamed. Temporary files of the same file whose
 * writers were killed are removed. @internal
 */
export async function writeAtomically(op: string, path: string, bytes: Uint8Array): Promise<void> {
  if (typeof path !== 'string' || path === '') fail(op, `the path is ${describe(path)}`, 'pass a file name');
  const fs = files(op);
  const temporary = `${path}.${host()}-${process.pid}-${Math.floor(Math.random() * 2 ** 48).toString(36)}.tmp`;
  try {
    const file = await fs.open(temporary, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.rename(temporary, path);
  } catch (cause) {
    await fs.rm(temporary, { force: true });
    fail(op, `cannot write ${path}: ${(cause as Error).message}`, 'choose a folder that exists and is writable', {
      cause,
    });
  }
  // The file is saved: another process may remove the same ones, or the folder may not be listed.
  await removeAbandoned(fs, path).catch(() => {});
}

/** Reads a file. @throws TapegradError naming the path @internal */
export async function readFile(op: string, path: string): Promise<Uint8Array> {
  try {
    return await files(op).readFile(path);
  } catch (cause) {
    fail(op, `cannot read ${path}: ${(cause as Error).message}`, 'check the path', { cause });
  }
}
