import { describe, expect, it } from 'vitest';
import { startCpu } from '../src/backends/registry.js';
import { bernoulli, manualSeed, multinomial, ones, rand, randperm, type Tensor, tensor, zeros } from '../src/index.js';
import { uniform } from '../src/ops/random.js';
import { generator } from '../src/random.js';
import { errorOf, fallbackSteps } from './helpers.js';

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

describe('random choices', () => {
  const counts = (x: Tensor, n: number) => {
    const found = new Array<number>(n).fill(0);
    for (const v of x.dataSync()) found[v]++;
    return found;
  };
  it('bernoulli has the probabilities of its elements, and no gradient', () => {
    manualSeed(1);
    expect([...bernoulli(tensor([0, 1, 0, 1])).dataSync()]).toEqual([0, 1, 0, 1]);
    const p = tensor([0.2, 0.7], { requiresGrad: true }).expand([20000, 2]);
    const drawn = bernoulli(p);
    expect(drawn.requiresGrad).toBe(false);
    const [a, b] = drawn.mean(0).dataSync();
    expect(Math.abs(a - 0.2)).toBeLessThan(0.02);
    expect(Math.abs(b - 0.7)).toBeLessThan(0.02);
    expect([...drawn.dataSync()].every((v) => v === 0 || v === 1)).toBe(true);
  });
  it('a mask has a value with a probability', () => {
    manualSeed(2);
    const numbers = rand([999]).dataSync();
    manualSeed(2);
    const mask = uniform(ones([1]).backend, [999], 0.3, 5).dataSync();
    expect([...mask]).toEqual(Array.from(numbers, (u) => (u < Math.fround(0.3) ? 5 : 0)));
  });
  it('multinomial draws by the weights, with and without replacement', () => {
    manualSeed(3);
    const weights = tensor([1, 0, 3, 6]);
    const [a, b, c, d] = counts(multinomial(weights, 20000, { replacement: true }), 4);
    expect(b).toBe(0);
    for (const [n, share] of [[a, 0.1], [c, 0.3], [d, 0.6]]) expect(Math.abs(n / 20000 - share)).toBeLessThan(0.02); // biome-ignore format: one line
    const rows = multinomial(weights.expand([20000, 4]), 2);
    expect(rows.shape).toEqual([20000, 2]);
    const first = counts(rows.narrow(1, 0, 1), 4);
    for (const [n, share] of [[first[0], 0.1], [first[2], 0.3], [first[3], 0.6]]) expect(Math.abs(n / 20000 - share)).toBeLessThan(0.02); // biome-ignore format: one line
    expect(first[1]).toBe(0);
    // After the last, with 0.6, the first comes second with 1 / 4.
    const values = rows.dataSync();
    let [seen, after] = [0, 0];
    for (let i = 0; i < values.length; i += 2) {
      expect(values[i]).not.toBe(values[i + 1]);
      if (values[i] !== 3) continue;
      seen++;
      if (values[i + 1] === 0) after++;
    }
    expect(Math.abs(after / seen - 0.25)).toBeLessThan(0.02);
    expect([...multinomial(tensor([0, 2, 0]), 3).dataSync()].sort()).toEqual([0, 1, 2]);
    expect(multinomial(zeros([0, 3]), 2, { replacement: true }).shape).toEqual([0, 2]);
  });
  it.each(fallbackSteps)('are the same for a seed on $name', ({ start }) => {
    const on = (x: Tensor) => {
      manualSeed(4);
      return [bernoulli(x), multinomial(x, 3), multinomial(x, 9, { replacement: true })].map((t) => [...t.dataSync()]);
    };
    const p = rand([5, 20]).dataSync();
    const backend = start();
    const made = uniform(backend, [5, 20]);
    backend.write(made.storage, p);
    expect(on(made)).toEqual(on(tensor(p, { shape: [5, 20], device: 'reference' })));
  });
  it('randperm is an order of the numbers', () => {
    manualSeed(5);
    const order = randperm(1000).dataSync();
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect([...order.slice(0, 9)]).not.toEqual([...randperm(1000).dataSync().slice(0, 9)]);
    manualSeed(5);
    expect([...randperm(1000).dataSync()]).toEqual([...order]);
    expect(randperm(0).shape).toEqual([0]);
  });
  it.each([
    ['[bernoulli] the elements are from 0.5 to 1.5', () => bernoulli(tensor([0.5, 1.5]))],
    ['[bernoulli] the elements are from NaN', () => bernoulli(tensor([0.5, Number.NaN]))],
    ['[multinomial] the elements are from -1', () => multinomial(tensor([-1, 1]), 1)],
    ['[multinomial] the elements are from 1 to Infinity', () => multinomial(tensor([1, Infinity]), 1)],
    ['[multinomial] the weights of a row sum up to 0', () => multinomial(tensor([[1, 1], [0, 0]]), 1)], // biome-ignore format: one line
    ['[multinomial] 3 samples of 2 weights', () => multinomial(ones([2]), 3)],
    ['[multinomial] numSamples is 0', () => multinomial(ones([2]), 0)],
    ['[multinomial] weights of shape [2, 2, 2]', () => multinomial(ones([2, 2, 2]), 1)],
    ['[multinomial] weights of shape []', () => multinomial(ones([]), 1)],
    ["[multinomial] unknown option 'replace'", () => multinomial(ones([2]), 1, { replace: true } as never)],
    ['[randperm] n is -1', () => randperm(-1)],
    ['[randperm] n is 16777217', () => randperm(2 ** 24 + 1)],
  ])('%s', async (text, fn) => {
    expect((await errorOf(fn)).message).toContain(text);
  });
});
