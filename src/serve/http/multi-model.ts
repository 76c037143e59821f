import { readdir, realpath, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { RequestError, refuse } from '../errors.js';
import { parseJson } from '../protocol/json.js';
import * as schema from '../protocol/schema.js';
import { type Repository, validName } from '../repository/index.js';
import { problems } from './answers.js';
import type { Services } from './services.js';

// SageMaker's container contract for multi-model endpoints
// (https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html): SageMaker copies
// model files to the machine, and loads and unloads them under names of its choice.

const Model = Type.Object({ modelName: Type.String(), modelUrl: Type.String() });
const Models = Type.Object({ models: Type.Array(Model) });
const loadBody = /* @__PURE__ */ Compile(schema.LoadModelRequest);
/** The number of copies of a model in memory: the bytes of its file, from which new workers load it, and one for each worker. */
const copies = (workers: number): number => 1 + workers;
/** Error messages of V8 and of the WebAssembly heap when memory is exhausted. */
const OUT_OF_MEMORY = /allocation failed|no memory|no room/i;

/** Adds the routes of multi-model endpoints. */
export function multiModelRoutes(app: FastifyInstance, { options, repository }: Services): void {
  const urls = new Map<string, string>();
  const loading = new Set<string>();

  const describe = (name: string) => ({ modelName: name, modelUrl: urls.get(name)! });
  const loaded = (name: string): string => {
    if (!urls.has(name)) refuse('there is no such model', 'load it with POST /models', 404);
    return name;
  };
  /** If tokens are required, only those with `admin` can load and unload models. */
  const administrator = (request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void) =>
    done(
      request.token === null || request.token.admin === true
        ? undefined
        : new RequestError(403, 'this token has no permission to load models; use a token that has'),
    );
  const route = (summary: string, response: object, audit?: string, body?: typeof schema.LoadModelRequest) => ({
    schema: { tags: ['SageMaker'], summary, response, ...(body === undefined ? {} : { body }) },
    onRequest: administrator,
    ...(audit === undefined ? {} : { config: { audit } }),
  });

  app.post(
    '/models',
    route('Load a model', { 200: Model, ...problems(409, 507) }, 'load', schema.LoadModelRequest),
    async (request) => {
      const json = parseJson((request.body as Uint8Array | undefined) ?? new Uint8Array(0));
      if (!loadBody.Check(json))
        return refuse('the body is not a request to load a model', 'send {"model_name", "url"}');
      const { model_name: name, url } = json;
      request.audited = name;
      if (!validName(name)) refuse('the model_name is invalid', 'use at most 128 letters, digits, ., _ and -');
      if (loading.has(name) || repository.has(name)) refuse('this model is already loaded', 'unload it first', 409);
      loading.add(name);
      try {
        await load(repository, name, url, options.models, options.workers);
        urls.set(name, url);
      } finally {
        loading.delete(name);
      }
      return describe(name);
    },
  );
  // Without paging: all models are on one page.
  app.get('/models', route('Loaded models', { 200: Models }), () => ({ models: [...urls.keys()].map(describe) }));
  app.get<{ Params: { name: string } }>('/models/:name', route('A loaded model', { 200: Model }), ({ params }) =>
    describe(loaded(params.name)),
  );
  app.delete<{ Params: { name: string } }>(
    '/models/:name',
    route('Unload a model', { 200: Model }, 'unload'),
    ({ params }) => {
      const model = describe(loaded(params.name));
      urls.delete(params.name);
      repository.remove(params.name);
      return model;
    },
  );
}

/** Loads a model. @throws RequestError 507 if memory is insufficient, so that SageMaker unloads other models */
async function load(repository: Repository, name: string, url: string, root: string, workers: number): Promise<void> {
  const path = await modelFile(url, root);
  const { size } = await stat(path);
  if (size * copies(workers) > process.availableMemory())
    refuse(`a model of ${size} bytes does not fit into memory`, 'unload other models first', 507);
  await repository
    .add(name, path)
    .catch(({ message }: Error) => refuse('the model does not load', message, OUT_OF_MEMORY.test(message) ? 507 : 400));
}

/** The model file at a path, or the only one in a folder; only inside `root`. */
async function modelFile(url: string, root: string): Promise<string> {
  const nothing = () => refuse('there is no model at this url', 'name a folder with one .safetensors file', 400);
  const path = await realpath(url).catch(nothing);
  const inside = relative(await realpath(root).catch(nothing), path);
  if (inside === '..' || inside.startsWith(`..${sep}`)) nothing();
  if (!(await stat(path)).isDirectory()) return path;
  const files = (await readdir(path)).filter((file) => file.endsWith('.safetensors'));
  return files.length === 1 ? modelFile(join(path, files[0]), root) : nothing();
}
