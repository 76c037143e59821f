import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { fail } from '../../errors.js';
import { Feedback } from '../observe/feedback.js';
import { Metrics } from '../observe/metrics.js';
import { Monitor } from '../observe/monitor.js';
import { trace } from '../observe/tracing.js';
import { adminNeedsToken, type Resolved } from '../option-table.js';
import { Repository } from '../repository/index.js';
import { Pool } from '../workers/pool.js';
import { Access, guard } from './access.js';
import { isLoopback } from './addresses.js';
import { adminRoutes } from './admin.js';
import { describeBody, describedApi, descriptionSchema, documentAnswers } from './answers.js';
import { createApp, type Packages } from './app.js';
import { limitConnections } from './connections.js';
import { countConnections, countLines } from './counters.js';
import { inferenceRoutes } from './inference.js';
import { LogStream } from './log.js';
import { allowOrigin, refuseStrangers } from './origins.js';
import { recordRequests } from './records.js';
import { reloader } from './reload.js';
import { answerUnknown, collectRoutes } from './routes.js';
import type { Server } from './running.js';
import type { Services } from './services.js';

/** The limit on connections of the admin port, which scrapers and the status page share. */
const ADMIN_CONNECTIONS = 100;

/** The version of the installed package. */
async function packageVersion(): Promise<string> {
  const path = createRequire(import.meta.url).resolve('tapegrad/package.json');
  return (JSON.parse(await readFile(path, 'utf8')) as { version: string }).version;
}

const urlOf = (app: FastifyInstance, scheme: string): string => {
  const { address, family, port } = app.server.address() as AddressInfo;
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
};

/**
 * Closes a server: rejects new requests, and waits at most `grace` milliseconds for those in progress. Idle connections are
 * closed, because Node would wait for connections that were used before or have not sent anything.
 */
async function shut(app: FastifyInstance, active: () => number, grace: number): Promise<void> {
  const end = performance.now() + grace;
  const sweep = setInterval(() => {
    if (active() === 0 || performance.now() > end) app.server.closeAllConnections();
    else app.server.closeIdleConnections();
  }, 50);
  await app.close();
  clearInterval(sweep);
}

/** Refuses requests through the browser of the user, on a port that only this machine reaches and that needs no token. */
function protect(
  app: FastifyInstance,
  options: Resolved,
  host: string,
  scheme: string,
  cors: string | undefined,
): void {
  if (options.tokens.length === 0 && !options.allowUnauthenticated && isLoopback(host))
    refuseStrangers(app, scheme, cors);
}

