import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { RequestError, refuse } from '../errors.js';
import { FEEDBACK_BODY, ownId } from '../observe/feedback.js';
import { batchingOf } from '../option-table.js';
import { parseJson } from '../protocol/json.js';
import * as schema from '../protocol/schema.js';
import type { Repository, Version } from '../repository/index.js';
import { monotonic } from '../workers/clock.js';
import { INVOCATION, INVOCATION_CSV, INVOCATION_LINES, type Job, PROTOCOL } from '../workers/messages.js';
import { problems } from './answers.js';
import { mediaType } from './app.js';
import { idInAnswer } from './ids.js';
import { multiModelRoutes } from './multi-model.js';
import type { Services } from './services.js';

// The inference port: the Open Inference Protocol, SageMaker's container contract, and feedback.

interface ModelPath {
  readonly name: string;
  readonly version?: string;
}

const JSON_TYPE = 'application/json';
const CSV = 'text/csv';
const LINES = 'application/jsonlines';
const EXTENSIONS = ['binary_tensor_data'];
const feedbackBody = /* @__PURE__ */ Compile(schema.FeedbackRequest);
const HeaderOnly = Type.Object({ ready: Type.Boolean(), problems: Type.Array(Type.String()) });
const Live = Type.Object({ live: Type.Boolean() });
const ModelReady = Type.Object({ name: Type.String(), version: Type.String(), ready: Type.Boolean() });
/** Bodies in several formats. */
const formats = (description: string, bodies: Readonly<Record<string, object>>) => ({
  description,
  content: Object.fromEntries(Object.entries(bodies).map(([type, body]) => [type, { schema: body }])),
});
const Text = Type.String();
const Binary = Type.String({ format: 'binary' });

/** The paths of a model, with and without a version. */
const modelPaths = (rest: string) => [`/v2/models/:name${rest}`, `/v2/models/:name/versions/:version${rest}`];

