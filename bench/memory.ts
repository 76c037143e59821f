// Resident memory over synchronous loops that dispose of nothing; see loops.mjs.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const KINDS = ['training', 'inference', 'losses', 'outputs'] as const;

export interface LoopReport {
  /** MB above the resident memory after 200 steps, at most. */
  rose: number;
  /** How many tensors were kept. */
  kept: number;
  /** Whether all of them still held what they held at first. */
  right: boolean;
}

export function loop(kind: (typeof KINDS)[number], steps: number): LoopReport {
  const script = fileURLToPath(new URL('./loops.mjs', import.meta.url));
  return JSON.parse(execFileSync(process.execPath, [script, kind, String(steps)], { encoding: 'utf8' }));
}

export function memoryLoops(steps = 20_000): Record<string, LoopReport> {
  return Object.fromEntries(KINDS.map((kind) => [kind, loop(kind, steps)]));
}
