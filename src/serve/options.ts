import type { Token } from './http/tokens.js';
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
  /** The limit on the bytes of all request bodies in memory, above which the response is 429. Default 128 MiB; at least `maxBody`. */
  maxInflight?: number;
  /** The limit on the numbers of one response, above which it is 413 before anything is computed. Default 33,554,432. */
  maxOutput?: number;
  /** The limit on open connections of the inference port. Default: half of the file descriptors the process may open, at most 10,000. */
  maxConnections?: number;
  /** The limit on the bytes of a model file. Default 2 GiB. */
  maxModel?: number;
  /** Dynamic batching by model name, with '*' for all models. Default: none. */
  batching?: Readonly<Record<string, Partial<Batching>>>;
  /**
   * Whether to run in SageMaker's multi-model mode: `models` is the folder of the model files, which POST and DELETE /models
   * load and unload. Default false.
   */
  multiModel?: boolean;
  /** Milliseconds between scans of the model repository. Default 1000. */
  scanInterval?: number;
  /** Milliseconds for which a file must not have changed before a scan loads it. Default 1000. */
  settle?: number;
  /**
   * Which versions of a model are loaded, by model name, with '*' for all others: the highest so many, or those with these
   * names. All that are loaded can be addressed. Default: all.
   */
  versions?: Readonly<Record<string, number | readonly string[]>>;
  /** Whether the server is ready only while every file in the repository is loaded. Default false: each model needs one version. */
  strictReady?: boolean;
  /** The origin whose web pages may send requests (CORS), such as https://shop.example; '*' for all. Default: none. */
  cors?: string;
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
  /** The fraction of requests, in 0..1, that are logged, without bodies, tokens and query. Default 0. */
  requestLog?: number;
  /** The format of responses to /invocations without an Accept header. Default: the format of the request. */
  invocationsAccept?: 'application/json' | 'application/jsonlines' | 'text/csv';
}
