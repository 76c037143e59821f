import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { documentAnswers } from '../../src/serve/http/answers.js';
import { createApp } from '../../src/serve/http/app.js';
import { inferenceRoutes } from '../../src/serve/http/inference.js';
import { LogStream } from '../../src/serve/http/log.js';
import { serverPackages } from '../../src/serve/http/packages.js';
import type { Services } from '../../src/serve/http/services.js';
import type { ServeOptions, Server } from '../../src/serve/index.js';
import { resolveOptions } from '../../src/serve/option-table.js';
import { folder, inferBody, publish, smallModel, start } from './helpers.js';

const { model, inputs } = smallModel();
const rows = (inputs.toArraySync() as number[][]).slice(0, 1);
const repository = folder();

interface Api {
  readonly paths: Record<string, Record<string, { responses: Record<string, { description: string }> }>>;
}
const apiOf = async (server: Server, headers: Record<string, string> = {}): Promise<Api> =>
  (await (await fetch(`${server.url}/openapi.json`, { headers })).json()) as Api;

/** The routes of the inference port as Fastify knows them, in the form GET /v2/models/{name}. */
async function routesOf(options: Partial<ServeOptions>): Promise<string[]> {
  const resolved = resolveOptions({ models: '.', logLevel: 'silent', ...options });
  const app = createApp(await serverPackages(), resolved, new LogStream(() => true), () => false);
  const routes: string[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    routes.push(`${String(method)} ${url.replace(/:(\w+)/g, '{$1}')}`);
  });
  documentAnswers(app);
  inferenceRoutes(app, { options: resolved, repository: {}, pool: {}, feedback: {} } as unknown as Services);
  await app.ready();
  return routes.filter((route) => !route.startsWith('HEAD '));
}

describe('/openapi.json', () => {
  let server: Server;
  beforeAll(async () => {
    await publish(repository, 'small', '1', model);
    server = await start(repository, { maxBody: 4096 });
  });
  afterAll(() => server.close());

  it.each([{}, { multiModel: true }])('has all routes, and no others, with %j', async (options) => {
    const other = await start(repository, options);
    const { paths } = await apiOf(other);
    const described = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(described.sort()).toEqual([...(await routesOf(options)), 'GET /openapi.json'].sort());
    await other.close();
  });
  it('says what each status means', async () => {
    for (const methods of Object.values((await apiOf(server)).paths))
      for (const { responses } of Object.values(methods)) {
        expect(Object.keys(responses)).toEqual(expect.arrayContaining(['200', '400', '403', '405', '421', '429']));
        for (const [status, { description }] of Object.entries(responses)) expect(description, status).not.toBe('');
      }
  });
  it('has every status that clients meet', async () => {
    const { paths } = await apiOf(server);
    const infer = '/v2/models/{name}/infer';
    const json = { 'content-type': 'application/json' };
    const body = JSON.stringify(inferBody(rows));
    const met: [status: number, method: string, path: string, asked: string, headers?: object, body?: string][] = [
      [200, 'POST', infer, '/v2/models/small/infer', json, body],
      [400, 'POST', infer, '/v2/models/small/infer', json, '{'],
      [403, 'POST', infer, '/v2/models/small/infer', { ...json, origin: 'https://a.example' }, body],
      [404, 'POST', infer, '/v2/models/none/infer', json, body],
      [413, 'POST', infer, '/v2/models/small/infer', json, ' '.repeat(5000)],
      [414, 'POST', infer, `/v2/models/${'x'.repeat(200)}/infer`, json, body],
      [415, 'POST', infer, '/v2/models/small/infer', { 'content-type': 'application/xml' }, '<x/>'],
      [421, 'POST', infer, '/v2/models/small/infer', { ...json, host: 'a.example' }, body],
      [404, 'GET', '/v2/models/{name}', '/v2/models/none'],
      [404, 'GET', '/v2/models/{name}/versions/{version}', '/v2/models/small/versions/9'],
      [200, 'GET', '/v2/models/{name}/ready', '/v2/models/small/ready'],
      [
        200,
        'POST',
        '/invocations',
        '/invocations',
        { 'content-type': 'application/jsonlines' },
        JSON.stringify(rows[0]),
      ],
      [400, 'POST', '/invocations', '/invocations', json, '[]'],
      [404, 'POST', '/invocations', '/invocations', { ...json, 'x-amzn-sagemaker-target-model': 'none' }, body],
      [400, 'POST', '/v1/feedback', '/v1/feedback', json, '{}'],
      [404, 'POST', '/v1/feedback', '/v1/feedback', json, '{"id":"none","labels":[1]}'],
      [200, 'GET', '/v2/health/live', '/v2/health/live'],
      [200, 'GET', '/ping', '/ping'],
      [405, 'GET', infer, '/v2/models/small/infer'],
      [404, 'GET', '', '/nothing'],
    ];
    for (const [status, method, path, asked, headers, sent] of met) {
      const got = await new Promise<number>((resolve, reject) => {
        const one = request(server.url + asked, { method, headers: { ...headers }, agent: false }, (response) => {
          response.resume();
          resolve(response.statusCode!);
        });
        one.on('error', reject);
        one.end(sent);
      });
      expect(got, `${method} ${asked}`).toBe(status);
      if (path === '') continue;
      const of = paths[path][status === 405 ? 'post' : method.toLowerCase()];
      expect(Object.keys(of.responses), `${method} ${path}`).toContain(String(status));
    }
  });
  it('has the status of headers that are too large', async () => {
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
      socket.on('data', (d) => resolve(d.toString()));
      socket.write(`GET /v2 HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 431 /);
    expect(answer).toContain('x-content-type-options: nosniff');
    expect(Object.keys((await apiOf(server)).paths['/v2'].get.responses)).toContain('431');
  });
  it('says where tokens are needed', async () => {
    const sha256 = createHash('sha256').update('t').digest('hex');
    const guarded = await start(repository, { tokens: [{ name: 'a', sha256 }] });
    const api = (await apiOf(guarded, { authorization: 'Bearer t' })) as Api & { security: unknown };
    expect(api.security).toEqual([{ token: [] }]);
    expect(api.paths['/ping'].get).toMatchObject({ security: [] });
    expect(Object.keys(api.paths['/v2'].get.responses)).toContain('401');
    expect(Object.keys(api.paths['/ping'].get.responses)).not.toContain('401');
    await guarded.close();
  });
});
