import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as secure } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTokens, type Server } from '../../src/serve/index.js';
import { errorOf } from '../helpers.js';
import { folder, inferBody, post, publish, smallModel, start, withProgram } from './helpers.js';

const { model, inputs } = smallModel();
const rows = (inputs.toArraySync() as number[][]).slice(0, 1);
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

describe('tokens', () => {
  let server: Server;
  const repository = folder();
  beforeAll(async () => {
    await publish(repository, 'a', '1', model);
    await publish(repository, 'b', '1', model);
    const file = join(folder(), 'tokens.json');
    writeFileSync(
      file,
      JSON.stringify([
        { name: 'all', sha256: sha256('open-sesame'), admin: true },
        { name: 'only a', sha256: sha256('a-token'), models: ['a'] },
        { name: 'rare', sha256: sha256('rare-token'), rateLimit: 2 },
      ]),
    );
    server = await start(repository, { tokens: await readTokens(file), adminHost: '0.0.0.0' });
  });
  afterAll(() => server.close());
  const ask = async (token: string | null, name = 'a') => {
    const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
    return (await post(`${server.url}/v2/models/${name}/infer`, inferBody(rows), headers)).status;
  };

  it('let in those who have one, as far as it reaches', async () => {
    expect(await ask('open-sesame')).toBe(200);
    expect(await ask('open-sesame', 'b')).toBe(200);
    expect(await ask('a-token')).toBe(200);
    expect(await ask('a-token', 'b')).toBe(403);
    for (const wrong of [null, '', 'open-sesam', 'open-sesame2', sha256('open-sesame')])
      expect(await ask(wrong)).toBe(401);
    const refused = await fetch(`${server.url}/v2`);
    expect(refused.status).toBe(401);
    expect(Object.keys((await refused.json()) as object)).toEqual(['error']);
  });
  it('are not needed by probes, which learn no names', async () => {
    for (const path of ['/v2/health/live', '/v2/health/ready', '/ping'])
      expect((await fetch(server.url + path)).status, path).toBe(200);
    expect((await fetch(`${server.url}/openapi.json`)).status).toBe(401);

    mkdirSync(join(repository, 'secret', '1'), { recursive: true });
    writeFileSync(join(repository, 'secret', '1', 'model.safetensors'), 'broken');
    await server.scan();
    const ready = await fetch(`${server.url}/v2/health/ready`);
    expect([ready.status, await ready.json()]).toEqual([200, { ready: true, problems: [] }]);
    rmSync(join(repository, 'secret'), { recursive: true });
    await server.scan();
    expect((await fetch(`${server.url}/v2/health/ready`)).status).toBe(200);
  });
  it('are counted where they have a rate', async () => {
    const codes = await Promise.all(Array.from({ length: 6 }, () => ask('rare-token')));
    expect(codes.filter((c) => c === 200).length).toBe(2);
    expect(codes.filter((c) => c === 429).length).toBe(4);
  });
  it('guard the admin port where others reach it', async () => {
    const url = server.adminUrl.replace('0.0.0.0', '127.0.0.1');
    expect((await fetch(`${url}/metrics`)).status).toBe(401);
    expect((await fetch(`${url}/metrics`, { headers: { authorization: 'Bearer a-token' } })).status).toBe(401);
    expect((await fetch(`${url}/metrics`, { headers: { authorization: 'Bearer open-sesame' } })).status).toBe(200);
  });
  it('are checked when they are read', async () => {
    const file = join(folder(), 't.json');
    const read = async (value: unknown) => {
      writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value));
      return (await errorOf(() => readTokens(file))).message;
    };
    const good = { name: 'a', sha256: sha256('x') };
    expect(await read('{')).toContain('it must be a JSON file');
    expect(await read([])).toContain('not a nonempty list');
    expect(await read([{ ...good, name: '' }])).toContain('token 0 has no name');
    expect(await read([{ ...good, models: 'a' }])).toContain('models that are not a list');
    expect(await read([{ ...good, rateLimit: 0 }])).toContain('rateLimit 0');
    expect(await read([{ ...good, scope: 'x' }])).toContain('unknown scope');
    const leaked = await read([{ name: 'a', sha256: 'my-secret' }]);
    expect(leaked).not.toContain('my-secret');
  });
});

