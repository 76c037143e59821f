import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { InferenceClient } from '../../src/client/index.js';
import { parseInvocation } from '../../src/serve/protocol/invocations.js';
import { encodeInference, parseInference } from '../../src/serve/protocol/open-inference.js';
import { matrixSpec, type Signature, sameRows } from '../../src/serve/protocol/tensors.js';

// Models with several inputs and outputs, in the protocol alone: those of nn have one of each so far.

const signature: Signature = {
  name: 'pair',
  version: '3',
  inputs: [matrixSpec('left', 2), { name: 'right', datatype: 'FP32', shape: [-1, 2, -1] }],
  outputs: [matrixSpec('sum', 1), matrixSpec('both', 2)],
  allowsMissing: false,
};
const left = { name: 'left', datatype: 'FP32', shape: [2, 2], data: [1, 2, 3, 4] };
const right = {
  name: 'right',
  datatype: 'FP32',
  shape: [2, 2, 1],
  data: [
    [[5], [6]],
    [[7], [8]],
  ],
};
const bytes = (request: unknown, ...data: number[]) => {
  const json = new TextEncoder().encode(JSON.stringify(request));
  const body = new Uint8Array(json.length + 4 * data.length);
  body.set(json);
  body.set(new Uint8Array(Float32Array.from(data).buffer), json.length);
  return { body, length: json.length };
};
const parse = (request: unknown) => parseInference(bytes(request).body, null, signature);
const numbers = (request: unknown) => parse(request).inputs.map(({ values }) => [...values]);

describe('a request with several tensors', () => {
  it('names them in any order, flat or nested as deep as the shape', () => {
    const expected = [
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ];
    expect(numbers({ inputs: [left, right] })).toEqual(expected);
    expect(numbers({ inputs: [{ ...right, data: [5, 6, 7, 8] }, left] })).toEqual(expected);
    expect(parse({ inputs: [left, right] })).toMatchObject({ rows: 2, outputs: null, binary: false, checked: true });
  });
  it('has the bytes of each in the order of the request, and may have one as JSON', () => {
    const binary = (input: object, size: number) => ({
      ...input,
      data: undefined,
      parameters: { binary_data_size: size },
    });
    const both = bytes({ inputs: [binary(right, 16), binary(left, 16)] }, 5, 6, 7, 8, 1, 2, 3, 4);
    const parsed = parseInference(both.body, both.length, signature);
    expect(parsed.inputs.map(({ values }) => [...values])).toEqual([
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ]);
    expect(parsed.checked).toBe(false);
    const one = bytes({ inputs: [left, binary(right, 16)] }, 5, 6, 7, 8);
    expect([...parseInference(one.body, one.length, signature).inputs[1].values]).toEqual([5, 6, 7, 8]);
    const more = bytes({ inputs: [left, binary(right, 16)] }, 5, 6, 7, 8, 9);
    expect(() => parseInference(more.body, more.length, signature)).toThrow('4 bytes follow the JSON');
    const less = bytes({ inputs: [binary(left, 16), binary(right, 16)] }, 1, 2, 3, 4, 5);
    expect(() => parseInference(less.body, less.length, signature)).toThrow('4 bytes follow the JSON');
  });
  it.each<[string, object[], string]>([
    [
      'one too few',
      [left],
      "there are 1 inputs; model 'pair' takes 'left', FP32, [-1, 2] and 'right', FP32, [-1, 2, -1]",
    ],
    ['one twice', [left, left], "there are two inputs 'left'"],
    ['an unknown one', [left, { ...right, name: 'up' }], "there is no input 'up'"],
    ['different numbers of rows', [left, { ...right, shape: [1, 2, 2] }], 'the inputs have 2 and 1 rows'],
    ['a shape that does not fit', [left, { ...right, shape: [2, 3, 1] }], 'the shape is [2, 3, 1]'],
    [
      'a row of another length',
      [
        left,
        {
          ...right,
          data: [
            [[5], [6]],
            [[7], [8, 9]],
          ],
        },
      ],
      'row 1 has 2 numbers',
    ],
    [
      'a number that is none',
      [
        left,
        {
          ...right,
          data: [
            [[5], [6]],
            [[7], ['8']],
          ],
        },
      ],
      "number 3 is '8'",
    ],
  ])('is refused with %s', (_, inputs, message) => {
    expect(() => parse({ inputs })).toThrow(message);
  });
  it('gets the outputs that it names, in its order', () => {
    const all = [
      { values: Float32Array.from([1, 2]), shape: [2, 1] },
      { values: Float32Array.from([3, 4, 5, 6]), shape: [2, 2] },
    ];
    const answer = (outputs: object[] | undefined, parameters?: object) => {
      const { body, jsonLength } = encodeInference(
        parse({ inputs: [left, right], outputs, parameters }),
        all,
        signature,
      );
      const text = new TextDecoder().decode(jsonLength === null ? body : body.subarray(0, jsonLength));
      return {
        ...(JSON.parse(text) as { outputs: unknown }),
        rest: jsonLength === null ? 0 : body.length - jsonLength,
      };
    };
    const sum = { name: 'sum', shape: [2, 1], datatype: 'FP32' };
    const both = { name: 'both', shape: [2, 2], datatype: 'FP32' };
    expect(answer(undefined).outputs).toEqual([
      { ...sum, data: [1, 2] },
      { ...both, data: [3, 4, 5, 6] },
    ]);
    expect(answer([{ name: 'both' }]).outputs).toEqual([{ ...both, data: [3, 4, 5, 6] }]);
    expect(answer([{ name: 'both' }, { name: 'sum' }], { binary_data_output: true })).toMatchObject({
      outputs: [
        { ...both, parameters: { binary_data_size: 16 } },
        { ...sum, parameters: { binary_data_size: 8 } },
      ],
      rest: 24,
    });
    expect(() => answer([{ name: 'mean' }])).toThrow("there is no output 'mean'; model 'pair' has 'sum', 'both'");
  });
  it('is no row of numbers', async () => {
    const body = new TextEncoder().encode('[[1, 2]]');
    await expect(parseInvocation(body, 'json', signature)).rejects.toThrow("model 'pair' does not take one matrix");
    await expect(parseInvocation(body, 'csv', signature)).rejects.toThrow("model 'pair' does not take one matrix");
  });
  it('shares a forward pass only with those of the same shapes', () => {
    const [a, b] = [
      parse({ inputs: [left, right] }),
      parse({ inputs: [left, { ...right, shape: [2, 2, 2], data: new Array(8).fill(0) }] }),
    ];
    expect(sameRows(a.inputs, a.inputs)).toBe(true);
    expect(sameRows(a.inputs, b.inputs)).toBe(false);
  });
});

