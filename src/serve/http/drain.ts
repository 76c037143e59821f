import type { Readable } from 'node:stream';

/** Milliseconds without data after which the client is no longer taken to be writing. */
const PAUSE = 500;

/**
 * Reads and discards the rest of a body, at most about `limit` bytes and while it comes, and then calls `done`: a client that is
 * still writing when the connection closes would not see the answer.
 */
export function drain(payload: Readable, limit: number, done: () => void): void {
  let left = limit;
  const finish = () => {
    clearTimeout(idle);
    payload.off('data', count).off('end', finish).off('close', finish).off('error', finish);
    // An error after this must not be unhandled.
    payload.on('error', () => {});
    done();
  };
  const count = (chunk: Uint8Array) => {
    left -= chunk.length;
    idle.refresh();
    if (left < 0) finish();
  };
  const idle = setTimeout(finish, PAUSE);
  payload.on('data', count).on('end', finish).on('close', finish).on('error', finish);
  payload.resume();
}
