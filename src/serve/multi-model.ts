import { readdir, realpath, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Compile } from 'typebox/compile';
import { RequestError, refuse } from './errors.js';
import type { Services } from './inference.js';
import { parseJson } from './protocol.js';
import { type Repository, validName } from './repository.js';
import * as schema from './schema.js';

// SageMaker's contract for containers of multi-model endpoints
// (https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html): it copies model files to the machine, and has
// them loaded and unloaded by names of its own.

const loadBody = /* @__PURE__ */ Compile(schema.LoadModelRequest);
/** Copies of a file that stay in memory: its bytes, from which new workers load, and the tensors in each worker. */
const copies = (workers: number): number => 1 + workers;
/** What V8 and our heap say when there is no memory. */
const NO_ROOM = /allocation failed|no memory|no room/i;

export function multiModelRoutes(app: FastifyInstance, { options, repository }: Services): void {
  const urls = new Map<string, string>();
  const loading = new Set<string>();

  const describe = (name: string) => ({ modelName: name, modelUrl: urls.get(name)! });
  const loaded = (name: string): string => {
    if (!urls.has(name)) refuse('there is no such model', 'load it with POST /models', 404);
    return name;
  };
  /** With tokens, models come and go for administrators only. */
  const administrator = (request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void) =>
    done(
      request.token === null || request.token.admin === true
        ? undefined
        : new RequestError(403, 'this token does not load models; ask for one that does'),
    );
  const route = (summary: string, body?: typeof schema.LoadModelRequest) => ({
    schema: { tags: ['SageMaker'], summary, ...(body === undefined ? {} : { body }) },
    onRequest: administrator,
  });

  app.post('/models', route('Load a model', schema.LoadModelRequest), async (request) => {
    const json = parseJson((request.body as Uint8Array | undefined) ?? new Uint8Array(0));
    if (!loadBody.Check(json)) return refuse('the body is no order to load a model', 'send {"model_name", "url"}');
    const { model_name: name, url } = json;
    if (!validName(name)) refuse('the model_name is not allowed', 'it is letters, digits, ., _ and -, 128 at most');
    if (loading.has(name) || repository.has(name)) refuse('this model is loaded', 'unload it first', 409);
    loading.add(name);
    try {
      await load(repository, name, url, options.models, options.workers);
      urls.set(name, url);
    } finally {
      loading.delete(name);
    }
    return describe(name);
  });
  // All fit on one page.
  app.get('/models', route('Loaded models'), () => ({ models: [...urls.keys()].map(describe) }));
  app.get<{ Params: { name: string } }>('/models/:name', route('A loaded model'), ({ params }) =>
    describe(loaded(params.name)),
  );
  app.delete<{ Params: { name: string } }>('/models/:name', route('Unload a model'), ({ params }) => {
    const said = describe(loaded(params.name));
    urls.delete(params.name);
    repository.remove(params.name);
    return said;
  });
}

/** @throws RequestError 507 where there is no room, which has SageMaker unload other models */
async function load(repository: Repository, name: string, url: string, root: string, workers: number): Promise<void> {
  const path = await modelFile(url, root);
  const { size } = await stat(path);
  if (size * copies(workers) > process.availableMemory())
    refuse(`${size} bytes of model do not fit into memory`, 'unload others first', 507);
  await repository
    .add(name, path)
    .catch(({ message }: Error) => refuse('the model does not load', message, NO_ROOM.test(message) ? 507 : 400));
}

/** The model file at a path, or the only one in a folder; nothing outside `root`. */
async function modelFile(url: string, root: string): Promise<string> {
  const nothing = () => refuse('there is no model at this url', 'name a folder with one .safetensors file', 400);
  const path = await realpath(url).catch(nothing);
  const inside = relative(await realpath(root).catch(nothing), path);
  if (inside === '..' || inside.startsWith(`..${sep}`)) nothing();
  if (!(await stat(path)).isDirectory()) return path;
  const files = (await readdir(path)).filter((file) => file.endsWith('.safetensors'));
  return files.length === 1 ? modelFile(join(path, files[0]), root) : nothing();
}
