import { describe, expect, it } from 'vitest';
import { startCpu } from '../src/backends/registry.js';
import { manualSeed, rand } from '../src/index.js';
import { uniform } from '../src/ops/random.js';
import { generator } from '../src/random.js';
import { fallbackSteps } from './helpers.js';

const sizes = [1, 2, 3, 4, 5, 13, 16, 17, 1000];

describe('numbers that a device draws', () => {
  it.each(fallbackSteps)('are those of rand on $name', ({ start }) => {
    const backend = start();
    for (const seed of [7, -1, 2 ** 40 + 5]) {
      manualSeed(seed);
      const expected = sizes.map((n) => [...rand([n], { device: 'reference' }).dataSync()]);
      manualSeed(seed);
      expect(sizes.map((n) => [...uniform(backend, [n]).dataSync()])).toEqual(expected);
    }
  });
  it.each(fallbackSteps)('go on beyond 2^32 blocks on $name', ({ start }) => {
    const backend = start();
    for (const block of [2 ** 32 - 1, 2 ** 32 - 2, 2 ** 32 - 6, 2 ** 33 + 3]) {
      generator.state = { seed: 5, block };
      const expected = [...rand([37], { device: 'reference' }).dataSync()];
      generator.state = { seed: 5, block };
      expect([...uniform(backend, [37]).dataSync()]).toEqual(expected);
    }
  });
  it('do not depend on the number of threads', async () => {
    const backend = startCpu({ build: 'wasm-simd' });
    const n = 1_000_003;
    manualSeed(3);
    const expected = generator.uniform(new Float32Array(n));
    backend.threads = 4;
    for (let i = 0; i < 4; i++) {
      manualSeed(3);
      const got = uniform(backend, [n]).dataSync();
      expect(Buffer.compare(Buffer.from(got.buffer), Buffer.from(expected.buffer))).toBe(0);
      await new Promise((go) => setTimeout(go, 50));
    }
  });
});
