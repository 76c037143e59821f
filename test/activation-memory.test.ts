import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeEach, describe, expect, it } from 'vitest';
import { autograd, checkpoint, manualSeed, memory, nn, rand, randn, type Tensor } from '../src/index.js';

// Beside activation-checkpoint.test.ts: these tests observe the garbage collector, and the mutation runs do without them.

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** What checkpoint is compared with. */
const plainly: typeof checkpoint = (fn, ...inputs) => fn(...inputs);

beforeEach(() => manualSeed(1));

describe('the memory of checkpoints', () => {
  /** Bytes of arrays that somebody still holds. */
  const live = () => {
    gc();
    gc();
    return process.memoryUsage().arrayBuffers;
  };
  /** Arrays are given back by another thread, some time after the collection. */
  const settled = async () => {
    for (let last = -1; last !== live(); ) {
      last = live();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  beforeEach(settled);
  /** The live bytes after forward, and the most in backward, above those before; in units of one activation. */
  function measure(wrap: typeof checkpoint): { forward: number; backward: number; runs: number } {
    const size = 2 ** 16;
    let most = 0;
    let runs = 0;
    const probe = autograd.customFunction({
      forward: (_, t: Tensor) => t,
      backward(_, g) {
        most = Math.max(most, live());
        return g;
      },
    });
    const layer = (t: Tensor) => {
      runs++;
      return probe(t).tanh().mul(t).sigmoid();
    };
    const stage = (t: Tensor) => layer(layer(layer(layer(t))));
    const x = rand([size], { device: 'reference', requiresGrad: true });
    const before = live();
    let h = x;
    for (let i = 0; i < 4; i++) h = wrap(stage, h);
    const loss = h.sum();
    const forward = live() - before;
    loss.backward();
    return { forward: forward / size / 4, backward: (most - before) / size / 4, runs };
  }
  it('falls to the inputs after forward, and to one stage more in backward', async () => {
    const plain = measure(plainly);
    await settled();
    const kept = measure(checkpoint);
    // Two values a layer, of 16 layers, against one a stage, of 4; in backward the 8 values of one stage besides.
    expect(plain.forward).toBeCloseTo(32, 0);
    expect(kept.forward).toBeCloseTo(4, 0);
    expect(plain.backward).toBeGreaterThan(31);
    expect(kept.backward).toBeLessThan(13);
    expect([plain.runs, kept.runs]).toEqual([16, 32]);
  });
  it('falls further where they are nested', async () => {
    const nested = (fn: (t: Tensor) => Tensor, t: Tensor) => checkpoint((u) => checkpoint(fn, checkpoint(fn, u)), t);
    const twice = (fn: (t: Tensor) => Tensor, t: Tensor) => checkpoint((u) => fn(fn(u)), t);
    const flat = measure(twice as typeof checkpoint);
    await settled();
    const deep = measure(nested as typeof checkpoint);
    // Stages of 8 layers, with the 16 values of one of them, or the 8 of its half and the input of that.
    expect(deep.forward).toBeCloseTo(4, 0);
    expect(flat.backward).toBeGreaterThan(16);
    expect(deep.backward).toBeLessThan(14);
  });
  it('is not held for results whose gradient nobody asked for', () => {
    const x = rand([2 ** 16], { device: 'reference', requiresGrad: true });
    const fn = (t: Tensor) => [t.exp(), t.tanh().sigmoid().exp().tanh().sum()] as const;
    const [used, other] = checkpoint(fn, x);
    const before = live();
    used.sum().backward();
    x.grad = null;
    expect((live() - before) / 2 ** 18).toBeLessThan(1.5);
    other.backward();
    expect(x.grad).not.toBeNull();
  });
  it('is given back at once between the layers of a Sequential', () => {
    const model = new nn.Sequential(...Array.from({ length: 8 }, () => [new nn.Linear(64, 64), new nn.Tanh()]).flat());
    const x = randn([256, 64]);
    const bytes = 256 * 64 * 4;
    const grows = (run: () => Tensor) => {
      const before = memory('cpu').bytes;
      const loss = run().sum();
      const after = memory('cpu').bytes - before;
      loss.backward();
      return [after / bytes, (memory('cpu').bytes - before) / bytes];
    };
    model.forward(x).sum().backward(); // makes the gradients
    const [plain] = grows(() => model.forward(x));
    const [kept, end] = grows(() => checkpoint((t) => model.forward(t), x));
    expect(plain).toBeGreaterThan(7);
    expect(kept).toBeLessThan(2);
    expect(end).toBeLessThan(4);
  });
});
