import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Command, InvalidArgumentError } from 'commander';
import { fail } from '../errors.js';
import { readTokens, type ServeOptions, serve } from '../serve/index.js';
import { integer } from './integer.js';

interface Flags extends Omit<ServeOptions, 'tokens' | 'tls' | 'batching'> {
  tokens?: string;
  tlsKey?: string;
  tlsCert?: string;
  tlsClientCa?: string;
  batch?: Record<string, { maxBatch?: number; maxDelay?: number }>;
}

/**
 * Makes V8 collect garbage less often. Node delivers bodies of megabytes in short-lived chunks that count as external memory.
 * V8's default limit is a small multiple of the live heap, so it would mark that heap again and again on all cores.
 */
const GC_FLAG = '--heap-growing-percent=400';

/** Parses MODEL=ROWS,MILLISECONDS; MODEL can be * for all models. */
const batching = (text: string, before: Flags['batch'] = {}): NonNullable<Flags['batch']> => {
  const match = /^([^=]+)=(\d+)(?:,(\d+(?:\.\d+)?))?$/.exec(text);
  if (match === null) throw new InvalidArgumentError('write MODEL=ROWS or MODEL=ROWS,MILLISECONDS');
  const [, model, rows, delay] = match;
  return {
    ...before,
    [model]: { maxBatch: Number(rows), ...(delay === undefined ? {} : { maxDelay: Number(delay) }) },
  };
};

/** tapegrad serve: serves the models in a folder over HTTP until SIGTERM or SIGINT. */
export function serveCommand(): Command {
  return new Command('serve')
    .description('Serve the models in a folder of name/version/model.safetensors over HTTP.')
    .option('--models <dir>', 'the model repository (in a SageMaker container: /opt/ml/model)')
    .option('--host <address>', 'default 127.0.0.1')
    .option('--port <n>', 'default 8080 (SAGEMAKER_BIND_TO_PORT)', integer)
    .option('--admin-host <address>', 'of metrics and status page; default 127.0.0.1')
    .option('--admin-port <n>', 'default 9091', integer)
    .option('--tokens <file>', 'JSON: [{"name", "sha256", "models"?, "rateLimit"?, "admin"?}]')
    .option('--allow-unauthenticated', 'serve clients without a token on any address')
    .option('--tls-key <file>', 'PEM')
    .option('--tls-cert <file>', 'PEM')
    .option('--tls-client-ca <file>', 'PEM: accept only clients with a certificate signed by it')
    .option(
      '--workers <n>',
      'inference threads; default: the number of cores (SAGEMAKER_MODEL_SERVER_WORKERS)',
      integer,
    )
    .option('--threads <n>', 'threads for each forward pass; default 1', integer)
    .option('--queue <n>', 'limit on waiting requests, above which the response is 429; default 256', integer)
    .option(
      '--timeout <ms>',
      'limit for one request; default 60000 (SAGEMAKER_MODEL_SERVER_TIMEOUT, in seconds)',
      integer,
    )
    .option('--max-body <bytes>', 'limit on a request body; default 16777216 (SAGEMAKER_MAX_PAYLOAD_IN_MB)', integer)
    .option(
      '--batch <model=rows,ms>',
      'batch the requests of a model (* for all) in shared forward passes; repeatable',
      batching,
    )
    .option('--multi-model', 'load and unload models by POST and DELETE /models (SAGEMAKER_MULTI_MODEL)')
    .option('--scan-interval <ms>', 'between scans of the repository; default 1000', integer)
    .option('--log-level <level>', 'silent, error, warn, info, debug')
    .action(async (flags: Flags) => {
      setFlagsFromString(GC_FLAG);
      const server = await serve(await optionsOf(flags, process.env));
      console.log(
        `tapegrad serves ${server.models.map((m) => `${m.name}/${m.version}`).join(', ') || 'no model yet'} at ${server.url}`,
      );
      console.log(`metrics and status page at ${server.adminUrl}`);
      const end = (): void => {
        server.close().then(
          () => process.exit(0),
          () => process.exit(1),
        );
      };
      process.on('SIGTERM', end);
      process.on('SIGINT', end);
    });
}

/** The options from flags and from SageMaker's environment variables. */
async function optionsOf(flags: Flags, env: NodeJS.ProcessEnv): Promise<ServeOptions> {
  const { tokens, tlsKey, tlsCert, tlsClientCa, batch, ...rest } = flags;
  const multiModel = rest.multiModel ?? env.SAGEMAKER_MULTI_MODEL === 'true';
  const container = join(env.SAGEMAKER_BASE_DIR ?? '/opt/ml', multiModel ? 'models' : 'model');
  // In multi-model mode SageMaker creates the folder with the first model.
  const models = rest.models ?? (multiModel || existsSync(container) ? container : undefined);
  if (models === undefined) fail('serve', 'there is no model repository', 'pass --models DIR');
  if ((tlsKey === undefined) !== (tlsCert === undefined) || (tlsClientCa !== undefined && tlsKey === undefined))
    fail(
      'serve',
      '--tls-key, --tls-cert and --tls-client-ca are not complete',
      'pass --tls-key and --tls-cert together',
    );
  const pem = (path: string) =>
    readFile(path).catch((cause: Error) =>
      fail('serve', `cannot read ${path}: ${cause.message}`, 'check the path', { cause }),
    );
  const variable = (name: string, times = 1): number | undefined => {
    const text = env[name];
    if (text === undefined || text === '') return undefined;
    if (!/^\d+$/.test(text)) fail('serve', `${name} is '${text}'`, 'it must be an integer');
    return Number(text) * times;
  };
  const accept = env.SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT;
  if (accept !== undefined && accept !== 'application/json' && accept !== 'text/csv')
    fail('serve', `SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT is '${accept}'`, 'it must be application/json or text/csv');
  const defaults: Partial<ServeOptions> = {
    port: variable('SAGEMAKER_BIND_TO_PORT'),
    workers: variable('SAGEMAKER_MODEL_SERVER_WORKERS'),
    timeout: variable('SAGEMAKER_MODEL_SERVER_TIMEOUT', 1000),
    maxBody: variable('SAGEMAKER_MAX_PAYLOAD_IN_MB', 2 ** 20),
    invocationsAccept: accept,
  };
  return {
    ...defaults,
    ...rest,
    models,
    multiModel,
    ...(tokens === undefined ? {} : { tokens: await readTokens(tokens) }),
    ...(tlsKey === undefined
      ? {}
      : {
          tls: {
            key: await pem(tlsKey),
            cert: await pem(tlsCert!),
            ...(tlsClientCa === undefined ? {} : { ca: await pem(tlsClientCa) }),
          },
        }),
    ...(batch === undefined ? {} : { batching: batch }),
  };
}
