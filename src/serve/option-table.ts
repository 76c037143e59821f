import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { checkBoolean, checkChoice, checkInteger, checkNumber, checkOptions, describe, fail } from '../errors.js';
import { isLoopback } from './http/addresses.js';
import { checkTls } from './http/tls.js';
import { checkTokens } from './http/tokens.js';
import type { ServeOptions } from './options.js';
import type { Batching } from './workers/queue.js';

// Each option of the server is one row: its kind, default and limits, and its flag on the command line.

/** How an option is checked, and how its flag is read. */
export interface OptionRow {
  readonly kind: 'text' | 'integer' | 'number' | 'boolean' | 'choice' | 'other';
  /** The default; absent for options without one. */
  readonly default?: unknown;
  readonly least?: number;
  readonly most?: number;
  readonly choices?: readonly string[];
  /** The flag and what it means, for the command line; absent for options that only programs can set. */
  readonly flag?: string;
  readonly help?: string;
}

/** The limit of timers in Node: with a longer delay they would fire at once. */
const LONGEST = 2 ** 31 - 1;
const MIB = 2 ** 20;

/** The number of file descriptors that this process may open. */
function descriptors(): number {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    return limit === null ? Number.POSITIVE_INFINITY : Number(limit[1]);
  } catch {
    // Other systems than Linux; macOS allows 256 in the narrowest case.
    return 256;
  }
}

const integer = (value: number, flag?: string, help?: string, least = 1): OptionRow => ({
  kind: 'integer',
  default: value,
  least,
  ...(flag === undefined ? {} : { flag, help }),
});
const milliseconds = (value: number, flag?: string, help?: string, least = 1): OptionRow => ({
  ...integer(value, flag, help, least),
  most: LONGEST,
});

export const optionTable = {
  models: {
    kind: 'other',
    flag: '--models <dir>',
    help: 'the model repository (in a SageMaker container: /opt/ml/model)',
  },
  host: { kind: 'text', default: '127.0.0.1', flag: '--host <address>', help: 'of the inference port' },
  port: { ...integer(8080, '--port <n>', 'the inference port; 0 for any (SAGEMAKER_BIND_TO_PORT)', 0), most: 65_535 },
  adminHost: { kind: 'text', default: '127.0.0.1', flag: '--admin-host <address>', help: 'of metrics and status page' },
  adminPort: { ...integer(9091, '--admin-port <n>', 'the admin port; 0 for any', 0), most: 65_535 },
  tokens: { kind: 'other' },
  allowUnauthenticated: {
    kind: 'boolean',
    default: false,
    flag: '--allow-unauthenticated',
    help: 'serve clients without a token on any address',
  },
  tls: { kind: 'other' },
  workers: integer(availableParallelism(), '--workers <n>', 'inference threads (SAGEMAKER_MODEL_SERVER_WORKERS)'),
  threads: integer(1, '--threads <n>', 'threads for each forward pass'),
  queue: integer(256, '--queue <n>', 'limit on waiting requests, above which the response is 429'),
  timeout: milliseconds(60_000, '--timeout <ms>', 'limit for one request (SAGEMAKER_MODEL_SERVER_TIMEOUT, in seconds)'),
  maxBody: integer(16 * MIB, '--max-body <bytes>', 'limit on a request body (SAGEMAKER_MAX_PAYLOAD_IN_MB)'),
  maxInflight: integer(
    128 * MIB,
    '--max-inflight <bytes>',
    'limit on all request bodies in memory, above which the response is 429',
  ),
  maxOutput: integer(2 ** 25, '--max-output <n>', 'limit on the numbers of one response, above which it is 413'),
  maxConnections: integer(
    Math.max(1, Math.min(10_000, Math.floor(descriptors() / 2))),
    '--max-connections <n>',
    'limit on open connections of the inference port',
  ),
  maxModel: integer(2 ** 31, '--max-model <bytes>', 'limit on a model file'),
  batching: { kind: 'other', default: {} },
  multiModel: {
    kind: 'boolean',
    default: false,
    flag: '--multi-model',
    help: 'load and unload models by POST and DELETE /models (SAGEMAKER_MULTI_MODEL)',
  },
  scanInterval: milliseconds(1000, '--scan-interval <ms>', 'between scans of the repository'),
  settle: milliseconds(1000, '--settle <ms>', 'for which a file must not have changed before a scan loads it', 0),
  versions: { kind: 'other', default: {} },
  strictReady: {
    kind: 'boolean',
    default: false,
    flag: '--strict-ready',
    help: 'ready only while every file in the repository is loaded',
  },
  cors: { kind: 'other', flag: '--cors <origin>', help: 'the origin whose web pages may send requests; * for all' },
  driftWindow: integer(1000),
  driftInterval: milliseconds(15_000),
  feedbackSampleRate: { kind: 'number', default: 1, least: 0, most: 1 },
  requestLog: {
    kind: 'number',
    default: 0,
    least: 0,
    most: 1,
    flag: '--request-log <fraction>',
    help: 'log this fraction of requests, without bodies and tokens',
  },
  grace: milliseconds(25_000, '--grace <ms>', 'for requests in progress when the server ends', 0),
  logLevel: {
    kind: 'choice',
    default: 'info',
    choices: ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'],
    flag: '--log-level <level>',
    help: 'silent, error, warn, info or debug',
  },
  invocationsAccept: { kind: 'choice', choices: ['application/json', 'application/jsonlines', 'text/csv'] },
} as const satisfies { readonly [K in keyof Required<ServeOptions>]: OptionRow };

