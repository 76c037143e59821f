import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Access } from '../../src/serve/http/access.js';
import { checkTokens } from '../../src/serve/http/tokens.js';
import { readTokens, type Server } from '../../src/serve/index.js';
import { errorOf } from '../helpers.js';
import { folder, inferBody, post, publish, smallModel, start } from './helpers.js';

const { model, inputs } = smallModel();
const rows = (inputs.toArraySync() as number[][]).slice(0, 2);
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('a list of tokens', () => {
  const refusal = async (tokens: unknown) => (await errorOf(() => checkTokens(tokens))).message;
  it('has each name and each token once', async () => {
    const one = { name: 'one', sha256: sha256('1') };
    expect(await refusal([one, { ...one, sha256: sha256('2') }])).toContain("[serve] two tokens have the name 'one'");
    const same = await refusal([one, { name: 'two', sha256: one.sha256.toUpperCase() }]);
    expect(same).toContain("the tokens 'one' and 'two' are the same");
    expect(checkTokens([one, { name: 'two', sha256: sha256('2') }])).toHaveLength(2);
  });
});

describe('wrong tokens', () => {
  it('are counted for each address, for a minute', () => {
    const access = new Access([]);
    for (let i = 0; i < 20; i++) expect(access.guessed('a', 0)).toBe(0);
    expect(access.guessed('a', 30_000)).toBe(30);
    expect(access.guessed('b', 30_000)).toBe(0);
    expect(access.guessed('a', 60_000)).toBe(0);
  });
});

describe('a server with tokens', () => {
  let server: Server;
  const tokens = [
    { name: 'good', sha256: sha256('good'), admin: true },
    { name: 'rare', sha256: sha256('rare'), rateLimit: 3 },
  ];
  beforeAll(async () => {
    const repository = folder();
    await publish(repository, 'small', '1', model);
    server = await start(repository, { tokens });
  });
  afterAll(() => server.close());
  const get = (path: string, headers: Record<string, string> = {}) => fetch(server.url + path, { headers });
  const statuses = async (requests: Promise<Response>[]) => (await Promise.all(requests)).map((r) => r.status);

  it('slows down those who guess, and no one else behind the same address', async () => {
    const answers: Response[] = [];
    for (let i = 0; i < 30; i++) answers.push(await get('/v2', bearer(`guess ${i}`)));
    expect(answers.slice(0, 20).every((a) => a.status === 401)).toBe(true);
    expect(answers.slice(20).every((a) => a.status === 429)).toBe(true);
    expect(Number(answers[29].headers.get('retry-after'))).toBeGreaterThan(30);
    expect((await get('/v2', bearer('good'))).status).toBe(200);
    expect((await get('/v2')).status).toBe(401);
    expect((await get('/ping')).status).toBe(200);
  });
  it('counts unknown routes and probes for the rate of a token', async () => {
    const unknown = await statuses(Array.from({ length: 10 }, (_, i) => get(`/nothing/${i}`, bearer('rare'))));
    expect(unknown.filter((s) => s === 404)).toHaveLength(3);
    expect(unknown.filter((s) => s === 429)).toHaveLength(7);
    expect((await get('/ping', bearer('rare'))).status).toBe(429);
    expect((await get('/nothing')).status).toBe(401);
  });
  it('takes other tokens while it runs, and keeps the ones it has if those are broken', async () => {
    expect((await errorOf(() => server.reload({ tokens: [] }))).message).toContain('not a nonempty list');
    expect((await errorOf(() => server.reload({ token: [] } as object))).message).toContain("unknown option 'token'");
    expect((await errorOf(() => server.reload({ tls: { key: 'a', cert: 'b' } }))).message).toContain('not usable');
    expect((await get('/v2', bearer('good'))).status).toBe(200);
    server.reload({ tokens: [{ name: 'next', sha256: sha256('next') }] });
    expect((await get('/v2', bearer('next'))).status).toBe(200);
    expect((await get('/v2', bearer('good'))).status).not.toBe(200);
    server.reload({ tokens });
    expect((await get('/v2', bearer('good'))).status).toBe(200);
  });
  it('gets no tokens later if it was started without', async () => {
    const repository = folder();
    await publish(repository, 'small', '1', model);
    const open = await start(repository);
    expect((await errorOf(() => open.reload({ tokens }))).message).toContain('was started without tokens');
    expect((await post(`${open.url}/v2/models/small/infer`, inferBody(rows))).status).toBe(200);
    await open.close();
  });
  it('says which token file it cannot read', async () => {
    expect((await errorOf(() => readTokens('/nowhere/tokens.json'))).message).toContain('/nowhere/tokens.json');
  });
});
