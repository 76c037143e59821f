import type { FastifyInstance, RouteOptions } from 'fastify';
import { ErrorBody } from '../protocol/schema.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The schema of the body, for /openapi.json. */
    body?: object;
  }
}

// The statuses of errors in /openapi.json: those that each route can have are added to all, the others are named by the routes.

const MEANINGS: Readonly<Record<number, string>> = {
  400: 'The request is malformed.',
  401: 'The token is missing or wrong.',
  403: 'The token has no access, or the page is of an origin that has none.',
  404: 'There is no such model, version or prediction.',
  405: 'The path has other methods; Allow names them.',
  408: 'The request came too slowly.',
  409: 'The model is already loaded.',
  413: 'The body or the response would be too large.',
  414: 'The name is too long.',
  415: 'The content type is not supported.',
  421: 'The server has another name than Host says.',
  429: 'Too many requests; Retry-After says when to try again.',
  431: 'The headers are too large.',
  500: 'The server failed; its log has the x-request-id.',
  503: 'Not ready, overloaded or too late; try again.',
  507: 'Memory is insufficient.',
};

/** Responses with an error, for the schema of a route. */
export const problems = (...statuses: number[]) =>
  Object.fromEntries(statuses.map((status) => [status, { ...ErrorBody, description: MEANINGS[status] }]));

/** The head of /openapi.json. */
export const describedApi = (version: string, tokens: boolean) => ({
  openapi: '3.1.0',
  info: { title: 'tapegrad', version, description: 'Open Inference Protocol v2' },
  ...(tokens
    ? {
        components: { securitySchemes: { token: { type: 'http' as const, scheme: 'bearer' } } },
        security: [{ token: [] }],
      }
    : {}),
});

/** The schema of /openapi.json itself. */
export const descriptionSchema = {
  tags: ['server'],
  summary: 'This description',
  response: { 200: { type: 'object', additionalProperties: true } },
};

/** What requests of every route can meet: malformed HTTP, wrong methods, names and origins. */
const ALWAYS = [400, 403, 405, 408, 421, 429, 431, 500];

/** Adds the errors of every route to the schemas of those that are added from now on. */
export function documentAnswers(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    const { response, body, ...schema } = (route.schema ?? {}) as { response?: object; body?: object };
    const named = route.url.includes(':') ? problems(404, 414) : {};
    const open = route.config?.open === true;
    const read = ['POST', 'PUT', 'PATCH', 'DELETE'].includes(String(route.method)) ? problems(413, 415) : {};
    // Workers check the bodies. With a schema of one, Fastify would look for its validator in each request.
    if (body !== undefined) route.config = { ...route.config, body };
    route.schema = {
      ...schema,
      ...(open ? { security: [] } : {}),
      response: { ...problems(...ALWAYS), ...(open ? {} : problems(401)), ...named, ...read, ...response },
    };
  });
}

/** Puts the schema of a route's body back, for /openapi.json. */
export const describeBody = <S extends object>({
  schema,
  url,
  route,
}: {
  schema: S;
  url: string;
  route: RouteOptions;
}) => ({
  schema: route.config?.body === undefined ? schema : { ...schema, body: route.config.body },
  url,
});
