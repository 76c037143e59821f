import { readFileSync } from 'node:fs';
import { deflateSync, gzipSync } from 'node:zlib';
import { Ajv } from 'ajv';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { data } from '../../src/index.js';
import type { Server } from '../../src/serve/index.js';
import { parseInference } from '../../src/serve/protocol/open-inference.js';
import { matrixSpec } from '../../src/serve/protocol/tensors.js';
import { checkValues } from '../../src/serve/protocol/values.js';
import { expectClose, sampleTensor } from '../helpers.js';
import { folder, inferBody, post, predict, publish, smallModel, start } from './helpers.js';

// The Open Inference Protocol over HTTP, judged by the schemas of its official document.

const { schemas } = JSON.parse(readFileSync('test/golden/open-inference-schemas.json', 'utf8')) as {
  schemas: Record<string, object>;
};
const ajv = new Ajv({ strict: false });
ajv.addSchema({ $id: 'spec', components: { schemas } });
const official = (name: string) => ajv.compile({ $ref: `spec#/components/schemas/${name}` });

const repository = folder();
const { model, inputs, baseline } = smallModel();
const rows = inputs.toArraySync() as number[][];
let server: Server;
let infer: string;

beforeAll(async () => {
  await publish(repository, 'small', '1', model, { baseline });
  await publish(repository, 'small', '2', model, { baseline });
  const imputer = new data.Imputer().fit(inputs);
  await publish(repository, 'missing', '1', model, { preprocessors: [imputer] });
  server = await start(repository, { maxBody: 200_000 });
  infer = `${server.url}/v2/models/small/infer`;
});
afterAll(() => server.close());

const binaryRequest = (
  values: Float32Array,
  shape: number[],
  parameters: object = { binary_data_output: true },
  size = values.byteLength,
) => {
  const json = Buffer.from(
    JSON.stringify({
      parameters,
      inputs: [{ name: 'input', shape, datatype: 'FP32', parameters: { binary_data_size: size } }],
    }),
  );
  return {
    body: new Uint8Array(Buffer.concat([json, Buffer.from(values.buffer, values.byteOffset, values.byteLength)])),
    headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': String(json.length) },
  };
};

describe('metadata and health', () => {
  it('say what the official schemas say', async () => {
    const get = async (path: string) => (await fetch(server.url + path)).json();
    const about = await get('/v2');
    expect(official('metadata_server_response')(about)).toBe(true);
    expect(about).toMatchObject({ name: 'tapegrad', extensions: expect.arrayContaining(['binary_tensor_data']) });
    for (const path of ['/v2/models/small', '/v2/models/small/versions/1', '/v2/models/small/']) {
      const metadata = await get(path);
      expect(official('metadata_model_response')(metadata)).toBe(true);
      expect(metadata).toEqual({
        name: 'small',
        versions: ['1', '2'],
        platform: 'tapegrad',
        inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 5] }],
        outputs: [{ name: 'output', datatype: 'FP32', shape: [-1, 3] }],
      });
    }
  });
  it('are ready when every model is', async () => {
    for (const path of [
      '/v2/health/live',
      '/v2/health/ready',
      '/v2/models/small/ready',
      '/v2/models/small/versions/2/ready',
      '/ping',
    ])
      expect((await fetch(server.url + path)).status, path).toBe(200);
  });
  it('describe the server as OpenAPI', async () => {
    const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as { openapi: string; paths: object };
    expect(document.openapi).toMatch(/^3\./);
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining(['/v2/models/{name}/infer', '/invocations', '/v1/feedback']),
    );
  });
});

