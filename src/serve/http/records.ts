import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

// What the log keeps of requests: each administrative action, and a sample of all requests. Never bodies, queries or tokens.

declare module 'fastify' {
  interface FastifyRequest {
    /** The model of an administrative action, where the path does not name it. */
    audited: string | null;
  }
  interface FastifyContextConfig {
    /** The administrative action of the route, for the log. */
    audit?: string;
  }
}

const outcome = (status: number): string => (status < 400 ? 'done' : status < 500 ? 'refused' : 'failed');

/** What all records of a request have. */
const common = (request: FastifyRequest, reply: FastifyReply) => ({
  reqId: request.id,
  token: request.token?.name ?? null,
  status: reply.statusCode,
});

/** Logs administrative actions, and the fraction `share` of requests. */
export function recordRequests(app: FastifyInstance, share: number): void {
  app.decorateRequest('audited', null);
  app.addHook('onResponse', (request, reply, done) => {
    const { url, config } = request.routeOptions;
    if (config.audit !== undefined) {
      const model = (request.params as { name?: string } | undefined)?.name ?? request.audited;
      request.log.info(
        {
          ...common(request, reply),
          action: config.audit,
          ...(model === null ? {} : { model }),
          outcome: outcome(reply.statusCode),
        },
        'an administrative action',
      );
    }
    if (share > 0 && Math.random() < share)
      request.log.info(
        {
          ...common(request, reply),
          method: request.method,
          route: url ?? null,
          milliseconds: Math.round(reply.elapsedTime * 1000) / 1000,
          bytes: Number(reply.getHeader('content-length') ?? 0),
        },
        'a request',
      );
    done();
  });
}
