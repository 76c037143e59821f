import { serverPackages } from './http/packages.js';
import type { Server } from './http/running.js';
import { resolveOptions } from './option-table.js';
import type { ServeOptions } from './options.js';

/**
 * Serves the models in a folder over HTTP: the
 * [Open Inference Protocol v2](https://github.com/kserve/open-inference-protocol),
 * [SageMaker's container contract](https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html),
 * metrics, drift detection and feedback. Needs the optional packages fastify, @fastify/bearer-auth, @fastify/compress,
 * @fastify/rate-limit, @fastify/swagger, prom-client and typebox.
 *
 * @param options the model repository, addresses, access control and limits
 * @returns the running server, once its ports are open and the load of every model has been attempted
 * @throws TapegradError for invalid options, missing packages, a folder that cannot be read and ports in use; everything
 *   started is stopped then
 * @example
 * ```ts
 * import { mkdirSync } from 'node:fs';
 * import { nn } from 'tapegrad';
 * import { saveModel } from 'tapegrad/io';
 * import { serve } from 'tapegrad/serve';
 *
 * mkdirSync('models/small/1', { recursive: true });
 * await saveModel(new nn.Linear(4, 2), 'models/small/1/model.safetensors');
 * const server = await serve({ models: 'models', port: 0, adminPort: 0, workers: 1, logLevel: 'warn' });
 * console.log(server.models); // [{ name: 'small', version: '1' }]
 * await server.close();
 * ```
 */
export async function serve(options: ServeOptions): Promise<Server> {
  const resolved = resolveOptions(options);
  const packages = await serverPackages();
  // Imported after the check, because it imports some of these packages.
  const { startServer } = await import('./http/server.js');
  return startServer(resolved, packages);
}