describe('infer', () => {
  it('answers JSON, nested and flat, as the model computes', async () => {
    const expected = predict(model, inputs).slice(0, 12);
    const nested = inferBody(rows.slice(0, 4), { id: 'q1' });
    const flat = { inputs: [{ name: 'input', shape: [4, 5], datatype: 'FP32', data: rows.slice(0, 4).flat() }] };
    for (const body of [nested, flat]) {
      expect(official('inference_request')(body)).toBe(true);
      const response = await post(infer, body);
      expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
      const answer = (await response.json()) as {
        id?: string;
        model_version: string;
        outputs: [{ shape: number[]; data: number[] }];
      };
      expect(official('inference_response')(answer)).toBe(true);
      expect(answer.id).toBe(body === nested ? 'q1' : undefined);
      expect(answer.model_version).toBe('2');
      expect(answer.outputs[0].shape).toEqual([4, 3]);
      expect(Float32Array.from(answer.outputs[0].data)).toEqual(expected);
    }
    expect(
      ((await (await post(infer.replace('/infer', '/versions/1/infer'), nested)).json()) as { model_version: string })
        .model_version,
    ).toBe('1');
  });
  it('answers all combinations of JSON and bytes, small and large', async () => {
    for (const n of [2, 3000]) {
      const values = sampleTensor([n, 5], [-1, 1], 5);
      const expected = predict(model, values);
      const { body, headers } = binaryRequest(values.dataSync(), [n, 5]);
      const response = await post(infer, body, headers);
      expect(response.headers.get('content-type')).toBe('application/octet-stream');
      const bytes = new Uint8Array(await response.arrayBuffer());
      const length = Number(response.headers.get('inference-header-content-length'));
      const json = JSON.parse(new TextDecoder().decode(bytes.subarray(0, length)));
      expect(json.outputs[0]).toEqual({
        name: 'output',
        shape: [n, 3],
        datatype: 'FP32',
        parameters: { binary_data_size: n * 12 },
      });
      expect(new Float32Array(bytes.slice(length).buffer)).toEqual(expected);
      const asJson = binaryRequest(values.dataSync(), [n, 5], {});
      const second = (await (await post(infer, asJson.body, asJson.headers)).json()) as {
        outputs: [{ data: number[] }];
      };
      expectClose(second.outputs[0].data, expected, 0, 0);
    }
    const wants = await post(
      infer,
      inferBody(rows.slice(0, 1), { outputs: [{ name: 'output', parameters: { binary_data: true } }] }),
    );
    expect(wants.headers.get('content-type')).toBe('application/octet-stream');
  });
  it('inflates gzip and deflate, and refuses what does not inflate or inflates to too much', async () => {
    const text = JSON.stringify(inferBody(rows.slice(0, 2)));
    for (const [encoding, deflate] of [
      ['gzip', gzipSync],
      ['deflate', deflateSync],
    ] as const) {
      expect((await post(infer, new Uint8Array(deflate(text)), { 'content-encoding': encoding })).status).toBe(200);
      const broken = await post(infer, new Uint8Array(deflate(text)).fill(9, 4), { 'content-encoding': encoding });
      expect(broken.status).toBe(400);
      expect(
        (await post(infer, new Uint8Array(deflate(Buffer.alloc(5_000_000, 32))), { 'content-encoding': encoding }))
          .status,
      ).toBe(413);
    }
  });
  it('inflates large bytes, however long the JSON before them is', async () => {
    const values = sampleTensor([3000, 5], [-1, 1], 6);
    for (const note of ['', 'a', 'ab', 'abc']) {
      const { body, headers } = binaryRequest(values.dataSync(), [3000, 5], { binary_data_output: true, note });
      const zipped = new Uint8Array(gzipSync(body));
      for (const [bytes, more] of [
        [body, {}],
        [zipped, { 'content-encoding': 'gzip' }],
      ] as const) {
        const response = await post(infer, bytes, { ...headers, ...more });
        const length = Number(response.headers.get('inference-header-content-length'));
        const answer = new Uint8Array(await response.arrayBuffer());
        expect(new Float32Array(answer.slice(length).buffer)).toEqual(predict(model, values));
      }
    }
  });
  it('takes null for a missing value where a preprocessor fills it', async () => {
    const row = [[...rows[0].slice(0, 4), null]];
    const body = { inputs: [{ name: 'input', shape: [1, 5], datatype: 'FP32', data: row }] };
    expect((await post(`${server.url}/v2/models/missing/infer`, body)).status).toBe(200);
    expect((await post(infer, body)).status).toBe(400);
  });
});