type WithoutDefault = 'tls' | 'invocationsAccept' | 'cors';

/** Checked options with defaults. */
export type Resolved = Required<Omit<ServeOptions, WithoutDefault>> & Pick<ServeOptions, WithoutDefault>;

const OP = 'serve';

function checked(name: string, row: OptionRow, value: unknown): unknown {
  if (value === undefined) return row.default;
  const { kind, least, most, choices } = row;
  if (kind === 'integer') checkInteger(OP, name, value, least);
  if (kind === 'number') checkNumber(OP, name, value, least);
  if (most !== undefined && (value as number) > most)
    fail(OP, `${name} is ${describe(value)}`, `it is at most ${most}`);
  if (kind === 'boolean') checkBoolean(OP, name, value);
  if (kind === 'choice') checkChoice(OP, name, value, choices!);
  if (kind === 'text' && typeof value !== 'string') fail(OP, `${name} is ${describe(value)}`, 'pass a string');
  return value;
}

/** Checks options and adds defaults. @throws TapegradError naming the invalid option */
export function resolveOptions(options: ServeOptions): Resolved {
  const rows: Record<string, OptionRow> = optionTable;
  checkOptions(OP, options, Object.keys(rows));
  if (typeof options.models !== 'string' || options.models === '')
    fail(OP, `models is ${describe(options.models)}`, 'pass the folder of the model repository');
  const given = options as unknown as Record<string, unknown>;
  const resolved = Object.fromEntries(
    Object.entries(rows).map(([name, row]) => [name, checked(name, row, given[name])]),
  ) as unknown as Resolved;
  const { tokens, tls, batching, versions, cors, maxBody } = resolved;
  for (const [name, value] of Object.entries({ batching, versions }))
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      fail(OP, `${name} is ${describe(value)}`, 'pass an object with the names of models');
  const known = tokens === undefined ? [] : checkTokens(tokens);
  if (tls !== undefined) checkTls(tls);
  const maxInflight = options.maxInflight ?? Math.max(resolved.maxInflight, maxBody);
  if (maxInflight < maxBody)
    fail(OP, `maxInflight is ${maxInflight}, below maxBody ${maxBody}`, 'no body of that size could be sent; raise it');
  for (const [which, host] of [
    ['host', resolved.host],
    ['adminHost', resolved.adminHost],
  ]) {
    if (!isLoopback(host) && known.length === 0 && !resolved.allowUnauthenticated)
      fail(
        OP,
        `${which} is ${host}, and there are no tokens: every client that reaches it would have access`,
        'pass tokens (--tokens FILE), or allowUnauthenticated (--allow-unauthenticated) if access is controlled elsewhere',
      );
  }
  for (const [name, given] of Object.entries(batching)) {
    checkOptions(OP, given ?? null, ['maxBatch', 'maxDelay']);
    const { maxBatch, maxDelay } = given;
    if (maxBatch !== undefined) checkInteger(OP, `batching['${name}'].maxBatch`, maxBatch);
    if (maxDelay !== undefined) {
      checkNumber(OP, `batching['${name}'].maxDelay`, maxDelay, 0);
      if (maxDelay > LONGEST) fail(OP, `batching['${name}'].maxDelay is ${maxDelay}`, `it is at most ${LONGEST}`);
    }
  }
  for (const [name, policy] of Object.entries(versions)) {
    if (typeof policy === 'number') checkInteger(OP, `versions['${name}']`, policy);
    else if (!Array.isArray(policy) || policy.length === 0 || !policy.every((v) => /^[1-9]\d*$/.test(String(v))))
      fail(OP, `versions['${name}'] is ${describe(policy)}`, "pass a number of versions, or names such as ['3', '5']");
  }
  if (cors !== undefined && cors !== '*' && !isOrigin(cors))
    fail(OP, `cors is ${describe(cors)}`, "pass an origin such as 'https://shop.example', or '*'");
  return { ...resolved, maxInflight, tokens: known };
}

function isOrigin(text: unknown): boolean {
  return typeof text === 'string' && URL.canParse(text) && new URL(text).origin === text;
}

/** The batching options of a model; null if its requests are not batched. */
export function batchingOf({ batching }: Pick<Resolved, 'batching'>, model: string): Batching | null {
  const own = (Object.hasOwn(batching, model) ? batching[model] : undefined) ?? batching['*'];
  return own === undefined ? null : { maxBatch: own.maxBatch ?? 32, maxDelay: own.maxDelay ?? 2 };
}

/** Whether the admin port requires a token: if it is reachable from other machines. */
export const adminNeedsToken = ({ adminHost, tokens }: Pick<Resolved, 'adminHost' | 'tokens'>): boolean =>
  tokens.length > 0 && !isLoopback(adminHost);
