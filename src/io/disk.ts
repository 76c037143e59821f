import { describe, fail } from '../errors.js';
import { builtin } from '../node.js';

// Files, whatever is in them. Apart from the formats: checkpoints of training need no reader of pickles.

function files(op: string): typeof import('node:fs').promises {
  const fs = builtin('node:fs');
  if (fs === null) fail(op, 'this environment has no file system', 'use toSafetensors and fromSafetensors with bytes');
  return fs.promises;
}

/** Writes a file atomically: to a temporary file in the same folder, which is then renamed. @internal */
export async function writeAtomically(op: string, path: string, bytes: Uint8Array): Promise<void> {
  if (typeof path !== 'string' || path === '') fail(op, `the path is ${describe(path)}`, 'pass a file name');
  const fs = files(op);
  const temporary = `${path}.${Math.floor(Math.random() * 2 ** 48).toString(36)}.tmp`;
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
}

/** Reads a file. @throws TapegradError naming the path @internal */
export async function readFile(op: string, path: string): Promise<Uint8Array> {
  try {
    return await files(op).readFile(path);
  } catch (cause) {
    fail(op, `cannot read ${path}: ${(cause as Error).message}`, 'check the path', { cause });
  }
}
