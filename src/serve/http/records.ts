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

/** Logs administrative actions, and the fraction `share` of requests. Routes without a record have no hook. */
export function recordRequests(app: FastifyInstance, share: number): void {
  app.decorateRequest('audited', null);
  app.addHook('onRoute', (route) => {
    const action = route.config?.audit;
    if (action === undefined) return;
    const own = route.onResponse ?? [];
    const audit = (request: FastifyRequest, reply: FastifyReply, done: () => void): void => {
      recordAction(request, reply, action);
      done();
    };
    route.onResponse = [...(Array.isArray(own) ? own : [own]), audit];
  });
  if (share === 0) return;
  app.addHook('onResponse', (request, reply, done) => {
    if (Math.random() < share) recordRequest(request, reply);
    done();
  });
}

function recordAction(request: FastifyRequest, reply: FastifyReply, action: string): void {
  const model = (request.params as { name?: string } | undefined)?.name ?? request.audited;
  request.log.info(
    {
      ...common(request, reply),
      action,
      ...(model === null ? {} : { model }),
      outcome: outcome(reply.statusCode),
    },
    'an administrative action',
  );
}

function recordRequest(request: FastifyRequest, reply: FastifyReply): void {
  request.log.info(
    {
      ...common(request, reply),
      method: request.method,
      route: request.routeOptions.url ?? null,
      milliseconds: Math.round(reply.elapsedTime * 1000) / 1000,
      bytes: Number(reply.getHeader('content-length') ?? 0),
    },
    'a request',
  );
}
