// `npm run bench`: every workload on one thread and on all, with its share of what 128-bit SIMD can do on this machine.
// `npm run bench -- W3` runs those whose names begin so.
import { cpus } from 'node:os';
import { getNumThreads, setNumThreads, useDevice } from 'tapegrad';
import { Bench } from 'tinybench';
import { coldStart } from './cold.js';
import { memoryLoops } from './memory.js';
import { measurePeak } from './peak.js';
import { workloads } from './workloads.js';

const filter = process.argv[2] ?? '';
const all = getNumThreads();
const device = await useDevice('cpu');
const peak = await measurePeak(device.backend === 'wasm-relaxed-simd');
console.log(`Node ${process.versions.node}, ${device.backend}, ${device.name} on ${cpus()[0].model}`);
console.log(`128-bit SIMD peak of one core, registers only: ${peak.toFixed(1)} GFLOP/s`);

const counts = all === 1 ? [1] : [1, all];
const rows: Record<string, string | number>[] = [];
for (const { name, make, amount, unit, flops } of workloads.filter((w) => w.name.startsWith(filter))) {
  // The thread counts take turns within one bench, so that both meet the machine in the same mood.
  const bench = new Bench({ time: 600, warmupTime: 200, warmupIterations: 5 });
  const run = make();
  for (const threads of counts) {
    bench.add(`${threads}`, run, { beforeAll: () => setNumThreads(threads) });
  }
  await bench.run();
  bench.tasks.forEach(({ result }, i) => {
    if (result.state !== 'completed') throw new Error(`${name}: ${result.state}`);
    const seconds = result.latency.p50 / 1000;
    rows.push({
      workload: name,
      threads: counts[i],
      'median µs': +(seconds * 1e6).toFixed(1),
      rate: +(amount / seconds).toPrecision(4),
      unit,
      '% of peak': flops ? Math.round(flops / seconds / 1e7 / (peak * counts[i])) : '',
    });
  });
}
if (rows.length > 0) console.table(rows);
if ('cold start'.startsWith(filter)) console.table(await coldStart());
if ('memory'.startsWith(filter)) console.table(await memoryLoops());
