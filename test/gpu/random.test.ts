import { afterEach, describe, expect } from 'vitest';
import { backendOf } from '../../src/backends/registry.js';
import { compile, manualSeed, rand, type Tensor, useDevice, zeros } from '../../src/index.js';
import { uniform } from '../../src/ops/random.js';
import { generator } from '../../src/random.js';
import { onGpu } from './device.js';

afterEach(() => useDevice('cpu'));

describe('random numbers of the GPU', () => {
  onGpu('are those of rand', async () => {
    await useDevice('gpu');
    for (const [seed, block] of [
      [7, 0],
      [-1, 5],
      [2 ** 40 + 5, 2 ** 32 - 3],
      [123456789, 0xffff],
    ]) {
      generator.state = { seed, block };
      const expected = await rand([1037], { device: 'reference' }).data();
      const after = generator.state;
      generator.state = { seed, block };
      const got = await uniform(backendOf('gpu'), [1037]).data();
      expect([...got]).toEqual([...expected]);
      expect(generator.state).toEqual(after);
    }
  });
  onGpu('are other ones at every replay of a compiled step, and those of the step itself', async () => {
    await useDevice('gpu');
    const step = (x: Tensor) => {
      const mask = uniform(x.backend, x.shape, 0.7, 2);
      return x.add(mask).add(uniform(x.backend, [3]));
    };
    const program = async (run: (x: Tensor) => Tensor) => {
      const seen: number[][] = [];
      manualSeed(11);
      for (let i = 0; i < 6; i++) {
        if (i === 3) rand([5]);
        if (i === 5) manualSeed(2 ** 33 + 1);
        seen.push([...(await run(zeros([5, 3])).data())]);
      }
      return seen;
    };
    const expected = await program(step);
    expect(new Set(expected.map(String)).size).toBe(6);
    const compiled = compile(step);
    expect(await program(compiled)).toEqual(expected);
    expect([compiled.recordings, compiled.replays]).toEqual([1, 4]);
  });
});