/** Starts a server with checked options and imported packages. */
export async function startServer(resolved: Resolved, packages: Packages): Promise<Server> {
  const log = new LogStream();
  let draining = false;
  const app = createApp(packages, resolved, log, () => draining);
  const admin = createApp(packages, resolved, log, () => draining);
  log.onRecovered = (lines) => app.log.warn({ lines }, 'lines of the log could not be written');
  const access = new Access(resolved.tokens);
  const scheme = resolved.tls === undefined ? 'http' : 'https';
  const metrics = new Metrics(packages.prometheus);
  countLines(packages.prometheus, metrics.registry, log);
  countConnections(packages.prometheus, metrics.registry, app);
  limitConnections(app.server, resolved.maxConnections);
  limitConnections(admin.server, ADMIN_CONNECTIONS);
  const monitor = new Monitor(resolved.driftWindow);
  const feedback = new Feedback(resolved.feedbackSampleRate);
  /** The number of requests in progress. */
  let active = 0;

  const pool = new Pool({
    workers: resolved.workers,
    threads: resolved.threads,
    queue: resolved.queue,
    maxOutput: resolved.maxOutput,
    onSamples: (samples) => monitor.add(samples),
    onWorker: (event, detail) => {
      if (event === 'ready') return app.log.info('an inference worker is ready');
      metrics.workerDied();
      app.log.error({ cause: detail }, 'an inference worker died; another one is started');
    },
  });
  const repository = new Repository({ ...resolved, folder: resolved.multiModel ? null : resolved.models }, pool, {
    onLoaded: (version) => {
      metrics.loaded(version);
      monitor.watch(version);
      app.log.info({ model: version.name, version: version.version, seconds: version.seconds }, 'a model is ready');
    },
    onUnloaded: (version) => {
      monitor.forget(version);
      feedback.forget(version);
      app.log.info({ model: version.name, version: version.version }, 'a version of a model goes');
    },
    onGone: (name, version) => metrics.forget(name, version, repository.has(name)),
    onIgnored: ({ path, reason }) => app.log.warn({ path, reason }, 'something in the model repository is ignored'),
    onFailed: (failure) => {
      metrics.failed(failure);
      app.log.error(
        { model: failure.name, version: failure.version, reason: failure.reason },
        'a model does not load; the previous version stays in use',
      );
    },
  });
  metrics.observe(packages.prometheus, { pool, repository, monitor, feedback });
  const services: Services = {
    options: resolved,
    pool,
    repository,
    metrics,
    feedback,
    version: await packageVersion(),
    draining: () => draining,
  };

  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => {
    closing ??= (async () => {
      draining = true;
      repository.stop();
      monitor.stop();
      await shut(app, () => active, resolved.grace);
      await pool.close(resolved.grace);
      await shut(admin, () => 0, 0);
    })();
    return closing;
  };

  try {
    if (await trace(app)) app.log.debug('requests are traced through the OpenTelemetry API');
    app.addHook('onRequest', (request, reply, done) => {
      active++;
      reply.raw.once('close', () => {
        active--;
        app.bodies.giveBack(request);
      });
      done();
    });
    protect(app, resolved, resolved.host, scheme, resolved.cors);
    if (resolved.cors !== undefined) allowOrigin(app, resolved.cors);
    const methodsOf = collectRoutes(app);
    await guard(app, packages, access, () => true);
    answerUnknown(app, methodsOf);
    recordRequests(app, resolved.requestLog);
    await app.register(packages.compress, {
      global: false,
      globalDecompression: true,
      requestEncodings: ['gzip', 'deflate', 'identity'],
    });
    documentAnswers(app);
    await app.register(packages.swagger, {
      openapi: describedApi(services.version, access.required),
      transform: describeBody,
    });
    inferenceRoutes(app, services);
    app.get('/openapi.json', { schema: descriptionSchema }, () => app.swagger());
    protect(admin, resolved, resolved.adminHost, scheme, undefined);
    const adminMethodsOf = collectRoutes(admin);
    if (adminNeedsToken(resolved)) await guard(admin, packages, access, (token) => token.admin === true);
    answerUnknown(admin, adminMethodsOf);
    recordRequests(admin, resolved.requestLog);
    adminRoutes(admin, services, monitor);
    await Promise.all([app.ready(), admin.ready()]);
    await repository.check();
    await admin.listen({ host: resolved.adminHost, port: resolved.adminPort });
    await app.listen({ host: resolved.host, port: resolved.port });
    // The ports are open meanwhile: the server is live, and not ready.
    await repository.start(resolved.scanInterval);
    monitor.start(resolved.driftInterval);
  } catch (error) {
    await close();
    const { code, port, address } = error as NodeJS.ErrnoException & { port?: number; address?: string };
    if (code === 'EADDRINUSE' || code === 'EACCES')
      fail('serve', `cannot listen on ${address}:${port} (${code})`, 'choose another port', { cause: error });
    throw error;
  }
  return {
    url: urlOf(app, scheme),
    adminUrl: urlOf(admin, scheme),
    get models() {
      return repository.loaded.map(({ name, version }) => ({ name, version }));
    },
    scan: () => repository.scan(),
    reload: reloader(resolved, access, [app, admin]),
    close,
    pool,
  };
}