describe('the client', () => {
  it.each([true, false])('sends and reads several tensors by name, binary: %s', async (binary) => {
    const server = createServer(async (request, response) => {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part as Buffer);
      const length = request.headers['inference-header-content-length'];
      const parsed = parseInference(Buffer.concat(parts), length === undefined ? null : Number(length), signature);
      const [a, b] = parsed.inputs;
      const sums = { values: a.values.map((v, i) => v + b.values[i]).slice(0, 2), shape: [2, 1] };
      const { body, jsonLength } = encodeInference(parsed, [sums, a], signature);
      if (jsonLength !== null) response.setHeader('inference-header-content-length', jsonLength);
      response.end(body);
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const client = new InferenceClient(url, { binary, retries: 0 });
      const values = Float32Array.from([5, 6, 7, 8]);
      const prediction = await client.infer('pair', {
        left: [
          [1, 2],
          [3, 4],
        ],
        right: { data: values, shape: [2, 2, 1] },
      });
      expect(prediction.outputs).toEqual([
        { name: 'sum', shape: [2, 1], data: Float32Array.from([6, 8]) },
        { name: 'both', shape: [2, 2], data: Float32Array.from([1, 2, 3, 4]) },
      ]);
      expect([prediction.shape, [...prediction.data]]).toEqual([
        [2, 1],
        [6, 8],
      ]);
      await expect(client.infer('pair', { left: { data: values, shape: [3, 2] } })).rejects.toThrow(
        'the samples of left have 4 numbers and the shape [3, 2]',
      );
      await expect(client.infer('pair', {})).rejects.toThrow('there are no inputs');
    } finally {
      server.close();
    }
  });
});
