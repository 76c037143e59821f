import type { FastifyInstance } from 'fastify';

// Requests that no route answers: 405 where the path has other methods, else 404. They are answered before the body is read.

/** A pattern for the paths of a route such as /v2/models/:name. */
const patternOf = (url: string): RegExp =>
  new RegExp(`^${url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:\w+/g, '[^/]+')}/?$`);

/** Collects the routes that are added from now on; the function it returns gives the methods of a path. */
export function collectRoutes(app: FastifyInstance): (path: string) => string[] {
  const routes = new Map<string, { pattern: RegExp; methods: Set<string> }>();
  app.addHook('onRoute', ({ url, method }) => {
    const route = routes.get(url) ?? { pattern: patternOf(url), methods: new Set() };
    routes.set(url, route);
    for (const m of [method].flat()) route.methods.add(m);
  });
  return (path) => [...new Set([...routes.values()].flatMap((r) => (r.pattern.test(path) ? [...r.methods] : [])))];
}

/** Answers requests without a route; to be called after the hooks that check tokens. */
export function answerUnknown(app: FastifyInstance, methodsOf: (path: string) => string[]): void {
  app.addHook('onRequest', (request, reply, done) => {
    if (!request.is404) return done();
    const methods = methodsOf(request.url.split('?')[0]);
    const known = methods.length > 0 && !methods.includes(request.method);
    if (known) reply.header('allow', methods.sort().join(', '));
    void reply
      .code(known ? 405 : 404)
      .send({ error: `${request.method} is not supported at this path; see /openapi.json` });
  });
}
