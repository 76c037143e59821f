import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { RequestError } from '../errors.js';
import type { Resolved } from '../option-table.js';
import type { Version } from '../repository/index.js';
import { BodyPool, readBody } from './body.js';
import { drain } from './drain.js';
import type { LogStream } from './log.js';
import type { serverPackages } from './packages.js';
import { secureOptions } from './tls.js';

// Common parts of inference port and admin port: limits, request ids, errors.

declare module 'fastify' {
  interface FastifyRequest {
    /** The version of the model for this request; null before it is known. */
    served: Version | null;
    /** The bytes of its body in memory. */
    bodyBytes: number;
  }
  interface FastifyInstance {
    /** The buffers of large bodies. */
    bodies: BodyPool;
  }
  interface FastifyContextConfig {
    /** Whether requests of this route count as inference requests. */
    inference?: boolean;
  }
}

export type Packages = Awaited<ReturnType<typeof serverPackages>>;

/** Request ids from clients or proxies that are safe in logs and headers. */
const ID = /^[A-Za-z0-9._:/+=-]{1,128}$/;
/** Shorter texts are sent as strings: Node writes the headers and a string in one piece, and a buffer in a second one. */
const SHORT = 8192;
const BYTES = 'application/octet-stream';
const MEDIA = ['application/json', BYTES, 'text/csv', 'application/jsonlines'];
/** Time limits in milliseconds for headers and for a whole request, against slow clients. */
const HEADERS_TIMEOUT = 10_000;
const REQUEST_TIMEOUT = 60_000;

/** The media types of the headers seen last: clients send the same few. */
const mediaTypes = /* @__PURE__ */ new Map<string, string>();
/** The limit on headers that are remembered. */
const MOST_HEADERS = 100;

/** The media type in a Content-Type or Accept header, without parameters. */
export function mediaType(header = ''): string {
  let type = mediaTypes.get(header);
  if (type === undefined) {
    type = header.split(';')[0].trim().toLowerCase();
    if (mediaTypes.size >= MOST_HEADERS) mediaTypes.clear();
    mediaTypes.set(header, type);
  }
  return type;
}

/** A server without routes. */
export function createApp(
  { fastify, LogController }: Packages,
  options: Resolved,
  stream: LogStream,
  draining: () => boolean,
): FastifyInstance {
  const { tls } = options;
  const app = fastify({
    logger: options.logLevel === 'silent' ? false : { level: options.logLevel, stream },
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.maxBody,
    requestTimeout: REQUEST_TIMEOUT,
    keepAliveTimeout: 72_000,
    http: { headersTimeout: HEADERS_TIMEOUT, connectionsCheckingInterval: 1000, maxHeaderSize: 16_384 },
    ...(tls === undefined
      ? {}
      : {
          https: {
            ...secureOptions(tls),
            headersTimeout: HEADERS_TIMEOUT,
            connectionsCheckingInterval: 1000,
            maxHeaderSize: 16_384,
            ...(tls.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: true }),
          },
        }),
    routerOptions: { maxParamLength: 128, ignoreTrailingSlash: true },
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    genReqId: ({ headers }) => {
      const given = headers['x-request-id'];
      return typeof given === 'string' && ID.test(given) ? given : randomUUID();
    },
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, _request, reply) => void answerError(error, reply as unknown as FastifyReply),
  }) as unknown as FastifyInstance;
  app.decorateRequest('token', null);
  app.decorateRequest('served', null);
  app.decorateRequest('bodyBytes', 0);
  app.setErrorHandler((error, request, reply) => {
    const status = answerError(error as Error, reply);
    // The message may contain request data, so only the stack is logged.
    if (status >= 500 && !(error instanceof RequestError))
      request.log.error(
        { reqId: request.id, route: request.routeOptions.url, stack: stackOf(error) },
        'a request failed',
      );
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    if (!request.raw.complete) endEarly(request, reply, options.maxBody);
    reply.header('x-content-type-options', 'nosniff');
    reply.header('x-request-id', request.id);
    if (draining()) reply.header('connection', 'close');
    if (Buffer.isBuffer(payload) && payload.length <= SHORT && reply.getHeader('content-type') !== BYTES)
      done(null, payload.toString());
    else done();
  });
  // This thread does not parse bodies: the workers do.
  app.removeAllContentTypeParsers();
  const bodies = new BodyPool(options.maxInflight);
  app.decorate('bodies', bodies);
  app.addContentTypeParser('*', (request, payload, done: (error: Error | null, body?: Uint8Array) => void) => {
    const type = mediaType(request.headers['content-type']);
    if (type !== '' && !MEDIA.includes(type)) {
      done(new RequestError(415, `the content type is not supported; send ${MEDIA.join(', ')}`));
      return;
    }
    readBody(bodies, request, payload, Math.min(options.maxBody, request.routeOptions.bodyLimit), (error, body) => {
      if (error instanceof RequestError && error.statusCode === 413) drain(payload, options.maxBody, () => done(error));
      else done(error, body);
    });
  });
  app.setValidatorCompiler(() => () => true);
  return app;
}

/**
 * Decides what happens to the rest of a body that is answered before it has been read. Node reads and drops it, so that the
 * client sees the answer; but one that has no end, or is too long, ends with the connection.
 */
function endEarly({ headers }: FastifyRequest, reply: FastifyReply, limit: number): void {
  const length = headers['content-length'];
  if (length !== undefined && Number(length) <= limit) reply.removeHeader('connection');
  else if (length !== undefined || headers['transfer-encoding'] !== undefined) reply.header('connection', 'close');
}

/** The stack without the message. */
function stackOf(error: unknown): string {
  const { name, stack } = error instanceof Error ? error : new Error('no error');
  const lines = (stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return [name, ...lines.slice(0, 8)].join('\n');
}

function answerError(error: Error & { statusCode?: number; code?: string }, reply: FastifyReply): number {
  const known = error instanceof RequestError || (error.statusCode !== undefined && error.statusCode < 500);
  const status = known ? error.statusCode! : 500;
  if (error instanceof RequestError && error.retryAfter !== undefined)
    reply.header('retry-after', String(error.retryAfter));
  void reply
    .code(status)
    .header('content-type', 'application/json; charset=utf-8')
    .header('x-content-type-options', 'nosniff');
  void reply.send(
    JSON.stringify({ error: known ? error.message : 'internal server error; see its log for this x-request-id' }),
  );
  return status;
}

/** Answers a malformed request, and closes the connection. */
function answerClientError(this: unknown, error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const status = { ERR_HTTP_REQUEST_TIMEOUT: 408, HPE_HEADER_OVERFLOW: 431 }[error.code ?? ''] ?? 400;
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify({
    error: `the request is ${status === 408 ? 'too slow' : status === 431 ? 'too long in its headers' : 'not HTTP'}`,
  });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
