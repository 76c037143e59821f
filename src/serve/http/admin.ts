import type { FastifyInstance } from 'fastify';
import { refuse } from '../errors.js';
import type { Monitor } from '../observe/monitor.js';
import { statusPage } from '../observe/status-page.js';
import { repositoryRoutes } from './repository-routes.js';
import type { Services } from './services.js';

// The admin port: metrics, drift, loaded models and the status page.

/** The data of the status page. */
export function statusOf({ metrics, repository, pool, feedback, options }: Services, monitor: Monitor) {
  return {
    at: new Date().toISOString(),
    ready: repository.ready,
    queue: { depth: pool.depth, limit: options.queue },
    workers: { ready: pool.readyWorkers, configured: options.workers },
    memory: process.memoryUsage().rss,
    models: repository.loaded.map(({ name, version, loadedAt, seconds }) => ({
      name,
      version,
      loadedAt: loadedAt.toISOString(),
      seconds,
    })),
    failures: repository.failures,
    ignored: repository.ignored,
    totals: metrics.totals,
    quality: feedback.quality,
    drift: monitor.reports.map(({ features, outputs, ...report }) => ({
      ...report,
      worst: [...features, ...outputs].sort((a, b) => b.psi - a.psi).slice(0, 10),
    })),
  };
}

/** Adds the routes of the admin port. */
export function adminRoutes(app: FastifyInstance, services: Services, monitor: Monitor): void {
  const { metrics, repository } = services;
  const registries = { '/metrics': metrics.registry, '/metrics/triton': metrics.triton };
  for (const [path, registry] of Object.entries(registries)) {
    app.get(path, async (_request, reply) =>
      reply.header('content-type', registry.contentType).send(await registry.metrics()),
    );
  }
  app.get('/', (_request, reply) => {
    void reply
      .header('content-type', 'text/html; charset=utf-8')
      .header(
        'content-security-policy',
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
      )
      .send(statusPage);
  });
  app.get('/status', () => statusOf(services, monitor));
  app.get('/drift', async () => {
    await monitor.update();
    return { models: monitor.reports };
  });
  repositoryRoutes(app, services);
  /** Scans the repository immediately. */
  app.post('/scan', { config: { audit: 'scan' } }, async () => {
    if (services.options.multiModel) refuse('the server is in multi-model mode', 'load models with POST /models');
    await repository.scan();
    const { failures, ignored } = repository;
    return { loaded: repository.loaded.map(({ name, version }) => ({ name, version })), failures, ignored };
  });
}
