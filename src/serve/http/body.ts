import type { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { RequestError } from '../errors.js';
import { LARGE } from '../workers/messages.js';

// Reads request bodies. Large ones are read directly into memory shared with the workers. The memory is reused, because
// allocating it for every request costs more than the copy.

/** The limit on bytes kept for reuse. */
const MAX_KEPT = 64 * 2 ** 20;
/** The exponent of the smallest buffer; sizes are powers of two. */
const MIN_EXPONENT = 16;

/** A pool of shared buffers for request bodies. */
export class BodyPool {
  readonly #free = new Map<number, SharedArrayBuffer[]>();
  #kept = 0;
  /** The bytes of the bodies of requests without an answer, received or announced. */
  #taken = 0;

  /** @param limit the limit on the bytes of the bodies of all requests without an answer */
  constructor(private readonly limit: number) {}

  /** Counts bytes of a request's body until giveBack; false if that is more than all bodies together may have. */
  take(request: FastifyRequest, bytes: number): boolean {
    if (this.#taken + bytes > this.limit) return false;
    this.#taken += bytes;
    request.bodyBytes += bytes;
    return true;
  }

  /** Called when a request has its answer. */
  giveBack(request: FastifyRequest): void {
    this.#taken -= request.bodyBytes;
    request.bodyBytes = 0;
  }

  /** A buffer of `length` bytes whose bytes from `numbers` on are aligned to 16 bytes, for fast copies. */
  acquire(length: number, numbers: number): Buffer {
    const lead = -numbers & 15;
    const size = 2 ** Math.max(MIN_EXPONENT, Math.ceil(Math.log2(lead + length)));
    const used = this.#free.get(size)?.pop();
    if (used !== undefined) this.#kept -= size;
    return Buffer.from(used ?? new SharedArrayBuffer(size), lead, length);
  }

  /** Returns a buffer that no worker reads any more to the pool. Buffers that are not shared are ignored. */
  release(body: Uint8Array): void {
    const { buffer } = body;
    if (!(buffer instanceof SharedArrayBuffer) || this.#kept + buffer.byteLength > MAX_KEPT) return;
    const same = this.#free.get(buffer.byteLength);
    if (same === undefined) this.#free.set(buffer.byteLength, [buffer]);
    else same.push(buffer);
    this.#kept += buffer.byteLength;
  }
}

type Done = (error: Error | null, body?: Uint8Array) => void;

/** Reads the body of a request, at most `limit` bytes. */
export function readBody(pool: BodyPool, request: FastifyRequest, payload: Readable, limit: number, done: Done): void {
  const { headers } = request;
  const crowded = () =>
    new RequestError(429, 'the bodies of other requests take all the memory for bodies; try again later', 1);
  const large = () => new RequestError(413, `the body is larger than ${limit} bytes; send fewer samples per request`);
  const claimed =
    headers['content-encoding'] === undefined && headers['content-length'] !== undefined
      ? Number(headers['content-length'])
      : null;
  if (claimed !== null && claimed > limit) {
    done(large());
    return;
  }
  if (claimed !== null && !pool.take(request, claimed)) {
    done(crowded());
    return;
  }
  const numbers = Number(headers['inference-header-content-length'] ?? 0);
  const target = claimed !== null && claimed >= LARGE ? pool.acquire(claimed, numbers) : null;
  const chunks: Buffer[] = [];
  let length = 0;
  let finished = false;
  const finish: Done = (error, body) => {
    if (finished) return;
    finished = true;
    if (error !== null && target !== null) pool.release(target);
    done(error, body);
  };
  payload.on('data', (chunk: Buffer) => {
    if (finished) return;
    if (length + chunk.length > Math.min(limit, claimed ?? Infinity)) {
      finish(large());
      return;
    }
    if (claimed === null && !pool.take(request, chunk.length)) {
      finish(crowded());
      return;
    }
    if (target === null) chunks.push(chunk);
    else put(target, chunk, length);
    length += chunk.length;
  });
  payload.on('error', (error: Error & { statusCode?: number }) =>
    finish(
      error.statusCode === undefined
        ? new RequestError(400, 'the body cannot be decompressed; send gzip, deflate or plain bytes')
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
  // Decompressed streams start paused.
  payload.resume();
}

/** Copies a large body, whose length was not known in advance, into shared memory. */
function share(pool: BodyPool, body: Buffer, numbers: number): Uint8Array {
  if (body.length < LARGE) return body;
  const target = pool.acquire(body.length, numbers);
  put(target, body, 0);
  return target;
}

/** Copies bytes. `set` is ten times slower on shared memory if the addresses are not aligned. */
function put(target: Buffer, bytes: Buffer, at: number): void {
  if (bytes.length > 0) target.fill(bytes, at, at + bytes.length);
}
