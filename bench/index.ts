// `npm run bench`: every workload on one thread and on all, with its share of what 128-bit SIMD can do on this machine.
// `npm run bench -- W3` runs those whose names begin so.
import { cpus } from 'node:os';
import { getNumThreads, setNumThreads, useDevice } from 'tapegrad';
import { Bench } from 'tinybench';
import { coldStart } from './cold.js';
import { memoryLoops } from './memory.js';
import { median, peakMeter } from './peak.js';
import { workloads } from './workloads.js';

const ROUNDS = 9;
const filter = process.argv[2] ?? '';
const all = getNumThreads();
const counts = all === 1 ? [1] : [1, all];
const device = await useDevice('cpu');
const peakNow = await peakMeter(device.backend === 'wasm-relaxed-simd');
console.log(`Node ${process.versions.node}, ${device.backend}, ${device.name} on ${cpus()[0].model}`);

/** Seconds for one run. */
async function time(run: () => unknown, threads: number): Promise<number> {
  const bench = new Bench({ time: 80, warmupTime: 20, warmupIterations: 2, iterations: 3 });
  bench.add('run', () => void run(), { beforeAll: () => setNumThreads(threads) });
  const [{ result }] = await bench.run();
  if (result.state !== 'completed') throw new Error(`a run ended as ${result.state}`);
  return result.latency.p50 / 1000;
}

const peaks: number[] = [];
const rows: Record<string, string | number>[] = [];
for (const { name, make, amount, unit, flops } of workloads.filter((w) => w.name.startsWith(filter))) {
  const { run } = make();
  const seconds = counts.map(() => [] as number[]);
  const shares = counts.map(() => [] as number[]);
  // Everything takes turns, so that it meets the machine in the same mood.
  for (let round = 0; round < ROUNDS; round++) {
    const peak = flops ? peakNow() : Infinity;
    peaks.push(peak);
    for (const [i, threads] of counts.entries()) {
      seconds[i].push(await time(run, threads));
      shares[i].push((flops ?? 0) / seconds[i][round] / 1e9 / (peak * threads));
    }
  }
  for (const [i, threads] of counts.entries()) {
    const each = median(seconds[i]);
    rows.push({
      workload: name,
      threads,
      'µs a run': +(each * 1e6).toPrecision(4),
      rate: +(amount / each).toPrecision(4),
      unit,
      'times 1 thread': threads === 1 ? '' : +median(seconds[i].map((s, r) => seconds[0][r] / s)).toFixed(2),
      '% of SIMD peak': flops ? Math.round(100 * median(shares[i])) : '',
    });
  }
}
if (rows.length > 0) console.table(rows);
const measured = peaks.filter(Number.isFinite);
if (measured.length > 0) {
  console.log(`128-bit SIMD peak of one core, registers only: ${median(measured).toFixed(1)} GFLOP/s`);
}
if ('cold start'.startsWith(filter)) {
  const times = Array.from({ length: 11 }, coldStart);
  const of = (i: 0 | 1) => +median(times.map((t) => t[i])).toFixed(1);
  console.log(`cold start: import ${of(0)} ms, import and first training step ${of(1)} ms`);
}
if ('memory'.startsWith(filter)) console.table(memoryLoops());
