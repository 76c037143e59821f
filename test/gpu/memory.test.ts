import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it } from 'vitest';
import { BufferPool, type GpuBuffer, RESULT } from '../../src/backends/gpu/pool.js';
import { Verdicts } from '../../src/backends/gpu/verdicts.js';
import { manualSeed, memory, nn, optim, randn, useDevice } from '../../src/index.js';
import { onGpu } from './device.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

afterEach(() => useDevice('cpu'));

/** What the device holds once all garbage has been collected. */
async function live() {
  for (let i = 0; i < 5; i++) {
    collect();
    await sleep(10);
  }
  return memory('gpu');
}

describe('memory on the GPU', () => {
  onGpu('is the same after 2,000 training steps, without dispose', async () => {
    await useDevice('gpu');
    manualSeed(1);
    const model = new nn.Sequential(new nn.Linear(10, 5), new nn.ReLU(), new nn.Linear(5, 1));
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    const [x, y] = [randn([100, 10]), randn([100, 1])];
    let most = 0;
    const train = async (steps: number) => {
      for (let i = 0; i < steps; i++) {
        const loss = nn.functional.mseLoss(model.forward(x), y);
        loss.backward();
        optimizer.step();
        optimizer.zeroGrad();
        if (i % 10 === 9) await loss.item();
        most = Math.max(most, memory('gpu').blocks);
      }
    };
    await train(100);
    const before = await live();
    expect(before.blocks).toBeGreaterThan(8);
    most = 0;
    await train(2000);
    expect(await live()).toEqual(before);
    // What waits for a collection of garbage is limited, too: to the allowance of pressure.ts above what the last collection left.
    // A busy machine collects late; without a limit there would be some 40,000.
    expect(most).toBeLessThan(before.blocks + 4000);
  });
  onGpu('is given back by what was dropped', async () => {
    await useDevice('gpu');
    const before = await live();
    await (async () => {
      const x = randn([1000]);
      const y = x.add(1);
      await y.data();
      // One of the two buffers may have waited for use.
      expect(memory('gpu').bytes).toBeGreaterThan(before.bytes + 4000);
    })();
    // A kernel keeps its last result until its next call.
    expect((await live()).bytes).toBeLessThanOrEqual(before.bytes + 2 * 4096);
  });
});

describe('the pool of buffers', () => {
  const verdicts = new Verdicts();
  const newPool = () => new BufferPool(verdicts, (op, message) => new Error(`${op}: ${message}`));

  /** A device whose memory ends after so many buffers. */
  function device(most: number) {
    const made: GpuBuffer[] = [];
    return {
      made,
      pushErrorScope() {},
      popErrorScope: async () => (made.length > most ? { message: 'out of memory' } : null),
      createBuffer({ size, usage }: { size: number; usage: number }): GpuBuffer {
        const buffer = { size, usage, destroy() {} };
        made.push(buffer);
        return buffer;
      },
    };
  }
  it('uses a buffer again for what has about its size', () => {
    const pool = newPool();
    const fake = device(9);
    const buffers = pool.over(fake);
    const a = buffers.createBuffer({ size: 300, usage: RESULT });
    expect(pool.live).toEqual({ blocks: 1, bytes: 512 });
    a.destroy();
    expect(pool.live).toEqual({ blocks: 0, bytes: 0 });
    expect(buffers.createBuffer({ size: 400, usage: RESULT })).toBe(a);
    expect(buffers.createBuffer({ size: 400, usage: RESULT })).not.toBe(a);
    expect(fake.made).toHaveLength(2);
  });
  it('does not touch buffers that are made for something else', () => {
    const pool = newPool();
    const fake = device(9);
    const buffers = pool.over(fake);
    expect(buffers.createBuffer({ size: 300, usage: 1 }).size).toBe(300);
    expect(pool.live.blocks).toBe(0);
  });
  it('keeps what a capture has, also when it is given back', () => {
    const pool = newPool();
    const fake = device(9);
    const buffers = pool.over(fake);
    const a = buffers.createBuffer({ size: 256, usage: RESULT });
    pool.keep(a);
    a.destroy();
    expect(buffers.createBuffer({ size: 256, usage: RESULT })).not.toBe(a);
    pool.release(a);
    expect(buffers.createBuffer({ size: 256, usage: RESULT })).toBe(a);
  });
  it('says when the device has no memory left', async () => {
    const pool = newPool();
    const fake = device(1);
    const buffers = pool.over(fake);
    const good = buffers.createBuffer({ size: 256, usage: RESULT });
    expect(verdicts.active).toBe(true);
    expect(await verdicts.errorOf(good)).toBe(null);
    expect(verdicts.active).toBe(false);
    expect(verdicts.errorOf(good)).toBe(null);
    pool.op = 'matmul';
    const bad = buffers.createBuffer({ size: 512, usage: RESULT });
    pool.op = 'add'; // what was queued before the report
    expect((await verdicts.errorOf(bad))?.message).toBe('matmul: no memory for 512 bytes: out of memory');
    expect(await verdicts.errorOf(good)).toBe(null);
    // It is not used again.
    bad.destroy();
    good.destroy();
    expect(buffers.createBuffer({ size: 512, usage: RESULT })).not.toBe(bad);
    expect(buffers.createBuffer({ size: 256, usage: RESULT })).toBe(good);
  });
});