/** Adds the routes of the inference port. */
export function inferenceRoutes(app: FastifyInstance, services: Services): void {
  const { pool, repository, feedback } = services;
  healthRoutes(app, services);

  const find = (request: FastifyRequest, { name, version }: ModelPath): Version => {
    const { token } = request;
    if (token?.models !== undefined && !token.models.includes(name))
      refuse('this token has no access to this model', 'use a token that has', 403);
    const found = repository.get(name, version);
    if (found !== null) return found;
    if (repository.has(name))
      refuse(
        version === undefined ? 'no version of this model is loaded' : 'there is no such version of this model',
        'see /v2/models/NAME',
        404,
      );
    return refuse('there is no such model', 'see POST /v2/repository/index on the admin port', 404);
  };

  for (const url of modelPaths('')) {
    app.get<{ Params: ModelPath }>(
      url,
      { schema: { tags: ['model'], summary: 'Model metadata', response: { 200: schema.ModelMetadata } } },
      (request) => {
        const { name, info } = find(request, request.params);
        const versions = repository.versions(name).map((v) => v.version);
        return { name, versions, platform: 'tapegrad', inputs: info.inputs, outputs: info.outputs };
      },
    );
  }
  for (const url of modelPaths('/ready')) {
    const readySchema = { tags: ['health'], summary: 'Model ready', response: { 200: ModelReady } };
    app.get<{ Params: ModelPath }>(url, { schema: readySchema }, (request, reply) => {
      const { name, version } = find(request, request.params);
      void reply.send({ name, version, ready: true });
    });
  }

  /** Rejects requests when the queue is full, before the body is read. */
  const admit = (_request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void) =>
    done(
      pool.full ? new RequestError(429, `${pool.depth} requests are already waiting; try again later`, 1) : undefined,
    );

  const infer = async (
    request: FastifyRequest,
    reply: FastifyReply,
    version: Version,
    job: Pick<Job, 'kind' | 'jsonLength' | 'csv' | 'lines'>,
  ) => {
    const body = request.body instanceof Uint8Array ? request.body : new Uint8Array(0);
    const deadline = monotonic() + timeoutOf(request, services.options.timeout);
    const answer = await pool.submit(
      { ...job, model: version.id, deadline, body },
      batchingOf(services.options, version.name),
    );
    // After an answer the worker no longer reads the body. Without an answer the memory is left to the garbage collector.
    app.bodies.release(body);
    services.metrics.inference(version, answer);
    if (answer.status === 500)
      request.log.error({ reqId: request.id, model: version.name, version: version.version }, 'a model failed');
    if (answer.chosen.length > 0) {
      const own = idInAnswer(answer, version);
      const ids = own === null || own === request.id ? [request.id] : [request.id, own];
      feedback.remember(
        ids.map((id) => ownId(request.token?.name ?? '', id)),
        version,
        answer.chosen,
      );
    }
    void reply.code(answer.status);
    if (answer.status === 503) reply.header('retry-after', '1');
    reply.header(
      'content-type',
      answer.jsonLength >= 0
        ? 'application/octet-stream'
        : answer.status !== 200
          ? JSON_TYPE
          : answer.csv
            ? CSV
            : job.lines
              ? LINES
              : JSON_TYPE,
    );
    if (answer.jsonLength >= 0) reply.header('inference-header-content-length', String(answer.jsonLength));
    return reply.send(Buffer.from(answer.body.buffer, answer.body.byteOffset, answer.body.byteLength));
  };

  const measured = { config: { inference: true } };
  const inferSchema = {
    tags: ['inference'],
    summary: 'Inference',
    body: formats('JSON, or JSON followed by bytes', {
      [JSON_TYPE]: schema.InferenceRequest,
      'application/octet-stream': Binary,
    }),
    response: {
      200: formats('The outputs', { [JSON_TYPE]: schema.InferenceResponse, 'application/octet-stream': Binary }),
      ...problems(503),
    },
  };
  for (const url of modelPaths('/infer')) {
    app.post<{ Params: ModelPath }>(url, { schema: inferSchema, onRequest: admit, ...measured }, (request, reply) => {
      const version = find(request, request.params);
      request.served = version;
      return infer(request, reply, version, { kind: PROTOCOL, jsonLength: jsonLengthOf(request), csv: false });
    });
  }

  const invocations = {
    tags: ['SageMaker'],
    summary: 'Inference (SageMaker)',
    body: formats('Samples', { [JSON_TYPE]: {}, [CSV]: Text, [LINES]: Text }),
    response: {
      200: formats('Predictions', { [JSON_TYPE]: {}, [CSV]: Text, [LINES]: Text }),
      ...problems(404, 503),
    },
  };
  const invoke = (request: FastifyRequest, reply: FastifyReply, version: Version) => {
    request.served = version;
    const type = mediaType(request.headers['content-type']);
    const kind = type === CSV ? INVOCATION_CSV : type === LINES ? INVOCATION_LINES : INVOCATION;
    const accept = accepted(request.headers.accept) ?? services.options.invocationsAccept ?? type;
    return infer(request, reply, version, { kind, jsonLength: -1, csv: accept === CSV, lines: accept === LINES });
  };
  const invocation = { schema: invocations, onRequest: admit, ...measured };
  app.post('/invocations', invocation, (request, reply) => invoke(request, reply, target(request, repository, find)));
  if (services.options.multiModel) {
    multiModelRoutes(app, services);
    app.post<{ Params: ModelPath }>('/models/:name/invoke', invocation, (request, reply) =>
      invoke(request, reply, find(request, request.params)),
    );
  }

  app.post(
    '/v1/feedback',
    {
      bodyLimit: FEEDBACK_BODY,
      schema: {
        tags: ['feedback'],
        summary: 'Labels of a prediction',
        body: schema.FeedbackRequest,
        response: { 200: schema.FeedbackResponse, ...problems(404) },
      },
    },
    (request) => {
      const json = parseJson((request.body as Uint8Array | undefined) ?? new Uint8Array(0));
      if (!feedbackBody.Check(json)) {
        const [{ instancePath, message }] = feedbackBody.Errors(json);
        refuse(`the feedback ${instancePath} ${message}`, 'send {"id", "labels"}');
      }
      const id = ownId(request.token?.name ?? '', json.id);
      const of = feedback.versionOf(id);
      if (of !== undefined) find(request, of);
      const { version, matched } = feedback.label(id, json.labels);
      return { model_name: version.name, model_version: version.version, matched };
    },
  );

  app.addHook('onResponse', (request, reply, done) => {
    if (request.routeOptions.config.inference) {
      services.metrics.request(
        request.served?.name ?? '',
        request.served?.version ?? '',
        reply.statusCode,
        reply.elapsedTime,
      );
    }
    done();
  });
}

