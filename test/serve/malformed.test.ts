import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Server } from '../../src/serve/index.js';
import { folder, inferBody, post, publish, smallModel, start } from './helpers.js';

const { model, inputs } = smallModel();
const rows = (inputs.toArraySync() as number[][]).slice(0, 1);
const deep = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
const input = (rest: string) => `{"inputs":[{"name":"input","datatype":"FP32","shape":[1,5],${rest}}]}`;

describe('JSON that nests deeply or calls itself something else', () => {
  let server: Server;
  beforeAll(async () => {
    const repository = folder();
    await publish(repository, 'small', '1', model);
    server = await start(repository);
  });
  afterAll(() => server.close());

  it.each<[string, string]>([
    ['only opens', '['.repeat(8e6)],
    ['opens and closes', deep(1e6)],
    ['is deep in data', input(`"data":${deep(1e5)}`)],
    ['is deep where a number is due', input(`"data":[1,2,3,4,${deep(1e5)}]`)],
    ['is deep in parameters', input(`"parameters":{"binary_data_size":${deep(1e5)}}`)],
    ['has a constructor without a text as its name', input('"data":[{"constructor":{"name":{"x":1}}},1,2,3,4]')],
    ['has a constructor with a long name', input(`"data":[{"constructor":{"name":"${'x'.repeat(1e5)}"}},1,2,3,4]`)],
  ])('is refused with a short answer: it %s', async (_, body) => {
    for (const path of ['/v2/models/small/infer', '/invocations']) {
      const answer = await post(server.url + path, body);
      expect(answer.status).toBe(400);
      expect((await answer.text()).length).toBeLessThan(400);
    }
    // The worker is still there.
    expect((await post(`${server.url}/v2/models/small/infer`, inferBody(rows))).status).toBe(200);
    const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text();
    expect(metrics).toMatch(/^tapegrad_worker_deaths_total 0$/m);
  });
});
