import type { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { RequestError } from './errors.js';
import { LARGE } from './messages.js';

// Reads request bodies. Large ones go straight into memory that the workers share, which is used again and again: fresh
// memory for every request costs more than the copy.

/** Bytes of memory that are kept for the next requests. */
const KEPT = 64 * 2 ** 20;
/** Memory comes in powers of two from this on. */
const SMALLEST = 16;

export class BodyPool {
  readonly #free = new Map<number, SharedArrayBuffer[]>();
  #kept = 0;

  /** Memory for `length` bytes, of which those from `numbers` on are numbers and lie aligned for copies of whole words. */
  take(length: number, numbers: number): Buffer {
    const lead = -numbers & 15;
    const size = 2 ** Math.max(SMALLEST, Math.ceil(Math.log2(lead + length)));
    const used = this.#free.get(size)?.pop();
    if (used !== undefined) this.#kept -= size;
    return Buffer.from(used ?? new SharedArrayBuffer(size), lead, length);
  }

  /** Takes memory back that no worker reads any more; others' memory is left alone. */
  give(body: Uint8Array): void {
    const { buffer } = body;
    if (!(buffer instanceof SharedArrayBuffer) || this.#kept + buffer.byteLength > KEPT) return;
    const same = this.#free.get(buffer.byteLength);
    if (same === undefined) this.#free.set(buffer.byteLength, [buffer]);
    else same.push(buffer);
    this.#kept += buffer.byteLength;
  }
}

type Done = (error: Error | null, body?: Uint8Array) => void;

/** Reads all of a request, `limit` bytes at most. */
export function readBody(
  pool: BodyPool,
  { headers }: FastifyRequest,
  payload: Readable,
  limit: number,
  done: Done,
): void {
  const large = () => new RequestError(413, `the body is larger than ${limit} bytes; send less at once`);
  const claimed =
    headers['content-encoding'] === undefined && headers['content-length'] !== undefined
      ? Number(headers['content-length'])
      : null;
  if (claimed !== null && claimed > limit) {
    done(large());
    return;
  }
  const numbers = Number(headers['inference-header-content-length'] ?? 0);
  const target = claimed !== null && claimed >= LARGE ? pool.take(claimed, numbers) : null;
  const chunks: Buffer[] = [];
  let length = 0;
  let finished = false;
  const finish: Done = (error, body) => {
    if (finished) return;
    finished = true;
    if (error !== null && target !== null) pool.give(target);
    done(error, body);
  };
  payload.on('data', (chunk: Buffer) => {
    if (finished) return;
    if (length + chunk.length > Math.min(limit, claimed ?? Infinity)) {
      finish(large());
      return;
    }
    if (target === null) chunks.push(chunk);
    else put(target, chunk, length);
    length += chunk.length;
  });
  payload.on('error', (error: Error & { statusCode?: number }) =>
    finish(
      error.statusCode === undefined
        ? new RequestError(400, 'the body does not inflate; send gzip, deflate or plain bytes')
        : error,
    ),
  );
  payload.on('close', () => {
    if (!finished) finish(new RequestError(400, 'the body ended early'));
  });
  payload.on('end', () => {
    if (claimed !== null && length !== claimed)
      finish(new RequestError(400, 'the body is shorter than its content-length'));
    else if (target !== null) finish(null, target);
    else finish(null, share(pool, chunks.length === 1 ? chunks[0] : Buffer.concat(chunks), numbers));
  });
  // What inflates comes paused.
  payload.resume();
}

/** A large body whose length was not known before. */
function share(pool: BodyPool, body: Buffer, numbers: number): Uint8Array {
  if (body.length < LARGE) return body;
  const target = pool.take(body.length, numbers);
  put(target, body, 0);
  return target;
}

/** Copies bytes. `set` does it to shared memory at a tenth of the speed where the addresses are not aligned. */
function put(target: Buffer, bytes: Buffer, at: number): void {
  if (bytes.length > 0) target.fill(bytes, at, at + bytes.length);
}
