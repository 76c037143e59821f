import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { LogStream } from '../../src/serve/http/log.js';
import { folder, inferBody, post, publish, smallModel } from './helpers.js';

// The log and the life of the command; `npm test` builds it first.

const { model, inputs } = smallModel();
const rows = (inputs.toArraySync() as number[][]).slice(0, 1);
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const repository = folder();
beforeAll(() => publish(repository, 'small', '1', model));

describe('the stream of the log', () => {
  it('drops and counts what cannot be written, and says so when it can be again', () => {
    const lines: string[] = [];
    let full = false;
    const log = new LogStream((line) => !full && lines.push(line) > 0);
    log.onRecovered = (lost) => log.write(`${lost} lost`);
    log.write('a');
    full = true;
    log.write('b');
    log.write('c');
    expect(log.dropped).toBe(2);
    full = false;
    log.write('d');
    log.write('e');
    expect(lines).toEqual(['a', 'd', '2 lost', 'e']);
    expect(log.dropped).toBe(2);
  });
});

interface Started {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly err: () => string;
  readonly url: string;
  readonly adminUrl: string;
  readonly ended: Promise<number | null>;
}
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
async function command(args: string[], stdout: 'pipe' | number = 'pipe', read?: () => string): Promise<Started> {
  const ports = ['--port', '0', '--admin-port', '0', '--workers', '1'];
  const child = spawn(process.execPath, ['dist/cli/index.js', 'serve', '--models', repository, ...ports, ...args], {
    stdio: ['ignore', stdout, 'pipe'],
  });
  children.push(child);
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  let [said, errors] = ['', ''];
  child.stdout?.on('data', (d) => {
    said += d;
  });
  child.stderr!.on('data', (d) => {
    errors += d;
  });
  const out = read ?? (() => said);
  await vi.waitFor(() => expect(out() + errors).toMatch(/status page at \S+\n/), { timeout: 60_000, interval: 50 });
  const [, url] = / at (http:[^"\s]+)\n/.exec(out())!;
  const [, adminUrl] = /status page at (\S+)\n/.exec(out())!;
  return { child, out, err: () => errors, url, adminUrl, ended };
}
const linesOf = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('the log of the command', () => {
  it('has administrative actions and a sample of requests, without tokens, queries and bodies', async () => {
    const tokens = join(folder(), 'tokens.json');
    writeFileSync(tokens, JSON.stringify([{ name: 'boss', sha256: sha256('secret-token'), admin: true }]));
    const { child, out, url, adminUrl, ended } = await command(['--tokens', tokens, '--request-log', '1']);
    const headers = { authorization: 'Bearer secret-token', 'x-request-id': 'mine-1' };
    await post(`${url}/v2/models/small/infer?key=secret-query`, inferBody(rows, { id: 'secret-body' }), headers);
    await fetch(`${url}/v2?key=secret-query`, { headers: { authorization: 'Bearer secret-guess' } });
    await fetch(`${url}/secret-path`, { headers });
    await fetch(`${adminUrl}/scan`, { method: 'POST', headers });
    child.kill('SIGHUP');
    await vi.waitFor(() => expect(out()).toContain('"action":"reload"'), { timeout: 10_000 });
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    const lines = linesOf(out());
    expect(lines.find((l) => l.reqId === 'mine-1' && l.msg === 'a request')).toMatchObject({
      method: 'POST',
      route: '/v2/models/:name/infer',
      status: 200,
      token: 'boss',
      bytes: expect.any(Number),
      milliseconds: expect.any(Number),
    });
    expect(lines.find((l) => l.status === 401)).toMatchObject({ token: null, route: '/v2' });
    expect(lines.find((l) => l.status === 404)).toMatchObject({ token: 'boss', route: null });
    expect(lines.find((l) => l.action === 'scan')).toMatchObject({ outcome: 'done', level: 30 });
    expect(lines.find((l) => l.action === 'reload')).toMatchObject({ outcome: 'done', what: ['tokens'] });
    expect(out()).not.toContain('secret');
  });
  it('names the model that was loaded or refused', async () => {
    const { child, out, url, ended } = await command(['--multi-model']);
    await post(`${url}/models`, { model_name: 'mine', url: join(repository, 'small', '1') });
    await post(`${url}/models`, { model_name: 'other', url: '/nowhere' });
    await fetch(`${url}/models/mine`, { method: 'DELETE' });
    await vi.waitFor(() => expect(linesOf(out()).filter((l) => l.action !== undefined)).toHaveLength(3));
    const actions = linesOf(out()).filter((l) => l.action !== undefined);
    expect(actions.map(({ action, model: of, outcome }) => [action, of, outcome])).toEqual([
      ['load', 'mine', 'done'],
      ['load', 'other', 'refused'],
      ['unload', 'mine', 'done'],
    ]);
    child.kill('SIGHUP');
    // Without files to read again it ends, as programs do whose terminal closes.
    expect(await ended).toBe(0);
  });
  it('stops nothing where its reader goes away', async () => {
    const { child, url, adminUrl, ended } = await command(['--request-log', '1']);
    child.stdout!.destroy();
    for (let i = 0; i < 20; i++) expect((await fetch(`${url}/v2`)).status).toBe(200);
    const metrics = await (await fetch(`${adminUrl}/metrics`)).text();
    expect(Number(/^tapegrad_log_lines_dropped_total (\d+)$/m.exec(metrics)![1])).toBeGreaterThan(10);
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });
  it('goes to a file as well', async () => {
    const path = join(folder(), 'log');
    const { child, url, ended } = await command(['--request-log', '1'], openSync(path, 'a'), () =>
      readFileSync(path, 'utf8'),
    );
    await fetch(`${url}/v2`);
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(linesOf(readFileSync(path, 'utf8')).some((l) => l.route === '/v2')).toBe(true);
  });
});

describe('the command', () => {
  it('reads its tokens again on SIGHUP, and keeps them where the file is broken', async () => {
    const tokens = join(folder(), 'tokens.json');
    const put = (token: string) => writeFileSync(tokens, JSON.stringify([{ name: 'a', sha256: sha256(token) }]));
    put('first');
    const { child, out, err, url } = await command(['--tokens', tokens]);
    const status = async (token: string) =>
      (await fetch(`${url}/v2`, { headers: { authorization: `Bearer ${token}` } })).status;
    expect(await status('first')).toBe(200);
    put('second');
    child.kill('SIGHUP');
    await vi.waitFor(async () => expect(await status('second')).toBe(200), { timeout: 10_000, interval: 500 });
    expect(await status('first')).toBe(401);
    writeFileSync(tokens, '{');
    child.kill('SIGHUP');
    await vi.waitFor(() => expect(out() + err()).toContain('cannot read the tokens'), { timeout: 10_000 });
    expect(await status('second')).toBe(200);
  });
  it('finishes requests after a signal, and ends at once after a second one', async () => {
    const { child, url, ended } = await command(['--grace', '60000']);
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.on('error', () => {});
    socket.write('POST /v2/models/small/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{');
    await new Promise((resolve) => setTimeout(resolve, 300));
    child.kill('SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(child.exitCode).toBeNull();
    child.kill('SIGINT');
    expect(await ended).toBe(1);
  });
  it('says in one line which file or value makes no sense, with status 2', async () => {
    const dir = folder();
    const pem = join(dir, 'x.pem');
    writeFileSync(pem, 'no key');
    mkdirSync(join(dir, 'folder'));
    const wrong: string[][] = [
      ['--tokens', join(dir, 'missing')],
      ['--tokens', join(dir, 'folder')],
      ['--tls-key', pem, '--tls-cert', pem],
      ['--tls-key', join(dir, 'missing\nfile'), '--tls-cert', pem],
      ['--tls-client-ca', pem],
      ['--cors', 'shop.example'],
      ['--request-log', '2'],
      ['--max-connections', '0'],
      ['--admin-port', '70000'],
      ['extra'],
    ];
    await Promise.all(
      wrong.map(async (args) => {
        const child = spawn(process.execPath, ['dist/cli/index.js', 'serve', '--models', repository, ...args]);
        let said = '';
        child.stderr.on('data', (d) => {
          said += d;
        });
        const code = await new Promise((resolve) => child.on('close', resolve));
        expect([code, said.trim().split('\n').length, said.length > 20], args.join(' ')).toEqual([2, 1, true]);
      }),
    );
  });
});
