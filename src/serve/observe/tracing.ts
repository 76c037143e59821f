import type { Span } from '@opentelemetry/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';

// A trace span for every inference request, if the OpenTelemetry API is installed; its SDK exports them.

/** Adds spans to the requests of a server. Resolves to whether the OpenTelemetry API is installed. */
export async function trace(app: FastifyInstance): Promise<boolean> {
  const api = await import('@opentelemetry/api').catch(() => null);
  if (api === null) return false;
  const tracer = api.trace.getTracer('tapegrad');
  const spans = new WeakMap<FastifyRequest, Span>();
  app.addHook('onRequest', (request, _reply, done) => {
    const route = request.routeOptions.url;
    if (request.method !== 'POST' || route === undefined) return done();
    const parent = api.propagation.extract(api.context.active(), request.headers);
    const attributes = { 'http.request.method': request.method, 'http.route': route, 'request.id': request.id };
    spans.set(
      request,
      tracer.startSpan(`${request.method} ${route}`, { kind: api.SpanKind.SERVER, attributes }, parent),
    );
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const span = spans.get(request);
    span?.setAttribute('http.response.status_code', reply.statusCode);
    if (reply.statusCode >= 500) span?.setStatus({ code: api.SpanStatusCode.ERROR });
    span?.end();
    done();
  });
  return true;
}
