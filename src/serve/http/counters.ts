import type { FastifyInstance } from 'fastify';
import type * as Prometheus from 'prom-client';
import type { LogStream } from './log.js';

// Metrics of what never reaches a route.

/** Counts the lines that the log lost. */
export function countLines(prometheus: typeof Prometheus, registry: Prometheus.Registry, log: LogStream): void {
  new prometheus.Counter({
    name: 'tapegrad_log_lines_dropped_total',
    help: 'Lines of the log that could not be written.',
    registers: [registry],
    collect() {
      this.reset();
      this.inc(log.dropped);
    },
  });
}

/** Counts the connections above the limit of a server. */
export function countConnections(
  prometheus: typeof Prometheus,
  registry: Prometheus.Registry,
  { server }: FastifyInstance,
): void {
  const counter = new prometheus.Counter({
    name: 'tapegrad_connections_dropped_total',
    help: 'Connections that were closed because there were too many.',
    registers: [registry],
  });
  server.on('drop', () => counter.inc());
}
