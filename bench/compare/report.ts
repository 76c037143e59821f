// docs/benchmarks.md from one run of all peers.
import { cpus, totalmem } from 'node:os';
import type { DeviceInfo } from 'tapegrad';
import type { LoopReport } from '../memory.js';
import { median } from '../peak.js';
import type { Workload } from '../workloads.js';

export interface Measured {
  readonly workload: Workload;
  /** Seconds of one run, by peer and round. */
  readonly times: Readonly<Record<string, readonly number[]>>;
  /** GFLOP/s of one core at the beginning of every round. */
  readonly peaks: readonly number[];
}

export interface Results {
  readonly measured: readonly Measured[];
  readonly cold: Readonly<Record<string, readonly number[]>>;
  readonly memory: Readonly<Record<string, LoopReport>>;
  readonly versions: readonly string[];
  readonly notes: readonly string[];
  readonly threads: number;
  readonly device: DeviceInfo;
  readonly rounds: number;
  readonly seconds: number;
}

/** The shortest times of every round, over the peers whose names begin so; null where there are none. */
export function best({ times }: Measured, ...beginnings: string[]): number[] | null {
  const of = Object.keys(times).filter((label) => beginnings.some((b) => label.startsWith(b)));
  if (of.length === 0) return null;
  const rounds = Math.min(...of.map((label) => times[label].length));
  return Array.from({ length: rounds }, (_, r) => Math.min(...of.map((label) => times[label][r])));
}

/** How many times as fast as others, the median over the rounds. */
export function ratio(ours: readonly number[] | null, theirs: readonly number[] | null): number | null {
  if (ours === null || theirs === null) return null;
  return median(ours.slice(0, theirs.length).map((t, r) => theirs[r] / t));
}

const times = (x: number | null) => (x === null ? '–' : `${x < 10 ? x.toFixed(2) : Math.round(x)}x`);

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map((_, i) => (i === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}

function rates({ measured }: Results): string {
  const labels = [...new Set(measured.flatMap((m) => Object.keys(m.times)))];
  const rows = measured.map(({ workload, times }) => [
    workload.name,
    workload.unit,
    ...labels.map((label) => {
      if (!times[label]) return '–';
      const rate = workload.amount / median(times[label]);
      return rate.toLocaleString('en', rate < 100 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 0 });
    }),
  ]);
  return table(['', 'unit', ...labels], rows);
}

function ratios({ measured, threads }: Results): string {
  const [one, all] = ['tapegrad, 1', `tapegrad, ${threads}`];
  const rows = measured.map((m) => {
    const [single, own] = [best(m, one), best(m, all)];
    const share = m.workload.flops ? median(single!.map((t, r) => m.workload.flops! / t / 1e9 / m.peaks[r])) : null;
    return [
      m.workload.name,
      share === null ? '' : `${Math.round(100 * share)} %`,
      times(ratio(own, single)),
      times(ratio(own, best(m, 'PyTorch'))),
      times(ratio(single, best(m, 'PyTorch, 1 '))),
      times(ratio(own, best(m, 'jax-js'))),
      times(ratio(own, best(m, 'tfjs'))),
    ];
  });
  const header = [
    'tapegrad',
    '1 thread, of SIMD peak',
    `${threads} threads / 1`,
    '/ PyTorch, the better',
    '1 thread / PyTorch, 1 thread',
    '/ jax-js',
    '/ tfjs',
  ];
  return table(header, rows);
}

export function report(results: Results): string {
  const { cold, device, measured, memory, notes, rounds, seconds, threads, versions } = results;
  const peaks = measured.flatMap((m) => m.peaks);
  const peak = peaks.length > 0 ? ` 128-bit SIMD on one core, in registers: ${median(peaks).toFixed(1)} GFLOP/s.` : '';
  return `# Benchmarks

Written by \`npm run bench:peers\` on ${new Date().toISOString().slice(0, 10)}; do not edit.

Machine: ${cpus().length} cores of ${cpus()[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB.${peak}
tapegrad on Node ${process.versions.node}, ${device.backend}, ${threads} threads unless stated otherwise. Peers: ${versions
    .filter((v) => v !== 'tapegrad')
    .join(
      ', ',
    )}. Figures are medians of ${rounds} rounds of ${seconds} s with all programs interleaved; ratios are medians of
the rounds' ratios, and more is better.
${notes.map((note) => `\n- ${note}`).join('')}

![Speed relative to PyTorch](benchmarks.svg)

## Ratios

${ratios(results)}

## Rates

${rates(results)}

W1 is a matrix product. W2 is a training step of an MLP 10-5-1 at batch 100, W3 of 784-256-128-10 at the batch it names
with cross-entropy, W3b of 1024-2048-2048-1024 at batch 256, counted as 6 · parameters · batch operations. W4 is inference
with the model of W3. W5 is an operation on 1,000,000 numbers (softmax on [1024, 1000]); "disposed" disposes every result
explicitly, which is never necessary. W8 is a step of AdamW over 8 million parameters in 100 tensors, for PyTorch by the faster of
foreach and fused.

## Cold start

Import and first training step in a new process, median.

${table(
  ['', 'ms'],
  Object.entries(cold).map(([label, t]) => [label, median(t).toFixed(0)]),
)}

## Memory

Loops of 20,000 steps that never yield and never dispose: how far resident memory rose above its size after 200 steps.

${table(
  ['', 'MB', 'tensors kept', 'their values'],
  Object.entries(memory).map(([kind, m]) => [kind, String(m.rose), String(m.kept), m.right ? 'right' : 'WRONG']),
)}
`;
}
