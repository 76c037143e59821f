import { describe, expect, it } from 'vitest';
import { CpuBackend } from '../src/backends/cpu/index.js';
import type { KernelLibrary } from '../src/backends/cpu/library.js';
import { data, fit, gradcheck, manualSeed, nn, optim, rand, type Tensor, tensor, zerosLike } from '../src/index.js';
import { load, save } from '../src/io/index.js';
import { dispatch } from '../src/ops/dispatch.js';
import { fusedRow, update, updateRow } from '../src/ops/fused.js';
import type { NamedGeneral } from '../src/ops/row.js';
import { Optimizer, type ParameterState } from '../src/optim/optimizer.js';
import { SCALAR } from '../src/shape.js';
import { errorOf, sampleTensor, withCpu } from './helpers.js';

// What a new fused operation and a new optimizer take: a row here, a kernel where one is worth it, and nothing else. In the
// library a row would stand in one file of src/ops or src/optim, its kernels in kernels/wasm and src/backends/gpu/fused.ts.

/** Σ (x + shift)⁴. */
const quartic: NamedGeneral<number> = fusedRow('quartic', {
  shape: () => SCALAR,
  bounds: ([x]) => [x.size],
  numbers: (shift) => [shift],
  steps: () => null,
  flops: ([n]) => 4 * n,
  cost: () => 0.5,
  saves: 'inputs',
  grad: (g, node, shift) => [g.mul(node.input(0).add(shift).pow(3)).mul(4)],
  equals: ([x], shift) => x.add(shift).pow(4).sum(),
});

/** Its kernel on the CPU, in a library of its own. */
let calls = 0;
const library = (memory: WebAssembly.Memory): KernelLibrary => ({
  find: (name) =>
    name !== 'quartic'
      ? undefined
      : (x, out, n, shift) => {
          calls++;
          const floats = new Float32Array(memory.buffer);
          let sum = 0;
          for (let i = 0; i < n; i++) sum += (floats[x / 4 + i] + shift) ** 4;
          floats[out / 4] = sum;
          return 0;
        },
});

interface SignOptions {
  lr: number;
  momentum?: number;
}

/** m ← momentum m + (1 - momentum) g; p ← p - lr sign(m). */
const row = updateRow({
  name: 'signMomentum',
  changes: [0, 2],
  flops: () => 6,
  equals: ([p, g, m], [lr, momentum]) => {
    const next = m!.mul(momentum).add(g!.mul(1 - momentum));
    return [p!.sub(next.gt(0).sub(next.lt(0)).mul(lr)), next];
  },
});

class SignMomentum extends Optimizer<SignOptions> {
  constructor(parameters: Iterable<Tensor>, options: SignOptions) {
    const check = (_: string, { lr, momentum = 0.9 }: SignOptions) => ({ lr, momentum });
    super('SignMomentum', check, { average: 'like parameter' }, parameters, options);
  }

  protected override update(
    p: Tensor,
    g: Tensor,
    state: ParameterState,
    { lr, momentum }: Required<SignOptions>,
    guard: Tensor | null,
  ): void {
    const average = this.initState(p, state, 'average', () => zerosLike(p));
    update(row, [p, g, average], [lr, momentum], guard);
  }
}

describe('a fused operation of one row', () => {
  const call = (x: Tensor) => dispatch(quartic, [x], 0.5);
  it.each(['cpu', 'reference'] as const)('runs its composition on %s, where there is no kernel', (device) => {
    expect(call(tensor([0.5, 1.5], { device })).itemSync()).toBe(17);
    expect(
      call(
        tensor([[0.5, 1.5]], { device })
          .t()
          .narrow(0, 1, 1),
      ).itemSync(),
    ).toBe(16);
  });
  it('has derivatives', () => {
    gradcheck(call, [sampleTensor([2, 3], [-1, 1], 1, 'cpu', true)], { secondOrder: true });
  });
  it('runs the kernel of a library that is put in front, with the same result', async () => {
    const x = sampleTensor([40], [-1, 1]);
    const expected = call(x).itemSync();
    await withCpu(new CpuBackend('wasm-simd', 1, [library]), () => {
      const y = call(tensor(x.dataSync()));
      expect(calls).toBe(1);
      expect(y.itemSync()).toBeCloseTo(expected, 4);
      expect(tensor([1, 2]).add(1).toArraySync()).toEqual([2, 3]);
    });
  });
});

describe('an optimizer of one row', () => {
  const setting = () => {
    manualSeed(1);
    const layer = new nn.Linear(2, 1);
    const x = rand([16, 2]);
    const y = x.sum(1, true);
    return { layer, x, y, loss: () => nn.functional.mseLoss(layer.forward(x), y) };
  };
  const steps = (optimizer: SignMomentum, loss: () => Tensor, n: number) => {
    for (let i = 0; i < n; i++) {
      optimizer.zeroGrad();
      loss().backward();
      optimizer.step();
    }
  };
  it('follows its rule', () => {
    const p = tensor([1, 2], { requiresGrad: true });
    const optimizer = new SignMomentum([p], { lr: 0.5, momentum: 0.5 });
    p.grad = tensor([4, -4]);
    optimizer.step();
    expect([p.toArraySync(), optimizer.stateDict()['average.0'].toArraySync()]).toEqual([
      [0.5, 2.5],
      [2, -2],
    ]);
  });
  it('trains, also in fit, and keeps its state through a file', async () => {
    const { layer, x, y, loss } = setting();
    const optimizer = new SignMomentum(layer.parameters(), { lr: 0.01 });
    const before = loss().itemSync();
    steps(optimizer, loss, 30);
    expect(loss().itemSync()).toBeLessThan(before / 2);
    const path = `${process.env.TMPDIR ?? '/tmp'}/sign-momentum-${process.pid}.safetensors`;
    await save({ ...layer.stateDict(), ...optimizer.stateDict() }, path);
    const other = new nn.Linear(2, 1);
    const { weight, bias, ...state } = await load(path);
    other.loadStateDict({ weight, bias });
    const resumed = new SignMomentum(other.parameters(), { lr: 1 });
    resumed.loadStateDict(state);
    steps(optimizer, loss, 3);
    steps(resumed, () => nn.functional.mseLoss(other.forward(x), y), 3);
    expect(other.weight.toArraySync()).toEqual(layer.weight.toArraySync());
    const loader = new data.DataLoader(new data.TensorDataset(x, y), { batchSize: 8 });
    const history = await fit(layer, { train: loader, loss: new nn.MSELoss(), optimizer, epochs: 2, progress: false });
    expect(history.epochs).toHaveLength(2);
  });
  it('obeys a guard, and refuses the state of another optimizer', async () => {
    const { layer, loss } = setting();
    const optimizer = new SignMomentum(layer.parameters(), { lr: 0.01 });
    loss().backward();
    const before = layer.weight.toArraySync();
    optimizer.step({ guard: tensor(Number.NaN) });
    expect(layer.weight.toArraySync()).toEqual(before);
    const sgd = new optim.SGD(layer.parameters(), { lr: 1, momentum: 0.5 });
    sgd.step();
    expect((await errorOf(() => optimizer.loadStateDict(sgd.stateDict()))).message).toContain('velocity.0');
  });
});
