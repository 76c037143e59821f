import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { RequestError } from '../errors.js';
import type { Resolved } from '../option-table.js';
import type { Version } from '../repository/index.js';
import { BodyPool, readBody } from './body.js';
import type { serverPackages } from './packages.js';
import { type Token, tokenFinder } from './tokens.js';

// Common parts of inference port and admin port: limits, request ids, errors, tokens.

declare module 'fastify' {
  interface FastifyRequest {
    /** The token of the client; null if none is required. */
    token: Token | null;
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
const MEDIA = ['application/json', 'application/octet-stream', 'text/csv'];
/** Time limits in milliseconds for headers and for a whole request, against slow clients. */
const HEADERS_TIMEOUT = 10_000;
const REQUEST_TIMEOUT = 60_000;

/** The media type in a Content-Type or Accept header, without parameters. */
export const mediaType = (header: string | undefined): string => (header ?? '').split(';')[0].trim().toLowerCase();

/** A server without routes. */
export function createApp({ fastify, LogController }: Packages, options: Resolved): FastifyInstance {
  const { tls } = options;
  const app = fastify({
    logger: options.logLevel === 'silent' ? false : { level: options.logLevel },
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.maxBody,
    requestTimeout: REQUEST_TIMEOUT,
    keepAliveTimeout: 72_000,
    http: { headersTimeout: HEADERS_TIMEOUT, connectionsCheckingInterval: 1000, maxHeaderSize: 16_384 },
    ...(tls === undefined
      ? {}
      : {
          https: {
            key: tls.key as string,
            cert: tls.cert as string,
            headersTimeout: HEADERS_TIMEOUT,
            connectionsCheckingInterval: 1000,
            maxHeaderSize: 16_384,
            ...(tls.ca === undefined ? {} : { ca: tls.ca as string, requestCert: true, rejectUnauthorized: true }),
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
  app.setNotFoundHandler((request, reply) => {
    void reply.code(404).send({ error: `${request.method} is not supported at this path; see /openapi.json` });
  });
  // This thread does not parse bodies: the workers do.
  app.removeAllContentTypeParsers();
  const bodies = new BodyPool(options.maxInflight);
  app.decorate('bodies', bodies);
  app.addContentTypeParser('*', (request, payload, done: (error: Error | null, body?: Uint8Array) => void) => {
    const type = mediaType(request.headers['content-type']);
    if (type !== '' && !MEDIA.includes(type)) {
      done(new RequestError(415, `the content type is not supported; send ${MEDIA.join(', ')}`));
    } else readBody(bodies, request, payload, options.maxBody, done);
  });
  app.setValidatorCompiler(() => () => true);
  return app;
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
  // The rest of the body is read and dropped, as it is not too large: on a closed connection the client might not see the answer.
  if (status === 429) reply.removeHeader('connection');
  void reply.code(status).header('content-type', 'application/json; charset=utf-8');
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
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route answers without a token, as the probes of load balancers and Kubernetes have none. */
    open?: boolean;
  }
}

/** Requires a bearer token except for open routes, checks its permission and enforces its rate limit. */
export async function guard(
  app: FastifyInstance,
  { bearerAuth, rateLimit }: Packages,
  tokens: readonly Token[],
  allowed: (token: Token) => boolean,
): Promise<void> {
  if (tokens.length === 0) return;
  const find = tokenFinder(tokens);
  await app.register(bearerAuth, {
    keys: new Set<string>(),
    auth: (token: string, request: FastifyRequest) => {
      request.token = find(token);
      return request.token !== null && allowed(request.token);
    },
    errorResponse: ({ message }: Error) => ({ error: `${message}; send Authorization: Bearer TOKEN` }),
    contentType: 'application/json; charset=utf-8',
    verifyErrorLogLevel: 'debug',
    addHook: false,
  });
  const verify = app.verifyBearerAuth!;
  app.addHook('onRequest', (request, reply, done) => {
    if (request.routeOptions.config.open === true) done();
    else verify(request, reply, done);
  });
  if (tokens.every((t) => t.rateLimit === undefined)) return;
  await app.register(rateLimit, {
    timeWindow: 1000,
    max: ({ token }: FastifyRequest) => token?.rateLimit ?? Number.MAX_SAFE_INTEGER,
    keyGenerator: ({ token }: FastifyRequest) => token?.name ?? '',
    allowList: ({ token }: FastifyRequest) => token?.rateLimit === undefined,
    errorResponseBuilder: (_request, { max }) =>
      new RequestError(429, `the rate limit of this token is ${max} requests per second; try again later`, 1),
  });
}