describe('on the wire', () => {
  let server: Server;
  beforeAll(async () => {
    const repository = folder();
    await publish(repository, 'a', '1', model);
    server = await start(repository);
  });
  afterAll(() => server.close());
  /** Sends bytes, and gives back what comes until the other side closes. */
  const raw = (bytes: string): Promise<string> =>
    new Promise((resolve) => {
      let answer = '';
      const socket = connect(Number(new URL(server.url).port), '127.0.0.1', () => socket.write(bytes));
      socket.on('data', (d) => {
        answer += d.toString('latin1');
      });
      socket.on('close', () => resolve(answer));
      socket.on('error', () => {});
    });

  it('answers what is no HTTP with 400 and closes, pipelined garbage included', async () => {
    expect(await raw('\x16\x03\x01garbage\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 [\s\S]*\{"error":/);
    const pipelined = await raw('GET /v2 HTTP/1.1\r\nhost: localhost\r\n\r\nGARBAGE\r\n\r\n');
    expect(pipelined).toMatch(/^HTTP\/1\.1 200 [\s\S]*HTTP\/1\.1 400 /);
    expect(
      await raw(
        'POST /v2/models/a/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      ),
    ).toMatch(/^HTTP\/1\.1 400 /);
    expect(await raw(`GET /v2 HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 431 /,
    );
  });
  it('closes a connection whose headers trickle', async () => {
    expect(await raw('GET /v2 HTTP/1.1\r\nhost: localhost\r\nx-')).toMatch(/^HTTP\/1\.1 408 /);
  });
  it('gives browsers of other origins no leave, and keeps harmless request ids', async () => {
    const response = await fetch(`${server.url}/v2`, {
      headers: { origin: 'https://elsewhere.example', 'x-request-id': 'abc-1' },
    });
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    expect(response.headers.get('x-request-id')).toBe('abc-1');
    expect((await fetch(`${server.url}/v2`, { method: 'OPTIONS' })).status).toBe(405);
    const odd = await fetch(`${server.url}/v2`, { headers: { 'x-request-id': 'a b"c' } });
    expect(odd.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('TLS', () => {
  withProgram('openssl', 'version')(
    'encrypts, and lets in only clients with a certificate where that is asked',
    async () => {
      const dir = folder();
      const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
      openssl(
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-keyout',
        'ca.key',
        '-out',
        'ca.pem',
        '-subj',
        '/CN=ca',
        '-days',
        '2',
      );
      for (const name of ['server', 'client']) {
        openssl(
          'req',
          '-newkey',
          'rsa:2048',
          '-nodes',
          '-keyout',
          `${name}.key`,
          '-out',
          `${name}.csr`,
          '-subj',
          '/CN=localhost',
        );
        openssl(
          'x509',
          '-req',
          '-in',
          `${name}.csr`,
          '-CA',
          'ca.pem',
          '-CAkey',
          'ca.key',
          '-CAcreateserial',
          '-out',
          `${name}.pem`,
          '-days',
          '2',
        );
      }
      const pem = (name: string) => readFileSync(join(dir, name));
      await publish(dir, 'a', '1', model);
      const get = (server: Server, options: object) =>
        new Promise<number | string>((resolve) => {
          const url = new URL(`${server.url.replace('127.0.0.1', 'localhost')}/v2`);
          request(url, { ca: pem('ca.pem'), agent: false, ...options }, (response) => {
            response.resume();
            resolve(response.statusCode!);
          })
            .on('error', (e: NodeJS.ErrnoException) => resolve(e.code ?? e.message))
            .end();
        });
      const plain = await start(dir, { tls: { key: pem('server.key'), cert: pem('server.pem') } });
      expect(plain.url).toMatch(/^https:/);
      expect(await get(plain, {})).toBe(200);
      const shown = () =>
        new Promise<string>((resolve, reject) => {
          const socket = secure({ port: Number(new URL(plain.url).port), host: 'localhost', ca: pem('ca.pem') }, () => {
            resolve(socket.getPeerCertificate().fingerprint256);
            socket.destroy();
          });
          socket.on('error', reject);
        });
      const fingerprint = (name: string) => new X509Certificate(pem(name)).fingerprint256;
      expect(await shown()).toBe(fingerprint('server.pem'));
      const broken = () => plain.reload({ tls: { key: pem('client.key'), cert: pem('server.pem') } });
      expect((await errorOf(broken)).message).toContain('not usable');
      expect(await shown()).toBe(fingerprint('server.pem'));
      plain.reload({ tls: { key: pem('client.key'), cert: pem('client.pem') } });
      expect(await shown()).toBe(fingerprint('client.pem'));
      await plain.close();
      const mutual = await start(dir, { tls: { key: pem('server.key'), cert: pem('server.pem'), ca: pem('ca.pem') } });
      expect(await get(mutual, { key: pem('client.key'), cert: pem('client.pem') })).toBe(200);
      expect(typeof (await get(mutual, {}))).toBe('string');
      await mutual.close();
    },
  );
});
