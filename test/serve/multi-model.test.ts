import { createHash } from 'node:crypto';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { saveModel } from '../../src/io/index.js';
import type { Server } from '../../src/serve/index.js';
import { folder, post, predict, smallModel, start } from './helpers.js';

// https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html

const { model, inputs } = smallModel();
const rows = [Array.from(inputs.dataSync().subarray(0, 5))];
const base = folder();
const root = join(base, 'models');
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

/** A folder with a model file, as SageMaker leaves it. */
async function downloaded(name: string): Promise<string> {
  const at = join(root, name, 'model');
  mkdirSync(at, { recursive: true });
  await saveModel(model, join(at, 'weights.safetensors'));
  return at;
}

describe("SageMaker's multi-model mode", () => {
  let server: Server;
  const send = (name: string, url: string, headers = {}) =>
    post(`${server.url}/models`, { model_name: name, url }, headers);
  const listed = async () => (await (await fetch(`${server.url}/models`)).json()).models;
  beforeAll(async () => {
    mkdirSync(root);
    server = await start(root, { multiModel: true });
    await vi.waitFor(async () => expect((await fetch(`${server.url}/ping`)).status).toBe(200), { timeout: 60_000 });
  });
  afterAll(() => server.close());

  it('loads, lists, invokes and unloads', async () => {
    expect(await listed()).toEqual([]);
    const at = await downloaded('a1');
    expect((await send('a1', at)).status).toBe(200);
    const described = { modelName: 'a1', modelUrl: at };
    expect(await listed()).toEqual([described]);
    expect(await (await fetch(`${server.url}/models/a1`)).json()).toEqual(described);

    const answer = await post(`${server.url}/models/a1/invoke`, { instances: rows });
    expect(Float32Array.from((await answer.json()).predictions.flat())).toEqual(predict(model, inputs).slice(0, 3));
    const csv = await fetch(`${server.url}/models/a1/invoke`, {
      method: 'POST',
      headers: { 'content-type': 'text/csv' },
      body: rows[0].join(','),
    });
    expect((await csv.text()).trim().split(',').length).toBe(3);
    expect((await fetch(`${server.url}/v2/models/a1/ready`)).status).toBe(200);

    expect((await send('a1', at)).status).toBe(409);
    expect((await fetch(`${server.url}/models/a1`, { method: 'DELETE' })).status).toBe(200);
    expect(await listed()).toEqual([]);
    for (const [method, path] of [
      ['DELETE', 'a1'],
      ['GET', 'a1'],
      ['POST', 'a1/invoke'],
    ])
      expect((await fetch(`${server.url}/models/${path}`, { method })).status).toBe(404);
    expect((await send('a1', join(at, 'weights.safetensors'))).status).toBe(200);
  });

  it('loads a model once when it is asked twice at the same time', async () => {
    const at = await downloaded('twice');
    const statuses = (await Promise.all([send('twice', at), send('twice', at)])).map((r) => r.status);
    expect(statuses.sort()).toEqual([200, 409]);
  });

  it('says 507 where there is no room, and loads when there is', async () => {
    const at = await downloaded('large');
    const memory = vi.spyOn(process, 'availableMemory').mockReturnValue(1000);
    const refused = await send('large', at);
    memory.mockRestore();
    expect(refused.status).toBe(507);
    expect((await refused.json()).error).toMatch(/bytes does not fit into memory/);
    expect((await send('large', at)).status).toBe(200);
  });

  it('refuses what is no model, keeps nothing of it, and stays ready', async () => {
    const broken = join(root, 'broken');
    mkdirSync(broken, { recursive: true });
    writeFileSync(join(broken, 'x.safetensors'), 'nothing');
    const at = await downloaded('fine');
    symlinkSync('/etc/passwd', join(root, 'passwd'));
    const outside = join(base, 'models-beside');
    mkdirSync(outside);
    await saveModel(model, join(outside, 'x.safetensors'));
    for (const [name, url, problem] of [
      ['broken', broken, /does not load/],
      ['nowhere', join(root, 'nowhere'), /no model at this url/],
      ['above', join(root, '..'), /no model at this url/],
      ['outside', outside, /no model at this url/],
      ['link', join(root, 'passwd'), /no model at this url/],
      ['../x', at, /model_name is invalid/],
    ] as const) {
      const answer = await send(name, url);
      expect(answer.status).toBe(400);
      expect((await answer.json()).error).toMatch(problem);
    }
    expect((await post(`${server.url}/models`, { name: 'x' })).status).toBe(400);
    expect((await listed()).map((m: { modelName: string }) => m.modelName)).not.toContain('broken');
    expect((await fetch(`${server.url}/ping`)).status).toBe(200);
    expect((await post(`${server.adminUrl}/scan`, {})).status).toBe(400);
  });
});

it('lets only administrators load where there are tokens', async () => {
  const tokens = [
    { name: 'app', sha256: sha256('app') },
    { name: 'ops', sha256: sha256('ops'), admin: true },
  ];
  const server = await start(root, { multiModel: true, tokens });
  try {
    const url = await downloaded('guarded');
    const as = (token: string) =>
      post(`${server.url}/models`, { model_name: 'guarded', url }, { authorization: `Bearer ${token}` });
    expect((await as('app')).status).toBe(403);
    expect((await as('ops')).status).toBe(200);
    const headers = { authorization: 'Bearer app' };
    expect((await post(`${server.url}/models/guarded/invoke`, { instances: rows }, headers)).status).toBe(200);
  } finally {
    await server.close();
  }
});

it('has no such routes otherwise', async () => {
  const server = await start(root, {});
  try {
    expect((await fetch(`${server.url}/models`)).status).toBe(404);
  } finally {
    await server.close();
  }
});
