import type { FastifyInstance } from 'fastify';
import { RequestError, refuse } from '../errors.js';
import { validName } from '../repository/index.js';
import type { Services } from './services.js';

// Triton's and Open Inference's extension to control the model repository, on the admin port
// (https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md).

interface Named {
  readonly Params: { readonly name: string };
}

/** Adds index, load and unload of the models in the folder. */
export function repositoryRoutes(app: FastifyInstance, { repository, options }: Services): void {
  app.post('/v2/repository/index', () => [
    ...repository.loaded.map(({ name, version }) => ({ name, version, state: 'READY', reason: '' })),
    ...repository.failures.map(({ name, version, reason }) => ({ name, version, state: 'UNAVAILABLE', reason })),
    // Names that no client could ask for are on the status page only.
    ...repository.ignored.flatMap(({ path, reason }) => {
      const [name, version = ''] = path.split('/');
      return validName(name) ? [{ name, version, state: 'UNAVAILABLE', reason }] : [];
    }),
  ]);
  const checked = (name: string): string => {
    if (options.multiModel) refuse('the server is in multi-model mode', 'use POST and DELETE /models');
    if (!validName(name)) refuse('the name of the model is invalid', 'see POST /v2/repository/index', 404);
    return name;
  };
  app.post<Named>('/v2/repository/models/:name/load', async ({ params }) => {
    const name = checked(params.name);
    await repository.reload(name);
    if (repository.get(name) !== null) return {};
    const reasons = repository.failures.filter((f) => f.name === name).map((f) => `${f.version}: ${f.reason}`);
    if (reasons.length === 0) return refuse('there is no such model in the repository', 'copy it there first', 404);
    throw new RequestError(400, `no version of the model loads; ${reasons.join('; ')}`);
  });
  app.post<Named>('/v2/repository/models/:name/unload', ({ params }) => {
    const name = checked(params.name);
    if (!repository.has(name)) refuse('there is no such model', 'see POST /v2/repository/index', 404);
    repository.unload(name);
    return {};
  });
}
