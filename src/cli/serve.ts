import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Command, InvalidArgumentError } from 'commander';
import { fail } from '../errors.js';
import { readTokens, type ServeOptions, serve } from '../serve/index.js';
import { whole } from './whole.js';

interface Flags extends Omit<ServeOptions, 'tokens' | 'tls' | 'batching'> {
  tokens?: string;
  tlsKey?: string;
  tlsCert?: string;
  tlsClientCa?: string;
  batch?: Record<string, { maxBatch?: number; maxDelay?: number }>;
}

/**
 * Bodies of megabytes come from Node in chunks that die young, and count as memory all the same: with V8's usual limit, a
 * few times the small live heap, it marks that heap over and over on all cores.
 */
const COLLECT_LATER = '--heap-growing-percent=400';

/** MODEL=ROWS,MILLISECONDS; MODEL may be * for all. */
const batching = (text: string, before: Flags['batch'] = {}): NonNullable<Flags['batch']> => {
  const match = /^([^=]+)=(\d+)(?:,(\d+(?:\.\d+)?))?$/.exec(text);
  if (match === null) throw new InvalidArgumentError('write MODEL=ROWS or MODEL=ROWS,MILLISECONDS');
  const [, model, rows, delay] = match;
  return {
    ...before,
    [model]: { maxBatch: Number(rows), ...(delay === undefined ? {} : { maxDelay: Number(delay) }) },
  };
};

/** tapegrad serve: the models in a folder over HTTP, until SIGTERM or SIGINT. */
export function serveCommand(): Command {
  return new Command('serve')
    .description('Serve the models in a folder of name/version/model.safetensors over HTTP.')
    .option('--models <dir>', 'the model repository (in a SageMaker container: /opt/ml/model)')
    .option('--host <address>', 'default 127.0.0.1')
    .option('--port <n>', 'default 8080 (SAGEMAKER_BIND_TO_PORT)', whole)
    .option('--admin-host <address>', 'of metrics and status page; default 127.0.0.1')
    .option('--admin-port <n>', 'default 9091', whole)
    .option('--tokens <file>', 'JSON: [{"name", "sha256", "models"?, "rateLimit"?, "admin"?}]')
    .option('--allow-unauthenticated', 'serve anybody who reaches the host')
    .option('--tls-key <file>', 'PEM')
    .option('--tls-cert <file>', 'PEM')
    .option('--tls-client-ca <file>', 'PEM: lets in only clients with a certificate signed by it')
    .option('--workers <n>', 'threads that compute; default: as many as cores (SAGEMAKER_MODEL_SERVER_WORKERS)', whole)
    .option('--threads <n>', 'threads that share one forward pass in each; default 1', whole)
    .option('--queue <n>', 'requests that may wait before the answer is 429; default 256', whole)
    .option('--timeout <ms>', 'for one request; default 60000 (SAGEMAKER_MODEL_SERVER_TIMEOUT, in seconds)', whole)
    .option('--max-body <bytes>', 'default 16777216 (SAGEMAKER_MAX_PAYLOAD_IN_MB)', whole)
    .option(
      '--batch <model=rows,ms>',
      'let requests of a model (* for all) share forward passes; may be repeated',
      batching,
    )
    .option('--multi-model', 'load and unload models when POST and DELETE /models ask (SAGEMAKER_MULTI_MODEL)')
    .option('--scan-interval <ms>', 'between looks into the repository; default 1000', whole)
    .option('--log-level <level>', 'silent, error, warn, info, debug')
    .action(async (flags: Flags) => {
      setFlagsFromString(COLLECT_LATER);
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

/** What the flags and SageMaker's variables ask for. */
async function optionsOf(flags: Flags, env: NodeJS.ProcessEnv): Promise<ServeOptions> {
  const { tokens, tlsKey, tlsCert, tlsClientCa, batch, ...rest } = flags;
  const multiModel = rest.multiModel ?? env.SAGEMAKER_MULTI_MODEL === 'true';
  const container = join(env.SAGEMAKER_BASE_DIR ?? '/opt/ml', multiModel ? 'models' : 'model');
  // SageMaker makes the folder of many models when it has the first one.
  const models = rest.models ?? (multiModel || existsSync(container) ? container : undefined);
  if (models === undefined) fail('serve', 'no model repository is named', 'pass --models DIR');
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
    if (!/^\d+$/.test(text)) fail('serve', `${name} is '${text}'`, 'it must be a whole number');
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
