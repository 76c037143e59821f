import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { RequestError } from '../errors.js';
import { isLoopback } from './addresses.js';

// Browsers: which web pages may send requests (CORS), and protection of servers on loopback without tokens from pages that
// reach them through the browser of their user.

const ALLOW_HEADERS =
  'content-type, authorization, x-request-id, inference-header-content-length, x-request-timeout-ms, x-amzn-sagemaker-target-model';
const EXPOSE_HEADERS = 'x-request-id, inference-header-content-length, retry-after';
/** Seconds for which a browser may keep the answer to a preflight request. */
const MAX_AGE = 600;

/** Answers preflight requests, and adds the headers that let pages of an origin ('*' for all) read the answers. */
export function allowOrigin(app: FastifyInstance, origin: string): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('vary', 'origin');
    const { headers, method } = request;
    if (headers.origin === undefined || (origin !== '*' && headers.origin !== origin)) return done();
    reply.header('access-control-allow-origin', origin).header('access-control-expose-headers', EXPOSE_HEADERS);
    if (method !== 'OPTIONS' || headers['access-control-request-method'] === undefined) return done();
    void reply
      .code(204)
      .header('access-control-allow-methods', 'GET, HEAD, POST, DELETE')
      .header('access-control-allow-headers', ALLOW_HEADERS)
      .header('access-control-max-age', String(MAX_AGE))
      .send();
  });
}

/** The name or address in a Host header; '' if it is none. */
function hostName(host: string): string {
  const url = `http://${host}`;
  return URL.canParse(url) ? new URL(url).hostname.replace(/^\[(.*)\]$/, '$1') : '';
}

/** Whether a page on the internet could have this name or address. */
const isForeign = (name: string): boolean => !isLoopback(name) && (name === '' || /[.:]/.test(name));

/**
 * Refuses requests for other names than those of loopback, because a page can let its own name resolve to this machine (DNS
 * rebinding; names without a dot, as containers have, are no public ones, so no stranger's page has them), and requests of
 * pages from other origins than the server's own and `origin`.
 */
export function refuseStrangers(app: FastifyInstance, scheme: string, origin: string | undefined): void {
  // Nearly all requests have the same Host, and parsing it takes longer than the rest of this check.
  let last: { host: string; foreign: boolean } | null = null;
  const foreign = (host: string): boolean => {
    if (last?.host !== host) last = { host, foreign: isForeign(hostName(host)) };
    return last.foreign;
  };
  app.addHook('onRequest', (request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void) => {
    const { host, origin: from } = request.headers;
    if (host !== undefined && foreign(host))
      return done(new RequestError(421, 'this server has another name; use localhost or a loopback address'));
    if (from !== undefined && origin !== '*' && from !== origin && from !== `${scheme}://${host}`)
      return done(new RequestError(403, 'pages of other origins have no access; see the option cors'));
    done();
  });
}
