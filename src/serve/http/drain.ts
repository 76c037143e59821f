import type { Readable } from 'node:stream';

/**
 * Reads and discards the rest of a body, at most about `limit` bytes, and then calls `done`: a client that is still writing when
 * the connection closes would not see the answer.
 */
export function drain(payload: Readable, limit: number, done: () => void): void {
  let left = limit;
  const finish = () => {
    payload.off('data', count).off('end', finish).off('close', finish).off('error', finish);
    // An error after this must not be unhandled.
    payload.on('error', () => {});
    done();
  };
  const count = (chunk: Uint8Array) => {
    left -= chunk.length;
    if (left < 0) finish();
  };
  payload.on('data', count).on('end', finish).on('close', finish).on('error', finish);
  payload.resume();
}
