import { availableParallelism } from 'node:os';
import { checkInteger, checkNumber, checkOptions, describe, fail } from '../errors.js';
import { checkTokens, type Token } from './http/tokens.js';
import type { Batching } from './workers/queue.js';

/** Certificates for HTTPS. */
export interface TlsOptions {
  /** The private key, in PEM format. */
  readonly key: string | Uint8Array;
  /** The certificate chain, in PEM format. */
  readonly cert: string | Uint8Array;
  /** The certificate authority of client certificates, in PEM format: with it only clients with such a certificate can connect. */
  readonly ca?: string | Uint8Array;
}

/** Options of {@link serve}. */
export interface ServeOptions {
  /** The model repository: a folder of name/version/model.safetensors, or one with a single .safetensors file. */
  models: string;
  /** The address of the inference port. Default 127.0.0.1. Other addresses than loopback need `tokens` or `allowUnauthenticated`. */
  host?: string;
  /** The inference port; 0 for any free port. Default 8080. */
  port?: number;
  /** The address of the admin port. Default 127.0.0.1. */
  adminHost?: string;
  /** The admin port, for metrics, status page and drift; 0 for any free port. Default 9091. */
  adminPort?: number;
  /** The bearer tokens that clients must send; see readTokens. Default: none are required. */
  tokens?: readonly Token[];
  /** Whether to allow other addresses than loopback without tokens. Default false. */
  allowUnauthenticated?: boolean;
  /** Certificates for HTTPS. Default: plain HTTP. */
  tls?: TlsOptions;
  /** The number of inference threads, each with its own copy of the models. Default: the number of cores. */
  workers?: number;
  /** The number of threads for each forward pass. Default 1. */
  threads?: number;
  /** The limit on waiting requests, above which the response is 429. Default 256. */
  queue?: number;
  /** The limit for a request in milliseconds, from its arrival; x-request-timeout-ms can lower it for a request. Default 60,000. */
  timeout?: number;
  /** The limit on a request body in bytes, after decompression. Default 16 MiB. */
  maxBody?: number;
  /** Dynamic batching by model name, with '*' for all models. Default: none. */
  batching?: Readonly<Record<string, Partial<Batching>>>;
  /**
   * Whether to run in SageMaker's multi-model mode: `models` is the folder of the model files, which POST and DELETE /models
   * load and unload. Default false.
   */
  multiModel?: boolean;
  /** Milliseconds between scans of the model repository. Default 1000. */
  scanInterval?: number;
  /** The number of samples in the window of drift detection. Default 1000. */
  driftWindow?: number;
  /** Milliseconds between computations of drift. Default 15,000. */
  driftInterval?: number;
  /** The fraction of predictions, in 0..1, that are kept to be matched with labels from /v1/feedback. Default 1. */
  feedbackSampleRate?: number;
  /** The grace period of a shutdown in milliseconds, for requests in progress. Default 25,000, because SageMaker kills after 30 s. */
  grace?: number;
  /** The lowest level of log entries: 'silent', 'error', 'warn', 'info' or 'debug'. Default 'info'. */
  logLevel?: string;
  /** The format of responses to /invocations without an Accept header. Default: the format of the request. */
  invocationsAccept?: 'application/json' | 'text/csv';
}

/** Checked options with defaults. */
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
    'feedbackSampleRate',
    'grace',
  ],
  ...['logLevel', 'invocationsAccept', 'multiModel'],
];

const loopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127\./.test(host);

/** Checks options and adds defaults. @throws TapegradError naming the invalid option */
export function resolveOptions(options: ServeOptions): Resolved {
  checkOptions(OP, options, KNOWN);
  if (typeof options.models !== 'string' || options.models === '')
    fail(OP, `models is ${describe(options.models)}`, 'pass the folder of the model repository');
  const integer = (name: keyof ServeOptions, otherwise: number, least = 1): number =>
    checkInteger(OP, name, options[name] ?? otherwise, least);
  const tokens = options.tokens === undefined ? [] : checkTokens(options.tokens);
  const resolved: Resolved = {
    models: options.models,
    host: options.host ?? '127.0.0.1',
    port: integer('port', 8080, 0),
    adminHost: options.adminHost ?? '127.0.0.1',
    adminPort: integer('adminPort', 9091, 0),
    tokens,
    allowUnauthenticated: options.allowUnauthenticated ?? false,
    tls: options.tls,
    workers: integer('workers', availableParallelism()),
    threads: integer('threads', 1),
    queue: integer('queue', 256),
    timeout: integer('timeout', 60_000),
    maxBody: integer('maxBody', 16 * 2 ** 20),
    batching: options.batching ?? {},
    multiModel: options.multiModel ?? false,
    scanInterval: integer('scanInterval', 1000),
    driftWindow: integer('driftWindow', 1000),
    driftInterval: integer('driftInterval', 15_000),
    feedbackSampleRate: checkNumber(OP, 'feedbackSampleRate', options.feedbackSampleRate ?? 1, 0),
    grace: integer('grace', 25_000, 0),
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
        `${which} is ${host}, and there are no tokens: every client that reaches it would have access`,
        'pass tokens (--tokens FILE), or allowUnauthenticated (--allow-unauthenticated) if access is controlled elsewhere',
      );
  }
  for (const [name, { maxBatch, maxDelay }] of Object.entries(resolved.batching)) {
    if (maxBatch !== undefined) checkInteger(OP, `batching['${name}'].maxBatch`, maxBatch);
    if (maxDelay !== undefined) checkNumber(OP, `batching['${name}'].maxDelay`, maxDelay, 0);
  }
  return resolved;
}

/** The batching options of a model; null if its requests are not batched. */
export function batchingOf({ batching }: Resolved, model: string): Batching | null {
  const own = (Object.hasOwn(batching, model) ? batching[model] : undefined) ?? batching['*'];
  return own === undefined ? null : { maxBatch: own.maxBatch ?? 32, maxDelay: own.maxDelay ?? 2 };
}

/** Whether the admin port requires a token: if it is reachable from other machines. */
export const adminNeedsToken = ({ adminHost, tokens }: Resolved): boolean => tokens.length > 0 && !loopback(adminHost);
