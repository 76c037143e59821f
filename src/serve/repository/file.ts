import type { BigIntStats } from 'node:fs';
import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';

// Model files are written by others while the server runs: only regular files are opened, and one that changes while it is
// read is not used.

/** Bytes of one read: each takes about a millisecond, during which other files can be read as well. */
const CHUNK = 4 * 2 ** 20;

/** Identifies the state of a file: what changes whenever its contents do. */
const stampOf = ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string =>
  [dev, ino, size, mtimeNs, ctimeNs].join(':');

/** What a look at a file found. */
export interface Look {
  readonly stamp: string;
  /** The wall-clock time of its last change, in milliseconds. */
  readonly changed: number;
}

/** Looks at a model file. @throws Error unless it is a regular file of at most `limit` bytes, or a symbolic link to one */
export async function look(path: string, limit: number): Promise<Look> {
  const file = await stat(path, { bigint: true });
  checkKind(file, limit);
  return { stamp: stampOf(file), changed: Number(file.ctimeMs > file.mtimeMs ? file.ctimeMs : file.mtimeMs) };
}

function checkKind(file: BigIntStats, limit: number): void {
  if (!file.isFile()) throw new Error('it is not a regular file');
  if (file.size > BigInt(limit)) throw new Error(`it has ${file.size} bytes, and the limit is ${limit} (maxModel)`);
}

/**
 * The bytes of a model file, in memory that workers share.
 * @throws Error for a file that is not regular, is too large, or is not the one that `stamp` identifies, before and after
 */
export async function readModel(path: string, stamp: string, limit: number): Promise<SharedArrayBuffer> {
  // Without O_NONBLOCK, opening a FIFO that has replaced the file would wait for a writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const before = await file.stat({ bigint: true });
    checkKind(before, limit);
    const bytes = new SharedArrayBuffer(Number(before.size));
    const complete = await fill(file, new Uint8Array(bytes));
    const after = await file.stat({ bigint: true });
    if (!complete || stampOf(before) !== stamp || stampOf(after) !== stamp)
      throw new Error('it is still being written');
    return bytes;
  } finally {
    await file.close();
  }
}

async function fill(file: FileHandle, into: Uint8Array): Promise<boolean> {
  for (let at = 0; at < into.length; ) {
    const { bytesRead } = await file.read(into, at, Math.min(CHUNK, into.length - at), at);
    if (bytesRead === 0) return false;
    at += bytesRead;
  }
  return true;
}
