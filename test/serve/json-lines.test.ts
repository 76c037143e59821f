import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Server } from '../../src/serve/index.js';
import { parseInvocation } from '../../src/serve/protocol/invocations.js';
import { matrixSpec } from '../../src/serve/protocol/tensors.js';
import { folder, post, predict, publish, smallModel, start } from './helpers.js';

const { model, inputs } = smallModel();
const rows = (inputs.toArraySync() as number[][]).slice(0, 3);
const LINES = 'application/jsonlines';

describe('JSON Lines at /invocations', () => {
  let server: Server;
  const right = Array.from(predict(model, inputs).slice(0, 9));
  beforeAll(async () => {
    const repository = folder();
    await publish(repository, 'small', '1', model);
    server = await start(repository);
  });
  afterAll(() => server.close());
  const invoke = (body: string, headers: Record<string, string>) => post(`${server.url}/invocations`, body, headers);
  const lined = rows.map((row) => JSON.stringify(row)).join('\n');

  it('gives one prediction per line for one row per line', async () => {
    const answer = await invoke(lined, { 'content-type': LINES });
    expect(answer.headers.get('content-type')).toBe(LINES);
    const lines = (await answer.text()).split('\n');
    expect(lines.pop()).toBe('');
    expect(lines).toHaveLength(3);
    expect(lines.flatMap((line) => JSON.parse(line) as number[])).toEqual(right);
  });
  it('takes objects with a row, blank lines and the ends of lines of Windows', async () => {
    const body = [
      JSON.stringify({ features: rows[0] }),
      '',
      JSON.stringify({ data: { features: { values: rows[1] } } }),
      ` ${JSON.stringify(rows[2])}`,
      '',
    ].join('\r\n');
    const answer = await invoke(body, { 'content-type': LINES, accept: 'application/json' });
    expect(((await answer.json()) as { predictions: number[][] }).predictions.flat()).toEqual(right);
  });
  it('answers in lines where Accept asks for them', async () => {
    const answer = await invoke(JSON.stringify({ instances: rows }), { accept: `text/html, ${LINES};q=1` });
    expect(answer.headers.get('content-type')).toBe(LINES);
    expect((await answer.text()).trim().split('\n')).toHaveLength(3);
    const failed = await invoke('[1]', { 'content-type': LINES });
    expect([failed.status, failed.headers.get('content-type')]).toEqual([400, 'application/json']);
  });
  it('refuses lines that are no rows', async () => {
    const signature = {
      ...{ name: 'm', version: '1', allowsMissing: false },
      ...{ inputs: [matrixSpec('input', 2)], outputs: [matrixSpec('output', 1)] },
    };
    const refusal = (text: string) =>
      parseInvocation(new TextEncoder().encode(text), 'lines', signature).then(
        () => 'none',
        (error: Error) => error.message,
      );
    expect(await refusal('')).toContain('does not contain samples');
    expect(await refusal(' \n\t\n')).toContain('does not contain samples');
    expect(await refusal('[1,2]\n[1,2')).toContain('not JSON');
    expect(await refusal('[1,2]\n{"features":[1]}')).toContain('sample 1 is of 1 numbers');
    expect(await refusal('[1,2]\nnull')).toContain('sample 1 is null');
    expect(await refusal('[1,2][3,4]')).toContain('not JSON');
  });
});
