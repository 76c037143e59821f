import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { idInAnswer } from '../../src/serve/http/ids.js';
import type { Server } from '../../src/serve/index.js';
import { Feedback } from '../../src/serve/observe/feedback.js';
import type { Version } from '../../src/serve/repository/index.js';
import { folder, inferBody, post, publish, smallModel, start } from './helpers.js';

const { model, inputs } = smallModel();
const rows = inputs.toArraySync() as number[][];
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

describe('kept predictions', () => {
  const version = (id: number) => ({ id, name: 'm', version: '1', info: { outputFeatures: 3 } }) as unknown as Version;
  it('do not bring back a version that was replaced', () => {
    const feedback = new Feedback(1);
    const [old, next] = [version(1), version(2)];
    feedback.remember(['a'], old, Float32Array.of(1));
    feedback.remember(['b'], old, Float32Array.of(1));
    feedback.label('a', [1]);
    expect(feedback.quality).toHaveLength(1);
    feedback.forget(old);
    expect(() => feedback.label('b', [1])).toThrow('no longer loaded');
    // An answer that was computed before and arrives after.
    feedback.remember(['c'], old, Float32Array.of(1));
    expect(() => feedback.label('c', [1])).toThrow('no longer loaded');
    expect(feedback.quality).toEqual([]);
    feedback.remember(['b'], next, Float32Array.of(1));
    expect(feedback.label('b', [2]).matched).toBe(1);
    expect(feedback.quality).toHaveLength(1);
  });
  it('are labelled once, whichever of their ids is used', () => {
    const feedback = new Feedback(1);
    feedback.remember(['a', 'own'], version(1), Float32Array.of(1, 2));
    feedback.remember(['own'], version(1), Float32Array.of(1));
    expect(feedback.label('a', [1, 2]).matched).toBe(2);
    expect(() => feedback.label('a', [1, 2])).toThrow('no unlabelled prediction');
    expect(feedback.label('own', [1]).matched).toBe(1);
  });
  it('have the id that their request gave itself', () => {
    const named = { name: 'a"b', version: '1' };
    const body = (id: unknown) =>
      new TextEncoder().encode(JSON.stringify({ model_name: 'a"b', model_version: '1', id, outputs: [] }));
    for (const id of ['x', 'quote " and \\', 'ünïcode 日本', '\u0001'.repeat(200), ''])
      expect(idInAnswer({ body: body(id) }, named)).toBe(id);
    expect(idInAnswer({ body: body(undefined) }, named)).toBeNull();
    expect(idInAnswer({ body: body('x'.repeat(5000)) }, named)).toBeNull();
    expect(idInAnswer({ body: body('x') }, { name: 'other', version: '1' })).toBeNull();
  });
});

describe('POST /v1/feedback', () => {
  let server: Server;
  beforeAll(async () => {
    const repository = folder();
    await publish(repository, 'small', '1', model);
    server = await start(repository, {
      tokens: ['a', 'b'].map((name) => ({ name, sha256: sha256(name) })),
    });
  });
  afterAll(() => server.close());
  const infer = (token: string, count: number, more: object, headers: Record<string, string> = {}) =>
    post(`${server.url}/v2/models/small/infer`, inferBody(rows.slice(0, count), more), {
      authorization: `Bearer ${token}`,
      ...headers,
    });
  const label = async (token: string, feedback: unknown) => {
    const answer = await post(`${server.url}/v1/feedback`, feedback, { authorization: `Bearer ${token}` });
    return { status: answer.status, ...((await answer.json()) as { error?: string; matched?: number }) };
  };

  it('touches the predictions of its own token only', async () => {
    await infer('a', 2, {}, { 'x-request-id': 'order-1' });
    expect((await label('b', { id: 'order-1', labels: [0, 1] })).status).toBe(404);
    await infer('b', 1, {}, { 'x-request-id': 'order-1' });
    expect(await label('a', { id: 'order-1', labels: [0, 1] })).toMatchObject({ status: 200, matched: 2 });
    expect(await label('b', { id: 'order-1', labels: [0] })).toMatchObject({ status: 200, matched: 1 });
  });
  it('takes the id in the request as well', async () => {
    await infer('a', 1, { id: 'mine' });
    expect((await label('a', { id: 'mine', labels: [0] })).status).toBe(200);
    expect((await label('a', { id: 'mine', labels: [0] })).status).toBe(404);
  });
  it('has a body of at most 64 KiB and 64 labels', async () => {
    const labels = (count: number) => Array.from({ length: count }, () => 1);
    await infer('a', 64, { id: 'many' });
    expect((await label('a', { id: 'many', labels: labels(65) })).status).toBe(400);
    const large = await label('a', { id: 'many', labels: labels(40_000) });
    expect(large).toMatchObject({ status: 413, error: expect.stringContaining('65536 bytes') });
    expect(await label('a', { id: 'many', labels: labels(64) })).toMatchObject({ status: 200, matched: 64 });
  });
});
