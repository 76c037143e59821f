// `npm run bench:serve`: requests a second for the digits model (784-128-10), JSON and bytes, one row and 256, beside
// onnxruntime-node behind the same Fastify; the two take turns. Needs wrk; installs onnxruntime-node in bench/peers.
//   -- --rounds 5 --seconds 4
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { data, manualSeed, nn, noGrad, rand } from 'tapegrad';
import { exportOnnx, saveModel } from 'tapegrad/io';
import { median } from './peak.js';
import { needWrk, serveModels, start } from './server.js';

const { values: args } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '4' } },
});
needWrk();
const peers = new URL('./peers/', import.meta.url).pathname;
if (!existsSync(join(peers, 'node_modules/onnxruntime-node')))
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock', '--ignore-scripts'], {
    cwd: peers,
    stdio: 'inherit',
  });

const dir = mkdtempSync(join(tmpdir(), 'tapegrad-bench-'));
manualSeed(1);
const model = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10));
const x = rand([2000, 784]);
mkdirSync(join(dir, 'digits/1'), { recursive: true });
await saveModel(model, join(dir, 'digits/1/model.safetensors'), {
  baseline: data.computeBaseline(
    x,
    noGrad(() => model.forward(x)),
  ),
});
await exportOnnx(model, [1, 784], join(dir, 'digits.onnx'));

interface Load {
  name: string;
  rows: number;
  connections: number;
  script: string;
}
async function load(name: string, rows: number, binary: boolean, connections: number): Promise<Load> {
  const values = await rand([rows, 784]).data();
  const input = { name: 'input', shape: [rows, 784], datatype: 'FP32' };
  const body = join(dir, `${name}.body`);
  const headers = ['wrk.headers["Content-Type"]="application/json"'];
  if (binary) {
    const json = Buffer.from(
      JSON.stringify({
        parameters: { binary_data_output: true },
        inputs: [{ ...input, parameters: { binary_data_size: values.byteLength } }],
      }),
    );
    writeFileSync(body, Buffer.concat([json, Buffer.from(values.buffer)]));
    headers[0] = 'wrk.headers["Content-Type"]="application/octet-stream"';
    headers.push(`wrk.headers["Inference-Header-Content-Length"]="${json.length}"`);
  } else writeFileSync(body, JSON.stringify({ inputs: [{ ...input, data: Array.from(values) }] }));
  const script = join(dir, `${name}.lua`);
  writeFileSync(
    script,
    `local f = io.open("${body}", "rb")\nwrk.body = f:read("*a")\nwrk.method = "POST"\n${headers.join('\n')}\n`,
  );
  return { name, rows, connections, script };
}
const loads = [
  await load('JSON, 1 row', 1, false, 64),
  await load('bytes, 1 row', 1, true, 64),
  await load('bytes, 256 rows', 256, true, 8),
  await load('bytes, 256 rows, more at once', 256, true, 16),
];

const sides = {
  tapegrad: (await serveModels(dir)).url,
  onnxruntime: (await start([join(peers, 'ort-serve.mjs'), join(dir, 'digits.onnx')], peers)).url,
};

/** Requests a second, and the 99th percentile in milliseconds. */
function measure(url: string, { script, connections }: Load): [number, number] {
  const text = execFileSync(
    'wrk',
    ['-t1', `-c${connections}`, `-d${args.seconds}s`, '--latency', '-s', script, `${url}/v2/models/digits/infer`],
    { encoding: 'utf8' },
  );
  if (/Non-2xx/.test(text)) throw new Error(text);
  const [, p99, unit] = /99%\s+([\d.]+)(us|ms|s)/.exec(text)!;
  return [
    Number(/Requests\/sec:\s+([\d.]+)/.exec(text)![1]),
    Number(p99) * { us: 0.001, ms: 1, s: 1000 }[unit as 'us'],
  ];
}

const table: Record<string, string | number>[] = [];
for (const one of loads) {
  const results: Record<string, [number, number][]> = { tapegrad: [], onnxruntime: [] };
  for (let round = 0; round < Number(args.rounds); round++) {
    for (const [side, url] of Object.entries(sides)) results[side].push(measure(url, one));
  }
  const rate = (side: string) => median(results[side].map(([r]) => r));
  table.push({
    load: one.name,
    connections: one.connections,
    'requests/s': Math.round(rate('tapegrad')),
    'rows/s': Math.round(rate('tapegrad') * one.rows),
    'p99 ms': +median(results.tapegrad.map(([, p]) => p)).toFixed(1),
    'onnxruntime requests/s': Math.round(rate('onnxruntime')),
    'times onnxruntime': +median(results.tapegrad.map(([r], i) => r / results.onnxruntime[i][0])).toFixed(2),
  });
}
console.table(table);
process.exit(0);
