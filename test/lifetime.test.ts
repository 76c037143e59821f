import { describe, expect, it } from 'vitest';
import { CpuBackend } from '../src/backends/cpu/index.js';
import { backendOf } from '../src/backends/registry.js';
import { memory, nn, noGrad, ones, optim, rand, type Tensor } from '../src/index.js';
import { errorOf, withCpu } from './helpers.js';

// Storages that the library knows to be dead are freed at once. Nothing here is large enough to be evicted, so the blocks of
// the heap are those that were made less those that were freed; tensors that a test still holds count.

const blocks = () => memory('cpu').blocks;

/** By how many blocks a function leaves the heap fuller. */
function growth(fn: () => unknown): number {
  const before = blocks();
  fn();
  return blocks() - before;
}

describe('freed at once', () => {
  it('are the gradients that a backward pass computes on its way', () => {
    const x = rand([8], { requiresGrad: true });
    let y: Tensor = x;
    for (let i = 0; i < 20; i++) y = y.tanh();
    const loss = y.sum();
    // What stays is the gradient of x.
    expect(growth(() => loss.backward())).toBe(1);
  });
  it('are gradients of leaves that nobody has read, by zeroGrad and by the next backward', () => {
    const x = rand([8], { requiresGrad: true });
    const optimizer = new optim.SGD([x], { lr: 0.1 });
    x.mul(x).sum().backward();
    expect(growth(() => optimizer.zeroGrad())).toBe(-1);
    const losses = [1, 2, 3].map((k) => x.mul(k).sum());
    losses[0].backward();
    expect(growth(() => losses[1].backward())).toBe(0);
    const seen = x.grad!;
    expect(growth(() => losses[2].backward())).toBe(1);
    expect(seen.toArraySync()).toEqual(Array(8).fill(3));
    optimizer.zeroGrad();
    expect(seen.toArraySync()).toEqual(Array(8).fill(3));
  });
  it('are activations between the layers of a Sequential: at once without a graph, and with it by backward', () => {
    const layers = [0, 1, 2, 3].flatMap(() => [new nn.Linear(8, 8), new nn.Tanh()]);
    const model = new nn.Sequential(...layers);
    const x = rand([4, 8]);
    expect(growth(() => noGrad(() => model.forward(x)))).toBe(1);
    model.forward(x).sum().backward();
    // Of eight results the last one and the sum stay.
    expect(growth(() => model.forward(x).sum().backward())).toBe(2);
  });
  it('are copies of operands that a kernel could not read where they lie', () => {
    const x = rand([5, 7]);
    const view = x.narrow(1, 1, 4).t();
    expect(growth(() => view.neg())).toBe(1);
    expect(growth(() => view.softmax(1))).toBe(1);
    expect(growth(() => view.sum(0))).toBe(1);
    expect(growth(() => view.dataSync())).toBe(0);
    expect(growth(() => rand([2, 3, 4]).sum([0, 2]))).toBe(2);
    const labels = ones([4]);
    expect(growth(() => nn.functional.crossEntropy(view, labels))).toBe(1);
  });
  it('are copies of operands of an operation that failed, by the next one', () => {
    const view = rand([5, 7]).t();
    const { backend } = view;
    const unary = backend.unary;
    backend.unary = () => {
      throw new Error('a kernel that fails');
    };
    const before = blocks();
    expect(() => view.neg()).toThrow('a kernel that fails');
    backend.unary = unary;
    expect(blocks() - before).toBe(1);
    expect(growth(() => view.neg())).toBe(0);
  });
  it('is what was disposed of, unless a view needs it', () => {
    const x = rand([4]);
    const view = x.narrow(0, 1, 2);
    expect(growth(() => x.dispose())).toBe(0);
    expect(view.shape).toEqual([2]);
    const y = rand([4]);
    expect(growth(() => y.dispose())).toBe(-1);
  });
  it('leaves a training step with its results only', () => {
    const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 1));
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    const [x, y] = [rand([16, 4]), rand([16, 1])];
    const step = () => {
      const loss = nn.functional.mseLoss(model.forward(x), y);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
    };
    step();
    // The model's output and the loss, which code outside the library could hold.
    expect(growth(() => Array.from({ length: 10 }, step))).toBe(20);
  });
});

describe('a pinned block', () => {
  const n = 50_000;
  /** Fills the heap until everything that can move has moved. */
  const churn = (backend: CpuBackend) => {
    for (let i = 0; i < 400; i++) backend.fill(n, i);
  };
  it('stays at its address for as long as it is pinned, and may move afterwards', async () => {
    const backend = new CpuBackend('wasm-simd');
    const [pinned, other] = [backend.fill(n, 7), backend.fill(n, 8)];
    const address = backend.pin(pinned);
    expect(backend.pin(pinned)).toBe(address);
    const start = backend.pin(other);
    backend.unpin(other);
    churn(backend);
    expect(backend.pin(pinned)).toBe(address);
    // The other one was evicted, and is brought back to another place.
    expect(backend.pin(other)).not.toBe(start);
    backend.write(pinned, new Float32Array(n).fill(9));
    expect([backend.pin(pinned), backend.readSync(pinned)[n - 1], backend.readSync(other)[0]]).toEqual([address, 9, 8]);
    for (let i = 0; i < 4; i++) backend.unpin(pinned);
    churn(backend);
    expect(backend.pin(pinned)).not.toBe(address);
    backend.unpin(pinned);
    const error = await errorOf(() => backend.unpin(pinned));
    expect(error.message).toContain('is not pinned');
  });
  it('is freed only when it is unpinned', () => {
    const backend = new CpuBackend('wasm-simd');
    const x = backend.fill(n, 7);
    const address = backend.pin(x);
    const before = backend.memory().blocks;
    backend.free(x);
    expect(backend.memory().blocks).toBe(before);
    const next = backend.fill(n, 1);
    expect(backend.pin(next)).not.toBe(address);
    backend.unpin(x);
    expect(backend.memory().blocks).toBe(before);
    expect(backend.pin(backend.fill(n, 2))).toBe(address);
  });
  it('leaves room for tensors around it', async () => {
    await withCpu(new CpuBackend('wasm-simd'), () => {
      const backend = backendOf('cpu') as CpuBackend;
      const held = rand([n]);
      const expected = held.sum().itemSync();
      backend.pin(held.storage);
      let x = rand([n]);
      for (let i = 0; i < 300; i++) x = x.mul(0.5).add(held);
      expect(held.sum().itemSync()).toBe(expected);
      expect(Number.isFinite(x.sum().itemSync())).toBe(true);
    });
  });
});
