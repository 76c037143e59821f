import { fail } from '../../errors.js';

// The packages of the server are optional dependencies, loaded when a server starts.

const NEEDED = [
  'fastify',
  '@fastify/bearer-auth',
  '@fastify/compress',
  '@fastify/rate-limit',
  '@fastify/swagger',
  'prom-client',
  'typebox',
];

/** Imports the packages of the server. @throws TapegradError naming the packages to install */
export async function serverPackages() {
  try {
    const [{ fastify, LogController }, bearer, compress, limit, swagger, prometheus] = await Promise.all([
      import('fastify'),
      import('@fastify/bearer-auth'),
      import('@fastify/compress'),
      import('@fastify/rate-limit'),
      import('@fastify/swagger'),
      import('prom-client'),
      import('typebox'),
    ]);
    return {
      fastify,
      LogController,
      bearerAuth: bearer.default,
      compress: compress.default,
      rateLimit: limit.default,
      swagger: swagger.default,
      prometheus,
    };
  } catch (cause) {
    return fail(
      'serve',
      `a package does not load: ${(cause as Error).message.split('\n')[0]}`,
      `run npm install ${NEEDED.join(' ')}`,
      {
        cause,
      },
    );
  }
}
