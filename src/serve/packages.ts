import { fail } from '../errors.js';

// What only a server needs is optional for everybody else, and loaded when a server starts.

const NEEDED = [
  'fastify',
  '@fastify/bearer-auth',
  '@fastify/compress',
  '@fastify/rate-limit',
  '@fastify/swagger',
  'prom-client',
  'typebox',
];

/** The packages of a server. @throws TapegradError saying what to install */
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