describe('SageMaker', () => {
  const invocations = () => `${server.url}/invocations`;
  const target = { 'x-amzn-sagemaker-target-model': 'small' };
  it('answers JSON, CSV and the protocol in what they came in, or as Accept says', async () => {
    const expected = predict(model, inputs).slice(0, 6);
    const numbers = (text: string) => Float32Array.from(text.trim().split(/[\n,]/).map(Number));
    for (const body of [{ instances: rows.slice(0, 2) }, rows.slice(0, 2)]) {
      const answer = (await (await post(invocations(), body, target)).json()) as { predictions: number[][] };
      expect(Float32Array.from(answer.predictions.flat())).toEqual(expected);
    }
    const csv = rows
      .slice(0, 2)
      .map((r) => r.join(','))
      .join('\n');
    const answered = await post(invocations(), csv, { ...target, 'content-type': 'text/csv' });
    expect(answered.headers.get('content-type')).toContain('text/csv');
    expect(numbers(await answered.text())).toEqual(expected);
    const asJson = await post(invocations(), csv, {
      ...target,
      'content-type': 'text/csv',
      accept: 'application/json',
    });
    expect(Object.keys((await asJson.json()) as object)).toEqual(['predictions']);
    const protocol = (await (await post(invocations(), inferBody(rows.slice(0, 2)), target)).json()) as {
      model_name: string;
    };
    expect(protocol.model_name).toBe('small');
  });
  it.each<[string, unknown, string]>([
    ['no samples', {}, 'does not contain samples'],
    ['samples of another width', { instances: [[1, 2]] }, 'takes 5 numbers per sample'],
    ['words', { instances: [[1, 2, 3, 4, 'x']] }, "number 4 is 'x'"],
  ])('refuses %s', async (_, body, text) => {
    const response = await post(invocations(), body, target);
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: string }).error).toContain(text);
  });
  it('asks which model where there are several', async () => {
    expect((await post(invocations(), { instances: rows.slice(0, 1) })).status).toBe(400);
  });
});

