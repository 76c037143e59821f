import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Command, InvalidArgumentError } from 'commander';
import { fail } from '../errors.js';
import { readTokens, type ServeOptions, type Server, serve } from '../serve/index.js';
import { type OptionRow, optionTable } from '../serve/option-table.js';
import { fraction, integer } from './values.js';

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

/** Parses MODEL=COUNT or MODEL=VERSION,VERSION…; one version alone is written with a comma behind it. */
const versions = (text: string, before: Flags['versions'] = {}): NonNullable<Flags['versions']> => {
  const match = /^([^=]+)=(?:latest:(\d+)|([1-9]\d*(?:,[1-9]\d*)*))$/.exec(text);
  if (match === null) throw new InvalidArgumentError('write MODEL=latest:COUNT or MODEL=VERSION,VERSION');
  const [, model, count, names] = match;
  return { ...before, [model]: count === undefined ? names.split(',') : Number(count) };
};

/** A flag for each option of the server that has one, and those that read files or have a form of their own. */
function serveFlags(): Command {
  const command = new Command('serve').description(
    'Serve the models in a folder of name/version/model.safetensors over HTTP.',
  );
  const rows: Record<string, OptionRow> = optionTable;
  for (const { kind, flag, help, default: value } of Object.values(rows)) {
    if (flag === undefined) continue;
    const shown = value === undefined || kind === 'boolean' ? '' : `; default ${String(value)}`;
    const parse = kind === 'integer' ? integer : kind === 'number' ? fraction : undefined;
    if (parse === undefined) command.option(flag, `${help}${shown}`);
    else command.option(flag, `${help}${shown}`, parse);
  }
  return command
    .option('--tokens <file>', 'JSON: [{"name", "sha256", "models"?, "rateLimit"?, "admin"?}]; read again on SIGHUP')
    .option('--tls-key <file>', 'PEM; read again on SIGHUP')
    .option('--tls-cert <file>', 'PEM; read again on SIGHUP')
    .option('--tls-client-ca <file>', 'PEM: accept only clients with a certificate signed by it')
    .option('--versions <model=which>', 'latest:COUNT or VERSION,VERSION (* for all models); repeatable', versions)
    .option(
      '--batch <model=rows,ms>',
      'batch the requests of a model (* for all) in shared forward passes; repeatable',
      batching,
    );
}

/** tapegrad serve: serves the models in a folder over HTTP until SIGTERM or SIGINT. */
export function serveCommand(): Command {
  return serveFlags().action(async (flags: Flags) => {
    setFlagsFromString(GC_FLAG);
    const server = await serve(await optionsOf(flags, process.env));
    let ending = false;
    const end = (): void => {
      // A second signal does not wait for the requests in progress.
      if (ending) process.exit(1);
      ending = true;
      server.close().then(
        () => process.exit(0),
        () => process.exit(1),
      );
    };
    process.on('SIGTERM', end);
    process.on('SIGINT', end);
    process.on('SIGHUP', () => {
      if (flags.tokens === undefined && flags.tlsKey === undefined) end();
      else void reload(server, flags);
    });
    console.log(
      `tapegrad serves ${server.models.map((m) => `${m.name}/${m.version}`).join(', ') || 'no model yet'} at ${server.url}`,
    );
    console.log(`metrics and status page at ${server.adminUrl}`);
  });
}

/** The tokens and certificates in the files that the flags name. */
async function accessOf({
  tokens,
  tlsKey,
  tlsCert,
  tlsClientCa,
}: Flags): Promise<Pick<ServeOptions, 'tokens' | 'tls'>> {
  const pem = (path: string) =>
    readFile(path).catch((cause: Error) =>
      fail('serve', `cannot read ${path}: ${cause.message}`, 'check the path', { cause }),
    );
  return {
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
  };
}

/** Reads tokens and certificates again. The previous ones stay in use if one of the files is broken. */
async function reload(server: Server, flags: Flags): Promise<void> {
  try {
    server.reload(await accessOf(flags));
  } catch (error) {
    console.error(`nothing is reloaded: ${(error as Error).message}`);
  }
}

const ACCEPTS = optionTable.invocationsAccept.choices;
const isAccept = (text: string): text is NonNullable<ServeOptions['invocationsAccept']> =>
  (ACCEPTS as readonly string[]).includes(text);

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
  const variable = (name: string, times = 1): number | undefined => {
    const text = env[name];
    if (text === undefined || text === '') return undefined;
    if (!/^\d+$/.test(text)) fail('serve', `${name} is '${text}'`, 'it must be an integer');
    return Number(text) * times;
  };
  const accept = env.SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT;
  if (accept !== undefined && !isAccept(accept))
    fail('serve', `SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT is '${accept}'`, `it must be one of ${ACCEPTS.join(', ')}`);
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
    ...(await accessOf(flags)),
    ...(batch === undefined ? {} : { batching: batch }),
  };
}
