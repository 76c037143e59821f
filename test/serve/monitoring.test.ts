import { execFileSync } from 'node:child_process';
import { context, trace } from '@opentelemetry/api';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InferenceClient } from '../../src/client/index.js';
import { nn, tensor } from '../../src/index.js';
import type { Server } from '../../src/serve/index.js';
import { sampleTensor } from '../helpers.js';
import { folder, inferBody, post, predict, publish, smallModel, start, withProgram } from './helpers.js';

describe('a monitored server', () => {
  const { model, inputs, baseline } = smallModel();
  const exporter = new InMemorySpanExporter();
  let server: Server;
  let client: InferenceClient;
  beforeAll(async () => {
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
    const repository = folder();
    await publish(repository, 'small', '1', model, { baseline, labels: ['a', 'b', 'c'] });
    const line = new nn.Linear(2, 1, { bias: false });
    line.loadStateDict({ weight: tensor([[1, 1]]) });
    await publish(repository, 'line', '1', line);
    server = await start(repository);
    client = new InferenceClient(server.url);
  });
  afterAll(async () => {
    await server.close();
    trace.disable();
    context.disable();
  });
  const admin = async (path: string) => (await fetch(server.adminUrl + path)).text();
  const watched = async () =>
    (JSON.parse(await admin('/drift')) as { models: { rows: number }[] }).models[0]?.rows ?? 0;
  /** Asks with rows from a stretch until 160 more are put aside for monitoring, which takes some at a time. */
  const ask = async (from: number, to: number, seed: number) => {
    const enough = (await watched()) + 160;
    for (let i = 0; (await watched()) < enough; i++)
      await client.infer('small', { data: sampleTensor([20, 5], [from, to], seed + i).dataSync(), shape: [20, 5] });
  };

  it('sees no drift in data like the training data, and sees it in other data', async () => {
    type Report = {
      models: {
        rows: number;
        share: number;
        classPsi: number;
        features: { psi: number; ks: number; drifted: boolean }[];
      }[];
    };
    await ask(-1, 1, 100);
    const same = (JSON.parse(await admin('/drift')) as Report).models[0];
    expect(same.rows).toBeGreaterThanOrEqual(100);
    expect(same.features.every((f) => f.ks < 0.15)).toBe(true);
    expect(same.share).toBeLessThan(0.5);
    await ask(0.5, 2, 200);
    const other = (JSON.parse(await admin('/drift')) as Report).models[0];
    expect(other.share).toBe(1);
    expect(other.features.every((f) => f.psi > 0.25 && f.drifted)).toBe(true);
    const text = await admin('/metrics');
    for (const name of ['psi', 'ks', 'wasserstein'])
      expect(text).toMatch(
        new RegExp(`tapegrad_drift_${name}\\{model="small",version="1",column="feature_4"\\} [0-9.]+`),
      );
    expect(text).toContain('tapegrad_drift_share_ratio{model="small",version="1"} 1');
  });
  it('learns the live accuracy from labels that arrive later', async () => {
    const rows = inputs.toArraySync() as number[][];
    const logits = predict(model, inputs);
    const right = rows
      .slice(0, 20)
      .map((_, i) => [0, 1, 2].reduce((best, j) => (logits[i * 3 + j] > logits[i * 3 + best] ? j : best), 0));
    for (let i = 0; i < 20; i++) {
      const { requestId } = await client.infer('small', [rows[i]]);
      await client.feedback(requestId, [i < 15 ? right[i] : (right[i] + 1) % 3]);
    }
    const { requestId } = await client.infer('line', [
      [1, 2],
      [3, 4],
    ]);
    await expect(client.feedback(requestId, [3])).rejects.toThrow('1 labels for 2 rows');
    await client.feedback(requestId, [3.5, 7]);
    const text = await admin('/metrics');
    expect(text).toContain('tapegrad_live_accuracy_ratio{model="small",version="1"} 0.75');
    expect(text).toContain('tapegrad_live_absolute_error{model="line",version="1"} 0.25');
    const small = await client.infer('small', [rows[0]]);
    await expect(client.feedback(small.requestId, [3])).rejects.toThrow('from 0 to 2');
  });
  it('names KServe and Triton in its metrics, and shows a page without anything from elsewhere', async () => {
    await post(`${server.url}/v2/models/none/infer`, inferBody([[1]]));
    const text = await admin('/metrics');
    for (const name of ['request_preprocess_seconds', 'request_predict_seconds', 'request_postprocess_seconds'])
      expect(text).toMatch(new RegExp(`^${name}_count\\{model_name="small"\\} [1-9]`, 'm'));
    expect(text).toMatch(/^tapegrad_requests_total\{model="small",version="1",code="200"\} [1-9]/m);
    expect(text).toMatch(/^tapegrad_requests_total\{model="",version="",code="404"\} 1$/m);
    for (const name of [
      'tapegrad_queue_duration_seconds',
      'tapegrad_batch_rows',
      'tapegrad_model_load_duration_seconds',
      'nodejs_eventloop_lag_p99_seconds',
    ])
      expect(text).toContain(name);
    const triton = await admin('/metrics/triton');
    for (const name of [
      'nv_inference_request_success',
      'nv_inference_count',
      'nv_inference_exec_count',
      'nv_inference_queue_duration_us',
    ])
      expect(triton).toMatch(new RegExp(`^${name}\\{model="small",version="1"\\} [0-9]`, 'm'));
    const page = await fetch(server.adminUrl);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    const html = await page.text();
    expect(html.match(/<svg/g)!.length).toBe(6);
    expect(html).not.toMatch(/(src|href)=|https?:\/\//);
    expect(JSON.parse(await admin('/status'))).toMatchObject({
      ready: true,
      models: [{ name: 'line' }, { name: 'small' }],
      workers: { ready: 1, configured: 1 },
    });
  });
  withProgram('promtool', '--version')('has metrics that promtool finds no fault with', async () => {
    const input = await admin('/metrics');
    expect(execFileSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' })).toBe('');
  });
  it('makes spans where OpenTelemetry is', () => {
    const span = exporter.getFinishedSpans().find((s) => s.name === 'POST /v2/models/:name/infer')!;
    expect(span.attributes).toMatchObject({ 'http.response.status_code': 200, 'request.id': expect.any(String) });
  });
});