function healthRoutes(app: FastifyInstance, { options, repository, pool, version, draining }: Services): void {
  app.get(
    '/v2',
    { schema: { tags: ['server'], summary: 'Server metadata', response: { 200: schema.ServerMetadata } } },
    () => ({
      name: 'tapegrad',
      version,
      extensions: EXTENSIONS,
    }),
  );
  const open = { open: true };
  const live = { schema: { tags: ['health'], summary: 'Server live', response: { 200: Live } }, config: open };
  app.get('/v2/health/live', live, () => ({ live: true }));
  const ready = () => repository.ready && pool.readyWorkers > 0 && !draining();
  const health = (_request: FastifyRequest, reply: FastifyReply) => {
    // The problems name models, which those without a token must not learn; the admin port has them in any case.
    const problems =
      options.tokens.length > 0
        ? []
        : [
            ...repository.failures.map((f) => `${f.name}/${f.version}: ${f.reason}`),
            ...repository.ignored.map((i) => `${i.path}: ${i.reason}`),
          ];
    void reply.code(ready() ? 200 : 503).send({ ready: ready(), problems });
  };
  app.get(
    '/v2/health/ready',
    {
      schema: {
        tags: ['health'],
        summary: 'Server ready: every model is loaded',
        response: { 200: HeaderOnly, 503: HeaderOnly },
      },
      config: open,
    },
    health,
  );
  const ping = {
    schema: {
      tags: ['SageMaker'],
      summary: 'Server ready (SageMaker)',
      response: {
        200: { type: 'null', description: 'Ready' },
        503: { type: 'null', description: 'Not ready' },
      },
    },
    config: open,
  };
  app.get('/ping', ping, (_request, reply) => {
    void reply.code(ready() ? 200 : 503).send();
  });
}

function jsonLengthOf({ headers }: FastifyRequest): number {
  const header = headers['inference-header-content-length'];
  if (header === undefined) return -1;
  if (typeof header !== 'string' || !/^\d{1,10}$/.test(header))
    refuse('Inference-Header-Content-Length is not an integer', 'it is the length of the JSON part');
  return Number(header);
}

function timeoutOf({ headers }: FastifyRequest, limit: number): number {
  const header = headers['x-request-timeout-ms'];
  if (header === undefined) return limit;
  if (typeof header !== 'string' || !/^[1-9]\d{0,9}$/.test(header))
    refuse('x-request-timeout-ms is not a positive integer', 'send milliseconds');
  return Math.min(limit, Number(header));
}

/** The model for an invocation: the one in the header, or the only one. */
function target(
  request: FastifyRequest,
  repository: Repository,
  find: (r: FastifyRequest, p: ModelPath) => Version,
): Version {
  const named = request.headers['x-amzn-sagemaker-target-model'];
  if (typeof named === 'string') return find(request, { name: named });
  const names = [...new Set(repository.loaded.map((v) => v.name))];
  if (names.length === 1) return find(request, { name: names[0] });
  return names.length === 0
    ? refuse('no model is ready', 'try again later', 503)
    : refuse('there are several models', 'name one in X-Amzn-SageMaker-Target-Model');
}

/** The first type in an Accept header that responses to invocations can have. */
const accepted = (accept: string | undefined): string | undefined =>
  (accept ?? '')
    .split(',')
    .map(mediaType)
    .find((type) => type === CSV || type === LINES || type === JSON_TYPE);
