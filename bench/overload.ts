// `npm run bench:overload`: twice the requests that a server can hold, for ten minutes, every answer looked at. Prints what
// came back, the server's memory and its event loop's delay for every slice. Needs wrk.
//   -- --slices 10 --seconds 60
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { manualSeed, nn, rand } from 'tapegrad';
import { saveModel } from 'tapegrad/io';
import { needWrk, serveModels } from './server.js';

const { values: args } = parseArgs({
  options: { slices: { type: 'string', default: '10' }, seconds: { type: 'string', default: '60' } },
});
/** Places in the server's queue; twice as many connections ask, and ask again at once. */
const QUEUE = 32;
needWrk();

const dir = mkdtempSync(join(tmpdir(), 'tapegrad-overload-'));
manualSeed(1);
// Heavy enough that computing, not HTTP, is the limit.
const model = new nn.Sequential(new nn.Linear(256, 2048), new nn.Tanh(), new nn.Linear(2048, 10));
mkdirSync(join(dir, 'heavy/1'), { recursive: true });
await saveModel(model, join(dir, 'heavy/1/model.safetensors'));
const server = await serveModels(dir, '--queue', String(QUEUE), '--timeout', '2000');
const url = `${server.url}/v2/models/heavy/infer`;
const input = { name: 'input', shape: [1, 256], datatype: 'FP32', data: Array.from(await rand([1, 256]).data()) };
const body = JSON.stringify({ inputs: [input] });
const headers = { 'content-type': 'application/json' };
const right = await (await fetch(url, { method: 'POST', headers, body })).text();

const script = join(dir, 'load.lua');
writeFileSync(
  script,
  `wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[${body}]==]
local right = [==[${right}]==]
answered, refused, wrong = 0, 0, 0
function response(status, headers, body)
  if status == 200 and body == right then answered = answered + 1
  elseif status == 429 or status == 503 then refused = refused + 1
  else wrong = wrong + 1 end
end
local threads = {}
function setup(thread) table.insert(threads, thread) end
function done(summary)
  local t, e = threads[1], summary.errors
  print(string.format("counts %d %d %d %d", t:get("answered"), t:get("refused"), t:get("wrong"), e.connect + e.read + e.write + e.timeout))
end
`,
);
function slice(): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const wrk = spawn('wrk', ['-t1', `-c${2 * QUEUE}`, `-d${args.seconds}s`, '-s', script, url]);
    let text = '';
    wrk.stdout.on('data', (d: Buffer) => {
      text += d.toString();
    });
    wrk.on('close', () => {
      const counts = /counts (\d+) (\d+) (\d+) (\d+)/.exec(text);
      if (counts === null) reject(new Error(text));
      else resolve(counts.slice(1).map(Number));
    });
  });
}

let failed = false;
for (let i = 1; i <= Number(args.slices); i++) {
  const [answered, refused, wrong, broken] = await slice();
  const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text();
  const metric = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)![1]);
  console.log({
    slice: i,
    answered,
    refused,
    wrong,
    broken,
    'RSS MiB': Math.round(metric('process_resident_memory_bytes') / 2 ** 20),
    // The histogram counts its own 10 ms.
    'event loop p99 ms': +(metric('nodejs_eventloop_lag_p99_seconds') * 1000 - 10).toFixed(1),
    workers: metric('tapegrad_workers_ready'),
  });
  failed ||= wrong + broken > 0;
}
process.exit(failed ? 1 : 0);