describe('bad requests', () => {
  const tensorOf = (more: object) => ({
    inputs: [{ name: 'input', shape: [1, 5], datatype: 'FP32', data: rows[0], ...more }],
  });
  it.each<[string, unknown, string]>([
    ['malformed JSON', '{"inputs": [', 'not JSON'],
    ['NaN in JSON', '{"inputs":[{"name":"input","shape":[1,5],"datatype":"FP32","data":[NaN,1,2,3,4]}]}', 'not JSON'],
    ['a list', [], 'must be object'],
    ['no inputs', {}, 'inputs'],
    [
      'two inputs',
      { inputs: [tensorOf({}).inputs[0], tensorOf({}).inputs[0]] },
      "there are 2 inputs; model 'small' takes 'input', FP32, [-1, 5]",
    ],
    ['a wrong name', tensorOf({ name: 'x' }), "no input 'x'"],
    ['a wrong dtype', tensorOf({ datatype: 'INT64' }), "'INT64'"],
    ['a wrong shape', tensorOf({ shape: [5] }), 'the shape is [5]'],
    ['a huge shape', tensorOf({ shape: [1e15, 5] }), 'data has 5 numbers'],
    ['a negative shape', tensorOf({ shape: [-1, 5] }), 'the shape is [-1, 5]'],
    ['too few numbers', tensorOf({ data: [1, 2] }), 'data has 2 numbers'],
    ['ragged rows', tensorOf({ shape: [2, 5], data: [[1, 2, 3, 4, 5], [1]] }), 'row 1 has 1 numbers'],
    ['a number too large for float32', tensorOf({ data: [1e39, 1, 1, 1, 1] }), 'number 0 is 1e+39'],
    ['a text among the numbers', tensorOf({ data: ['1', 1, 1, 1, 1] }), "number 0 is '1'"],
    ['an unknown output', { ...tensorOf({}), outputs: [{ name: 'y' }] }, "no output 'y'"],
    [
      'sizes without bytes',
      tensorOf({ data: undefined, parameters: { binary_data_size: 20 } }),
      'Inference-Header-Content-Length',
    ],
  ])("with %s are refused in the protocol's words", async (_, body, text) => {
    const response = await post(infer, body);
    expect(response.status).toBe(400);
    const answer = (await response.json()) as { error: string };
    expect(official('inference_error_response')(answer)).toBe(true);
    expect(answer.error).toContain(text);
  });
  it('whose binary sizes lie are refused', async () => {
    const values = Float32Array.from(rows[0]);
    const ask = async (change: (r: ReturnType<typeof binaryRequest>) => void, size?: number, shape = [1, 5]) => {
      const request = binaryRequest(values, shape, {}, size);
      change(request);
      const response = await post(infer, request.body, request.headers);
      return `${response.status} ${((await response.json()) as { error: string }).error}`;
    };
    expect(await ask(() => {}, 24)).toMatch(/^400 binary_data_size is 24, 20 bytes follow/);
    expect(await ask(() => {}, 20, [2, 5])).toMatch(/^400 .*takes 40/);
    expect(await ask((r) => Object.assign(r.headers, { 'inference-header-content-length': '99999' }))).toMatch(
      /^400 Inference-Header-Content-Length is 99999/,
    );
    expect(await ask((r) => Object.assign(r.headers, { 'inference-header-content-length': 'x' }))).toMatch(
      /^400 .*not an integer/,
    );
    expect(await ask((r) => r.body.set([0, 0, 192, 127], r.body.length - 4))).toMatch(/^400 feature 4 of row 0 is NaN/);
  });
  it('with numbers that are none are refused wherever those lie, and all others taken', () => {
    const signature = {
      ...{ name: 'small', version: '1', allowsMissing: false },
      ...{ inputs: [matrixSpec('input', 11)], outputs: [matrixSpec('output', 3)] },
    };
    const fine = Float32Array.from([0, -0, 1e-45, -1e-45, 3.4028234e38, -3.4028234e38, 1, 2, 3, 4, 5]);
    for (let lead = 0; lead < 4; lead++) {
      const parse = (values: Float32Array) => {
        const { body, headers } = binaryRequest(values, [1, 11], { note: 'x'.repeat(lead) });
        const parsed = parseInference(body, Number(headers['inference-header-content-length']), signature);
        const [{ values: read }] = parsed.inputs;
        checkValues(read, 11, signature);
        return read;
      };
      expect(parse(fine)).toEqual(fine);
      for (const bad of [NaN, -NaN, Infinity, -Infinity])
        for (let i = 0; i < fine.length; i++)
          expect(() => parse(fine.with(i, bad))).toThrow(`feature ${i} of row 0 is ${bad}`);
    }
  });
  it('with large numbers are taken, and refused where one is none', async () => {
    const ask = async (value: number, shape = [8000, 5]) => {
      const { body, headers } = binaryRequest(new Float32Array(40_000).fill(value), shape);
      return post(infer, body, headers);
    };
    // Their sum is Infinity, they are not.
    expect((await ask(1e38)).status).toBe(200);
    const { body, headers } = binaryRequest(new Float32Array(40_000).fill(1), [8000, 5]);
    for (const [at, text] of [
      [0, 'feature 0 of row 0 is NaN'],
      [39_999, 'feature 4 of row 7999 is NaN'],
    ] as const) {
      const wrong = body.slice();
      wrong.set([0, 0, 192, 127], wrong.length - 4 * (40_000 - at));
      const response = await post(infer, wrong, headers);
      expect(response.status).toBe(400);
      expect(((await response.json()) as { error: string }).error).toContain(text);
    }
  });
  it('to what is not there, of other types and of too many bytes have their own status', async () => {
    const status = async (response: Promise<Response>) => (await response).status;
    for (const path of ['/v2/models/none', '/v2/models/small/versions/9', '/v2/models/..%2f..%2fetc/ready', '/nowhere'])
      expect(await status(fetch(server.url + path)), path).toBe(404);
    expect(await status(post(infer, '<x/>', { 'content-type': 'application/xml' }))).toBe(415);
    expect(await status(post(infer, Buffer.alloc(300_000, 32)))).toBe(413);
    expect(await status(post(infer, inferBody(rows.slice(0, 1)), { 'x-request-timeout-ms': 'soon' }))).toBe(400);
    expect(await (await fetch(`${server.url}/nowhere`)).json()).toEqual({
      error: expect.stringContaining('GET is not supported at this path'),
    });
  });
});
