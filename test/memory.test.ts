import { describe, expect, it } from 'vitest';
import { KINDS, loop } from '../bench/memory.js';

// Synchronous loops that never yield and never dispose, each in a process of its own. Twenty times as many steps come to
// the same (see docs/benchmarks.md): what is measured here is that memory does not grow with the steps.

describe('resident memory over 3,000 steps', () => {
  it.each(KINDS)('stays within 200 MB: %s', (kind) => {
    const { kept, right, rose } = loop(kind, 3000);
    expect(rose).toBeLessThan(200);
    expect(right).toBe(true);
    expect(kept).toBe({ training: 0, inference: 0, losses: 3000, outputs: 30 }[kind]);
  });
});
