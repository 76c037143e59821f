import { resolveOptions, type ServeOptions } from './options.js';
import { serverPackages } from './packages.js';
import type { Server } from './running.js';

/**
 * Serves the models in a folder over HTTP: the Open Inference Protocol v2, SageMaker's container contract, metrics, drift
 * and feedback. Resolves when the ports are open and every model that is there has been tried.
 *
 * @throws TapegradError for options that make no sense, packages that are missing, a folder that cannot be read and ports
 *   that are taken; nothing is left running then
 */
export async function serve(options: ServeOptions): Promise<Server> {
  const resolved = resolveOptions(options);
  const packages = await serverPackages();
  // Not before: it imports some of them.
  const { startServer } = await import('./server.js');
  return startServer(resolved, packages);
}
