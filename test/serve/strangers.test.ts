import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ServeOptions, Server } from '../../src/serve/index.js';
import { folder, inferBody, publish, smallModel, start } from './helpers.js';

// Requests of web pages, of names that others chose, and of methods that a path does not have.

const { model, inputs } = smallModel();
const body = JSON.stringify(inferBody((inputs.toArraySync() as number[][]).slice(0, 1)));
const INFER = '/v2/models/small/infer';

interface Heard {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
}

/** fetch does not let a caller choose Host and Origin. */
const ask = (url: string, method: string, headers: Record<string, string> = {}, sent?: string): Promise<Heard> =>
  new Promise((resolve, reject) => {
    const asked = request(url, { method, headers, agent: false }, (response) => {
      let text = '';
      response.on('data', (d) => {
        text += d;
      });
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }));
    });
    asked.on('error', reject);
    asked.end(sent);
  });

async function serving(options: Partial<ServeOptions>): Promise<Server> {
  const repository = folder();
  await publish(repository, 'small', '1', model);
  return start(repository, options);
}

describe('a server on loopback without tokens', () => {
  let server: Server;
  beforeAll(async () => {
    server = await serving({});
  });
  afterAll(() => server.close());
  const json = { 'content-type': 'application/json' };

  it('answers to the names of this machine only, on both ports', async () => {
    for (const host of ['localhost', 'localhost:1', '127.0.0.1:8080', '127.3.2.1', '[::1]:80'])
      expect((await ask(server.url + INFER, 'POST', { ...json, host }, body)).status, host).toBe(200);
    for (const host of ['evil.example', 'localhost.evil.example:8080', '10.0.0.1', 'x y', '127.0.0.1.evil.example']) {
      expect((await ask(server.url + INFER, 'POST', { ...json, host }, body)).status, host).toBe(421);
      expect((await ask(`${server.adminUrl}/scan`, 'POST', { host })).status, host).toBe(421);
    }
  });
  it('refuses pages of other origins on both ports, and has no CORS headers', async () => {
    for (const origin of ['https://evil.example', 'null', 'http://localhost:1', server.url.replace('http', 'https')]) {
      const refused = await ask(server.url + INFER, 'POST', { ...json, origin }, body);
      expect(refused.status, origin).toBe(403);
      expect((await ask(`${server.adminUrl}/scan`, 'POST', { origin })).status, origin).toBe(403);
    }
    const own = await ask(server.url + INFER, 'POST', { ...json, origin: server.url }, body);
    expect(own.status).toBe(200);
    expect(Object.keys(own.headers).filter((h) => h.startsWith('access-control'))).toEqual([]);
    expect((await ask(`${server.adminUrl}/scan`, 'POST', { origin: server.adminUrl })).status).toBe(200);
  });
  it('has methods that a path lacks answered with those it has', async () => {
    const wrong = await ask(server.url + INFER, 'GET');
    expect([wrong.status, wrong.headers.allow]).toEqual([405, 'POST']);
    const removed = await ask(`${server.url}/v2/models/small/versions/1/`, 'DELETE');
    expect([removed.status, removed.headers.allow]).toEqual([405, 'GET, HEAD']);
    expect((await ask(`${server.adminUrl}/scan`, 'GET')).headers.allow).toBe('POST');
    expect((await ask(`${server.url}/v2/`, 'OPTIONS')).headers.allow).toBe('GET, HEAD');
    expect((await ask(`${server.url}/v2`, 'HEAD')).status).toBe(200);
    expect((await ask(`${server.url}/v2/models/${'x'.repeat(200)}`, 'GET')).status).toBe(414);
    for (const path of ['/', '/v3', '/v2/models', '/v2/models/a/b/infer'])
      expect((await ask(server.url + path, 'GET')).status, path).toBe(404);
    // Before the body is read: an unknown type of content makes no difference.
    expect((await ask(`${server.url}/v2`, 'POST', { 'content-type': 'application/xml' }, '<x/>')).status).toBe(405);
  });
  it('says with every answer that its type is not to be guessed', async () => {
    const asked = [
      ask(`${server.url}/v2`, 'GET'),
      ask(`${server.url}/nothing`, 'GET'),
      ask(`${server.url}/v2/models/%zz`, 'GET'),
      ask(server.url + INFER, 'POST', json, '{'),
      ask(server.url + INFER, 'POST', json, body),
      ask(`${server.adminUrl}/metrics`, 'GET'),
    ];
    for (const { headers, status } of await Promise.all(asked))
      expect(headers['x-content-type-options'], `${status}`).toBe('nosniff');
    const page = await ask(`${server.adminUrl}/`, 'GET');
    expect(page.headers['content-security-policy']).toContain("frame-ancestors 'none'");
  });
});

describe('a server with CORS', () => {
  const preflight = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' };
  it('lets the pages of one origin in', async () => {
    const origin = 'https://shop.example';
    const server = await serving({ cors: origin });
    const leave = await ask(server.url + INFER, 'OPTIONS', { ...preflight, origin });
    expect(leave.status).toBe(204);
    expect(leave.headers).toMatchObject({ 'access-control-allow-origin': origin, vary: 'origin' });
    expect(leave.headers['access-control-allow-methods']).toContain('POST');
    for (const header of ['content-type', 'authorization', 'x-request-id', 'inference-header-content-length'])
      expect(leave.headers['access-control-allow-headers']).toContain(header);
    const answer = await ask(server.url + INFER, 'POST', { 'content-type': 'application/json', origin }, body);
    expect([answer.status, answer.headers['access-control-allow-origin']]).toEqual([200, origin]);
    expect(answer.headers['access-control-expose-headers']).toContain('retry-after');
    const failed = await ask(server.url + INFER, 'POST', { 'content-type': 'application/json', origin }, '{');
    expect([failed.status, failed.headers['access-control-allow-origin']]).toEqual([400, origin]);

    const other = { origin: 'https://other.example' };
    const refused = await ask(server.url + INFER, 'POST', { 'content-type': 'application/json', ...other }, body);
    expect([refused.status, refused.headers['access-control-allow-origin']]).toEqual([403, undefined]);
    expect((await ask(server.url + INFER, 'OPTIONS', { ...preflight, ...other })).status).toBe(403);
    // The admin port is not for pages.
    expect((await ask(`${server.adminUrl}/scan`, 'POST', { origin })).status).toBe(403);
    await server.close();
  });
  it('lets the pages of all origins ask for leave without a token', async () => {
    const sha256 = 'a'.repeat(64);
    const server = await serving({ cors: '*', tokens: [{ name: 'a', sha256 }] });
    const origin = 'https://any.example';
    const leave = await ask(server.url + INFER, 'OPTIONS', { ...preflight, origin });
    expect([leave.status, leave.headers['access-control-allow-origin']]).toEqual([204, '*']);
    const refused = await ask(`${server.url}/v2`, 'GET', { origin });
    expect([refused.status, refused.headers['access-control-allow-origin']]).toEqual([401, '*']);
    await server.close();
  });
});
