import { availableParallelism } from 'node:os';
import { checkInteger, checkNumber, checkOptions, describe, fail } from '../errors.js';
import type { Batching } from './queue.js';
import { checkTokens, type Token } from './tokens.js';

export interface TlsOptions {
  /** PEM. */
  readonly key: string | Uint8Array;
  readonly cert: string | Uint8Array;
  /** PEM of who signs the clients' certificates: with it only clients that show one are let in. */
  readonly ca?: string | Uint8Array;
}

export interface ServeOptions {
  /** The model repository: a folder of name/version/model.safetensors, or one with a single .safetensors file. */
  models: string;
  /** Default 127.0.0.1. Other than loopback addresses need tokens, or allowUnauthenticated. */
  host?: string;
  /** Default 8080; 0 takes a free one. */
  port?: number;
  /** Default 127.0.0.1. */
  adminHost?: string;
  /** Of metrics, status page and drift. Default 9091; 0 takes a free one. */
  adminPort?: number;
  tokens?: readonly Token[];
  /** Serves anybody who reaches the host. */
  allowUnauthenticated?: boolean;
  tls?: TlsOptions;
  /** Threads that compute, each with its own copy of the models. Default: as many as there are cores. */
  workers?: number;
  /** Threads that share one forward pass in each of them. Default 1. */
  threads?: number;
  /** How many requests may wait; beyond, the answer is 429. Default 256. */
  queue?: number;
  /** Milliseconds for a request, from its arrival; a request may ask for less in x-request-timeout-ms. Default 60,000. */
  timeout?: number;
  /** Bytes of a request's body, after inflating. Default 16 MiB. */
  maxBody?: number;
  /** Which models share forward passes between requests: by name, '*' for all. Default: none. */
  batching?: Readonly<Record<string, Partial<Batching>>>;
  /**
   * SageMaker's multi-model mode: `models` is where its files lie, and they are loaded and unloaded when POST and DELETE
   * /models ask for it. Default false.
   */
  multiModel?: boolean;
  /** Milliseconds between looks into the repository. Default 1000. */
  scanInterval?: number;
  /** Rows in the window that drift is computed over. Default 1000. */
  driftWindow?: number;
  /** Milliseconds between computations of drift. Default 15,000. */
  driftInterval?: number;
  /** The share of predictions that wait for labels at /v1/feedback. Default 1. */
  feedbackShare?: number;
  /** Milliseconds that a shutdown waits for what is in flight. Default 25,000: SageMaker kills after 30 s. */
  grace?: number;
  /** 'silent', 'error', 'warn', 'info' or 'debug'. Default 'info'. */
  logLevel?: string;
  /** What CSV and JSON invocations are answered in unless they say. Default: what they came in. */
  invocationsAccept?: 'application/json' | 'text/csv';
}

export type Resolved = Required<Omit<ServeOptions, 'tls' | 'invocationsAccept'>> &
  Pick<ServeOptions, 'tls' | 'invocationsAccept'>;

const OP = 'serve';
const KNOWN = [
  ...[
    'models',
    'host',
    'port',
    'adminHost',
    'adminPort',
    'tokens',
    'allowUnauthenticated',
    'tls',
    'workers',
    'threads',
  ],
  ...[
    'queue',
    'timeout',
    'maxBody',
    'batching',
    'scanInterval',
    'driftWindow',
    'driftInterval',
    'feedbackShare',
    'grace',
  ],
  ...['logLevel', 'invocationsAccept', 'multiModel'],
];

const loopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127\./.test(host);

/** Fills in and checks. @throws TapegradError naming what is wrong */
export function resolveOptions(options: ServeOptions): Resolved {
  checkOptions(OP, options, KNOWN);
  if (typeof options.models !== 'string' || options.models === '')
    fail(OP, `models is ${describe(options.models)}`, 'pass the folder of the model repository');
  const whole = (name: keyof ServeOptions, otherwise: number, least = 1): number =>
    checkInteger(OP, name, options[name] ?? otherwise, least);
  const tokens = options.tokens === undefined ? [] : checkTokens(options.tokens);
  const resolved: Resolved = {
    models: options.models,
    host: options.host ?? '127.0.0.1',
    port: whole('port', 8080, 0),
    adminHost: options.adminHost ?? '127.0.0.1',
    adminPort: whole('adminPort', 9091, 0),
    tokens,
    allowUnauthenticated: options.allowUnauthenticated ?? false,
    tls: options.tls,
    workers: whole('workers', availableParallelism()),
    threads: whole('threads', 1),
    queue: whole('queue', 256),
    timeout: whole('timeout', 60_000),
    maxBody: whole('maxBody', 16 * 2 ** 20),
    batching: options.batching ?? {},
    multiModel: options.multiModel ?? false,
    scanInterval: whole('scanInterval', 1000),
    driftWindow: whole('driftWindow', 1000),
    driftInterval: whole('driftInterval', 15_000),
    feedbackShare: checkNumber(OP, 'feedbackShare', options.feedbackShare ?? 1, 0),
    grace: whole('grace', 25_000, 0),
    logLevel: options.logLevel ?? 'info',
    invocationsAccept: options.invocationsAccept,
  };
  for (const [which, host] of [
    ['host', resolved.host],
    ['adminHost', resolved.adminHost],
  ]) {
    if (!loopback(host) && tokens.length === 0 && !resolved.allowUnauthenticated)
      fail(
        OP,
        `${which} is ${host}, and there are no tokens: anybody who reaches it would be served`,
        'pass tokens (--tokens FILE), or say allowUnauthenticated (--allow-unauthenticated) if something in front of it keeps others out',
      );
  }
  for (const [name, { maxBatch, maxDelay }] of Object.entries(resolved.batching)) {
    if (maxBatch !== undefined) checkInteger(OP, `batching['${name}'].maxBatch`, maxBatch);
    if (maxDelay !== undefined) checkNumber(OP, `batching['${name}'].maxDelay`, maxDelay, 0);
  }
  return resolved;
}

/** How a model's requests are batched; null where they are not. */
export function batchingOf({ batching }: Resolved, model: string): Batching | null {
  const own = (Object.hasOwn(batching, model) ? batching[model] : undefined) ?? batching['*'];
  return own === undefined ? null : { maxBatch: own.maxBatch ?? 32, maxDelay: own.maxDelay ?? 2 };
}

/** Whether the admin port asks for a token: where more than this machine reaches it. */
export const adminNeedsToken = ({ adminHost, tokens }: Resolved): boolean => tokens.length > 0 && !loopback(adminHost);
