import type { FastifyInstance, FastifyRequest } from 'fastify';
import { RequestError } from '../errors.js';
import type { Packages } from './app.js';
import { type Token, tokenFinder } from './tokens.js';

// Who may do what: bearer tokens, their rate limits, and a limit on guesses.

declare module 'fastify' {
  interface FastifyRequest {
    /** The token of the client; null if none is required. */
    token: Token | null;
  }
  interface FastifyContextConfig {
    /** Whether the route answers without a token, as the probes of load balancers and Kubernetes have none. */
    open?: boolean;
  }
}

/** The number of wrong tokens that an address can send within the window before the response is 429. */
const GUESSES = 20;
/** Milliseconds. */
const WINDOW = 60_000;
/** The limit on addresses that are remembered. */
const ADDRESSES = 10_000;

/** The tokens of a server, which can be replaced, and the addresses that sent wrong ones. */
export class Access {
  #tokens: readonly Token[];
  #find: (token: string) => Token | null;
  readonly #guesses = new Map<string, { count: number; until: number }>();

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
    this.#find = tokenFinder(tokens);
  }

  get required(): boolean {
    return this.#tokens.length > 0;
  }

  replace(tokens: readonly Token[]): void {
    this.#tokens = tokens;
    this.#find = tokenFinder(tokens);
  }

  find(token: string): Token | null {
    return this.#find(token);
  }

  /** Counts a wrong token. Returns the seconds until the address may send another one; 0 if it may at once. */
  guessed(address: string, now: number): number {
    let guesses = this.#guesses.get(address);
    if (guesses === undefined || guesses.until <= now) {
      // Those that came first go first; with so many addresses the limit could not stop anyone.
      this.#guesses.delete(address);
      if (this.#guesses.size >= ADDRESSES) this.#guesses.delete(this.#guesses.keys().next().value!);
      guesses = { count: 0, until: now + WINDOW };
      this.#guesses.set(address, guesses);
    }
    guesses.count++;
    return guesses.count > GUESSES ? Math.ceil((guesses.until - now) / 1000) : 0;
  }
}

/**
 * Requires a bearer token except for open routes, checks its permission and enforces its rate limit, on unknown routes too.
 * After too many wrong tokens from one address the response is 429 instead of 401; right ones pass all the same.
 */
export async function guard(
  app: FastifyInstance,
  { bearerAuth, rateLimit }: Packages,
  access: Access,
  allowed: (token: Token) => boolean,
): Promise<void> {
  if (!access.required) return;
  await app.register(bearerAuth, {
    keys: new Set<string>(),
    auth: (token: string, request: FastifyRequest) => {
      request.token = access.find(token);
      return request.token !== null && allowed(request.token);
    },
    verifyErrorLogLevel: 'debug',
    addHook: false,
  });
  const verify = app.verifyBearerAuth!;
  app.addHook('onRequest', (request, reply, done) => {
    const { authorization } = request.headers;
    if (request.routeOptions.config.open === true) {
      // A token is not needed here, but counts for its rate limit.
      if (authorization?.startsWith('Bearer ')) request.token = access.find(authorization.slice(7).trim());
      done();
      return;
    }
    verify(request, reply, (error?: Error) => {
      if (error === undefined || error === null) return done();
      const wait =
        authorization === undefined || request.token !== null ? 0 : access.guessed(request.ip, performance.now());
      if (wait > 0) {
        reply.header('connection', 'close');
        return done(new RequestError(429, 'too many wrong tokens from this address; try again later', wait));
      }
      reply.header('www-authenticate', 'Bearer');
      done(new RequestError(401, `${error.message}; send Authorization: Bearer TOKEN`));
    });
  });
  await app.register(rateLimit, {
    global: false,
    timeWindow: 1000,
    max: ({ token }: FastifyRequest) => token?.rateLimit ?? Number.MAX_SAFE_INTEGER,
    keyGenerator: ({ token }: FastifyRequest) => token?.name ?? '',
    allowList: ({ token }: FastifyRequest) => token?.rateLimit === undefined,
    errorResponseBuilder: (_request, { max }) =>
      new RequestError(429, `the rate limit of this token is ${max} requests per second; try again later`, 1),
  });
  app.addHook('onRequest', app.rateLimit());
}
