import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { startCpu } from '../src/backends/registry.js';
import {
  arange,
  full,
  getNumThreads,
  manualSeed,
  nn,
  ones,
  rand,
  randn,
  type Tensor,
  tensor,
  useDevice,
  zeros,
} from '../src/index.js';
import { philox } from '../src/random.js';
import { errorOf, expectClose, withCpu } from './helpers.js';

describe('making tensors', () => {
  it('takes numbers, nested arrays and typed arrays', () => {
    expect(tensor(3).shape).toEqual([]);
    expect(
      tensor([
        [1, 2],
        [3, 4],
        [5, 6],
      ]).shape,
    ).toEqual([3, 2]);
    expect(tensor(Uint8Array.from([1, 255])).toArraySync()).toEqual([1, 255]);
    expect(tensor(new Float32Array(6), { shape: [2, 3] }).shape).toEqual([2, 3]);
    expect(tensor([Float32Array.of(1, 2), Float32Array.of(3, 4)] as never).toArraySync()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(arange(3).toArraySync()).toEqual([0, 1, 2]);
    expect(arange(1, 2, 0.25).toArraySync()).toEqual([1, 1.25, 1.5, 1.75]);
    expect(arange(3, 0, -1).toArraySync()).toEqual([3, 2, 1]);
    expect(full([2], 7).toArraySync()).toEqual([7, 7]);
    expect(zeros([1, 2]).toArraySync()).toEqual([[0, 0]]);
    expect(ones([2], { requiresGrad: true }).requiresGrad).toBe(true);
  });
  it.each<[string, () => unknown, string]>([
    ['ragged rows', () => tensor([[1, 2], [3]]), 'values[1] has 1 entries where 2 are expected'],
    ['uneven depth', () => tensor([[1, 2], 3] as never), 'values[1] is 3 where an array of 2 is expected'],
    ['deeper rows', () => tensor([1, [2]] as never), 'values[1] is [2]'],
    ['texts', () => tensor(['1'] as never), "values[0] is '1'"],
    ['a wrong size', () => tensor([1, 2, 3], { shape: [2, 2] }), '3 values for the shape [2, 2] of 4 elements'],
    ['a negative dimension', () => zeros([2, -1]), 'the dimension -1'],
    ['a fractional dimension', () => rand([1.5]), 'the dimension 1.5'],
    [
      'an unknown option',
      () => zeros([1], { requireGrad: true } as never),
      "unknown option 'requireGrad'; known options are requiresGrad, device",
    ],
    ['an unknown device', () => zeros([1], { device: 'tpu' as never }), "device is 'tpu'; pass one of"],
    ['a huge shape', () => zeros([65536, 65536]), '4294967296 elements'],
    ['bigints', () => tensor(new BigInt64Array(2) as never), 'BigInt64Array'],
    ['an endless range', () => arange(0, 1, -1), 'there are no numbers'],
    ['a seed that is no number', () => manualSeed(Number.NaN), 'seed is NaN'],
    ['a null', () => tensor(null as never), 'values is null'],
  ])('refuses %s', async (_, make, text) => {
    expect((await errorOf(make)).message).toContain(text);
  });
});

describe('bad operands', () => {
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  it.each<[string, () => unknown, string]>([
    [
      'matmul',
      () => x.matmul(x),
      '[matmul] shapes [2, 3] and [2, 3] cannot be multiplied: the inner dimensions are 3 and 2',
    ],
    ['matmul of a scalar', () => x.matmul(tensor(1)), 'a scalar is not a matrix'],
    ['matmul of vectors', () => tensor([1, 2]).matmul(tensor([1, 2, 3])), 'the inner dimensions are 2 and 3'],
    ['matmul of batches', () => zeros([2, 3, 4]).matmul(zeros([3, 4, 2])), 'cannot be broadcast'],
    ['add of text', () => x.add('1' as never), "operand 1 is '1'"],
    ['sum over 2', () => x.sum(2), '[sum] dim is 2 for a tensor of shape [2, 3]; pass an integer from -2 to 1'],
    ['sum over 0 and -2', () => x.sum([0, -2]), 'names dimension 0 twice'],
    ['sum over none', () => x.sum([]), 'empty array'],
    ['keepdim', () => x.sum(0, 1 as never), 'keepdim is 1'],
    ['argmax over two', () => x.argmax([0, 1] as never), '[argmax] dim is [0, 1]'],
    ['reshape', () => x.reshape([4]), 'cannot reshape [2, 3] (6 elements) to [4] (4)'],
    ['reshape with two -1', () => x.reshape([-1, -1]), 'shape[1] is -1'],
    ['reshape with a remainder', () => x.reshape([4, -1]), 'dividing the size'],
    ['t of a vector', () => tensor([1]).t(), '[t] a tensor of shape [1] is not a matrix'],
    ['transpose', () => x.transpose(0, 2), 'dim is 2'],
    ['softmax', () => tensor(1).softmax(1), 'a scalar has no dimensions'],
    ['item', () => x.itemSync(), 'has 6 elements'],
    [
      'devices',
      () => x.add(x.to('reference')),
      "the operands are on 'cpu' and 'reference'; move one of them, with .to('cpu')",
    ],
    [
      'requiresGrad on a result',
      () => {
        tensor([1], { requiresGrad: true }).add(1).requiresGrad = false;
      },
      'the result of add, not a leaf',
    ],
  ])('%s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});

describe('reading', () => {
  it('gives copies, at once or awaited', async () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ]);
    const data = await x.data();
    data[0] = 100;
    x.dataSync()[1] = 100;
    expect(await x.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(await x.sum().item()).toBe(10);
    expect(x.t().toArraySync()).toEqual([
      [1, 3],
      [2, 4],
    ]);
    expect([...x.t().dataSync()]).toEqual([1, 3, 2, 4]);
  });
  it('refuses a disposed tensor', async () => {
    const x = tensor([1]);
    x.dispose();
    expect((await errorOf(() => x.add(1))).message).toContain('has been disposed');
    expect((await errorOf(() => x.data())).message).toContain('dispose()');
    expect(String(x)).toContain('disposed');
  });
  it('keeps what shares a storage when one is disposed', () => {
    const x = tensor([[1, 2]]);
    const y = x.reshape([2]);
    x.dispose();
    expect(y.toArraySync()).toEqual([1, 2]);
  });
  it('prints like PyTorch', () => {
    expect(
      String(
        tensor([
          [1, 2],
          [3, 4],
        ]),
      ),
    ).toBe('tensor([[1., 2.],\n        [3., 4.]])');
    expect(String(tensor([0.5, -1.25]))).toBe('tensor([ 0.5000, -1.2500])');
    expect(String(tensor(2))).toBe('tensor(2.)');
    expect(String(tensor([1e-6, 1]))).toBe('tensor([1.0000e-06, 1.0000e+00])');
    expect(String(tensor([Number.NaN, Infinity, -Infinity, 1]))).toBe('tensor([ nan,  inf, -inf,   1.])');
    expect(inspect(tensor([1], { requiresGrad: true }))).toBe('tensor([1.], requiresGrad=true)');
    expect(String(tensor([1], { requiresGrad: true }).exp())).toBe('tensor([2.7183], op=exp)');
    expect(String(arange(2000))).toBe('tensor([   0.,    1.,    2., ..., 1997., 1998., 1999.])');
    expect(String(tensor([1], { device: 'reference' }))).toBe("tensor([1.], device='reference')");
  });
});

describe('random numbers', () => {
  it('follow Philox4x32-10, as its authors test it', () => {
    // Known answers from the Random123 distribution (kat_vectors).
    const out = new Uint32Array(4);
    philox(out, 0, 0, 0, 0, 0, 0, 0);
    expect([...out]).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const f = 0xffffffff;
    philox(out, 0, f, f, f, f, f, f);
    expect([...out]).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    philox(out, 0, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0);
    expect([...out]).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
  });
  it('are fixed by the seed, on every device', () => {
    const draw = (device: 'cpu' | 'reference') => {
      manualSeed(5);
      return [rand([7], { device }), randn([5], { device })].map((t) => [...t.dataSync()]);
    };
    expect(draw('cpu')).toEqual(draw('reference'));
    manualSeed(6);
    expect([...rand([7]).dataSync()]).not.toEqual(draw('cpu')[0]);
  });
  it('have the moments they should', () => {
    manualSeed(1);
    const u = rand([100_000]);
    const n = randn([100_000]);
    expect(u.min().itemSync()).toBeGreaterThanOrEqual(0);
    expect(u.max().itemSync()).toBeLessThan(1);
    expect(u.mean().itemSync()).toBeCloseTo(0.5, 2);
    expect(n.mean().itemSync()).toBeCloseTo(0, 1);
    expect(n.mul(n).mean().itemSync()).toBeCloseTo(1, 1);
  });
});

describe('devices', () => {
  it('say what was chosen and why', async () => {
    expect(await useDevice('cpu')).toEqual({
      type: 'cpu',
      backend: 'wasm-relaxed-simd',
      name: getNumThreads() === 1 ? 'one CPU thread' : `${getNumThreads()} CPU threads`,
      reason: 'WebAssembly SIMD with fused multiply-add is available',
    });
    expect((await errorOf(() => zeros([1], { device: 'gpu' }))).message).toContain("await useDevice('gpu') first");
    expect((await errorOf(() => useDevice('cuda' as never))).message).toContain("'auto', 'cpu', 'gpu'");
    const automatic = await useDevice('auto');
    if (automatic.type === 'cpu') {
      expect(automatic.reason).toMatch(/^no GPU: .+; WebAssembly SIMD with fused multiply-add is available$/);
      expect((await errorOf(() => useDevice('gpu'))).message).toMatch(
        /^\[useDevice\] .+; (run npm install|install the GPU)/,
      );
    }
    expect((await useDevice('cpu')).type).toBe('cpu');
  });
  it('fall back to plain JavaScript with the reason said, and run the same program', async () => {
    const run = () => {
      manualSeed(3);
      const model = new nn.Sequential(new nn.Linear(4, 3), new nn.ReLU(), new nn.Linear(3, 1));
      const loss = nn.functional.mseLoss(model.forward(randn([5, 4])), zeros([5, 1]));
      loss.backward();
      return model.parameters().map((p: Tensor) => [...p.grad!.dataSync()]);
    };
    const expected = run();
    await withCpu(startCpu({ obstacle: 'a test says so' }), async () => {
      expect((await useDevice('cpu')).reason).toBe('plain JavaScript, because a test says so');
      for (const [i, g] of run().entries()) expectClose(g, expected[i]);
    });
  });
  it('move tensors and modules, gradients included', () => {
    const x = tensor([1, 2], { requiresGrad: true });
    x.to('reference').mul(3).to('cpu').sum().backward();
    expect(x.grad!.device).toBe('cpu');
    expect(x.grad!.toArraySync()).toEqual([3, 3]);
    const model = new nn.Linear(2, 1).to('reference');
    expect(model.weight.device).toBe('reference');
    expect(model.forward(tensor([[1, 2]], { device: 'reference' })).device).toBe('reference');
  });
});
