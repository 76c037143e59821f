import { afterEach, describe, expect, it } from 'vitest';
import {
  arange,
  compile,
  data,
  full,
  nn,
  noGrad,
  ones,
  optim,
  randn,
  type Tensor,
  tensor,
  useDevice,
  zeros,
} from '../src/index.js';
import { fromSafetensors, toSafetensors } from '../src/io/index.js';
import { onGpu } from './gpu/device.js';

// Programs that combine views, changes in place, compile, devices and tensors without elements.

afterEach(() => useDevice('cpu'));

/** The results of a program with compiled steps and with steps as they are. */
async function both<T>(program: (wrap: typeof compile) => Promise<T>): Promise<{ compiled: T; asIs: T }> {
  await useDevice('gpu');
  const asIs = await program(((step: unknown) => step) as typeof compile);
  await useDevice('gpu');
  return { compiled: await program(compile), asIs };
}

/** A step that trains w to make the mean of x wᵀ small. */
function training(wrap: typeof compile, w: Tensor, optimizer: optim.SGD, change: () => void = () => {}) {
  return wrap((x: Tensor) => {
    const loss = x.matmul(w.t()).mean();
    loss.backward();
    change();
    optimizer.step();
    optimizer.zeroGrad();
    return loss;
  });
}

describe('gradients', () => {
  // No dimension is summed then, and what is returned is a temporary that dispatch would free.
  it('of an operand that got a leading dimension of 1 survives when it comes from a view', () => {
    const x = tensor([[1, 2, 3], [4, 5, 6]], { requiresGrad: true }); // biome-ignore format: one line
    const weights = tensor([[[1, 2], [3, 4], [5, 6]]]); // biome-ignore format: one line
    x.add(zeros([1, 2, 3]))
      .transpose(1, 2)
      .mul(weights)
      .sum()
      .backward();
    expect(x.grad!.toArraySync()).toEqual([[1, 3, 5], [2, 4, 6]]); // biome-ignore format: one line
  });

  it('with createGraph have numbers of their own', () => {
    const [a, b] = [tensor([1, 2], { requiresGrad: true }), tensor([1, 2], { requiresGrad: true })];
    const seed = ones([2]);
    a.add(b).backward(seed, { createGraph: true });
    noGrad(() => a.grad!.copyFrom(zeros([2])));
    expect([b.grad!.toArraySync(), seed.toArraySync()]).toEqual([[1, 1], [1, 1]]); // biome-ignore format: one line
  });
  it('with createGraph can be changed in place', () => {
    const a = tensor([1, 2], { requiresGrad: true });
    a.sum().backward(undefined, { createGraph: true });
    noGrad(() => a.grad!.copyFrom(tensor([5, 6])));
    expect(a.grad!.toArraySync()).toEqual([5, 6]);
  });

  it('reach every leaf again after a backward that failed at the end', () => {
    const [a, b] = [tensor([2], { requiresGrad: true }), tensor([3], { requiresGrad: true })];
    a.mul(b).backward();
    a.grad!.dispose();
    expect(() => a.mul(b).backward()).toThrow('disposed');
    a.grad = null;
    b.grad = null;
    a.mul(b).backward();
    expect([a, b].map((t) => t.grad?.toArraySync())).toEqual([[3], [2]]);
  });
});

describe('changes in place', () => {
  // Fetching the source may evict a result whose copy-on-write block is the target's.
  it('leave results alone that are evicted meanwhile', () => {
    const size = 2 ** 20;
    const wrong: number[] = [];
    for (let extra = 0; extra < 12; extra++) {
      const source = full([size], 7);
      const between = Array.from({ length: 6 }, (_, i) => full([size], i));
      const target = ones([size]);
      const result = target.mul(2);
      const after = Array.from({ length: extra }, (_, i) => full([size / 4], i));
      target.copyFrom(source);
      if (result.select(0, 0).itemSync() !== 2) wrong.push(extra);
      expect(between.length + after.length).toBe(6 + extra);
    }
    expect(wrong).toEqual([]);
  });

  it('refuse parameters whose elements share one number', () => {
    class Model extends nn.Module {
      w = new nn.Parameter(ones([1]).expand([2]));
      override forward(): void {}
    }
    expect(() => new Model().loadStateDict({ w: tensor([1, 2]) })).toThrow('share one number');
    expect(() => nn.init.uniform(ones([1]).expand([2]))).toThrow('share one number');
    const { w } = new Model();
    w.grad = tensor([1, 2]);
    expect(() => new optim.SGD([w], { lr: 1 }).step()).toThrow('share one number');
  });
  it('of no elements are none, whatever the layout', () => {
    const x = zeros([1]).expand([3, 0]);
    expect(() => x.copyFrom(zeros([3, 0]))).not.toThrow();
  });

  // The velocity may be the gradient itself, which may share the storage of the parameter that is written first.
  it('of an optimizer do not depend on the device where the gradient shares the parameter', () => {
    const run = (device: 'cpu' | 'reference') => {
      const p = new nn.Parameter(ones([1], { device }));
      const optimizer = new optim.SGD([p], { lr: 0.5, momentum: 0.5 });
      p.grad = p.detach();
      optimizer.step();
      optimizer.step();
      return p.itemSync();
    };
    expect(run('reference')).toBe(run('cpu'));
  });
});

describe('compile', () => {
  onGpu('goes together with select, whose gradient is put into zeros', async () => {
    const { compiled, asIs } = await both(async (wrap) => {
      const w = new nn.Parameter(ones([2, 3]));
      const optimizer = new optim.SGD([w], { lr: 0.1 });
      const step = wrap((x: Tensor) => {
        const loss = x.matmul(w.t()).select(1, 0).mean();
        loss.backward();
        optimizer.step();
        optimizer.zeroGrad();
        return loss;
      });
      for (let i = 0; i < 4; i++) await step(ones([4, 3])).item();
      return w.toArray();
    });
    expect(compiled).toEqual(asIs);
  });
  onGpu('goes together with copyFrom into what the step made', async () => {
    const { compiled, asIs } = await both(async (wrap) => {
      const step = wrap((x: Tensor) => {
        const y = zeros([2]);
        y.copyFrom(x);
        return y.mul(1);
      });
      const seen = [];
      for (let i = 1; i < 5; i++) seen.push(await step(full([2], i)).toArray());
      return seen;
    });
    expect(compiled).toEqual(asIs);
  });
  onGpu('goes together with copyFrom into a gradient', async () => {
    const { compiled, asIs } = await both(async (wrap) => {
      const w = new nn.Parameter(ones([1, 3]));
      const step = training(wrap, w, new optim.SGD([w], { lr: 0.1 }), () => w.grad!.copyFrom(w.grad!.mul(0.5)));
      for (let i = 0; i < 4; i++) await step(ones([1, 3])).item();
      return w.toArray();
    });
    expect(compiled).toEqual(asIs);
  });

  onGpu('notices optimizer.loadStateDict', async () => {
    const { compiled, asIs } = await both(async (wrap) => {
      const w = new nn.Parameter(ones([1, 3]));
      const optimizer = new optim.SGD([w], { lr: 0.1, momentum: 0.9 });
      const step = training(wrap, w, optimizer);
      await step(ones([1, 3])).item();
      const state = optimizer.stateDict();
      for (let i = 0; i < 3; i++) await step(ones([1, 3])).item();
      optimizer.loadStateDict(state);
      for (let i = 0; i < 2; i++) await step(ones([1, 3])).item();
      return [await w.toArray(), await optimizer.stateDict()['velocity.0'].toArray()];
    });
    expect(compiled).toEqual(asIs);
  });
  // A replay holds storages, which Module.to replaces.
  onGpu('notices a model that was away and came back', async () => {
    const { compiled, asIs } = await both(async (wrap) => {
      const layer = new nn.Linear(3, 1);
      nn.init.ones(layer.weight);
      const optimizer = new optim.SGD([layer.weight], { lr: 0.1 });
      const step = training(wrap, layer.weight, optimizer);
      for (let i = 0; i < 3; i++) await step(ones([1, 3])).item();
      await useDevice('cpu');
      layer.to('cpu');
      await useDevice('gpu');
      layer.to('gpu');
      for (let i = 0; i < 2; i++) await step(ones([1, 3])).item();
      return layer.weight.toArray();
    });
    expect(compiled).toEqual(asIs);
  });
  onGpu('trains parameters that are views', async () => {
    const { compiled, asIs } = await both(async (wrap) => {
      const w = new nn.Parameter(ones([3, 2]).t());
      const step = training(wrap, w, new optim.SGD([w], { lr: 0.1, momentum: 0.9 }));
      for (let i = 0; i < 4; i++) await step(ones([1, 3])).item();
      return w.toArray();
    });
    expect(compiled).toEqual(asIs);
  });
  onGpu('goes together with gradients that the step assigns', async () => {
    const { compiled, asIs } = await both(async (wrap) => {
      const w = new nn.Parameter(ones([1, 3]));
      const step = training(wrap, w, new optim.SGD([w], { lr: 0.1 }), () => {
        w.grad = w.grad!.mul(0.5);
      });
      for (let i = 0; i < 4; i++) await step(ones([1, 3])).item();
      return w.toArray();
    });
    expect(compiled).toEqual(asIs);
  });
});

describe('the gpu', () => {
  onGpu('obeys a guard that is a view', async () => {
    await useDevice('gpu');
    const stepped = async (guard: Tensor) => {
      const p = new nn.Parameter(ones([1]));
      p.grad = ones([1]);
      new optim.SGD([p], { lr: 1 }).step({ guard });
      return (await p.item()) === 0;
    };
    expect(await stepped(tensor([0, 5]).select(0, 1))).toBe(false);
    expect(await stepped(tensor([5, 0]).select(0, 1))).toBe(true);
  });
  onGpu('gives back a tensor without elements', async () => {
    await useDevice('gpu');
    expect(await tensor([]).toArray()).toEqual([]);
  });
});

describe('tensors without elements', () => {
  it('come back from a safetensors file', async () => {
    const { tensors } = fromSafetensors(await toSafetensors({ a: ones([2]), b: zeros([0, 3]) }));
    expect(tensors.b.shape).toEqual([0, 3]);
  });
  it('have a binary cross entropy, as they have a mean squared error', () => {
    expect(nn.functional.mseLoss(zeros([0]), zeros([0])).itemSync()).toBeNaN();
    expect(new nn.BCELoss().forward(zeros([0]), zeros([0])).itemSync()).toBeNaN();
  });
  it('are refused by scalers with a message', () => {
    expect(() => new data.MinMaxScaler().fit(zeros([0, 2]))).toThrow('MinMaxScaler');
  });
  it('are refused as a baseline with a message that fits', () => {
    expect(() => data.computeBaseline(zeros([0, 3]))).toThrow('there are no samples');
  });
  it('are not blamed on dropLast, which was not set', () => {
    const load = () => [...new data.DataLoader(new data.TensorDataset(zeros([0, 2])), { batchSize: 2 })];
    expect(load).not.toThrow('dropLast');
  });
});

it('a data set sees changes of its tensors, as it does where the device reads them', () => {
  const x = arange(0, 3);
  const loader = new data.DataLoader(new data.TensorDataset(x), { batchSize: 3 });
  const epoch = () => [...loader][0][0].toArraySync();
  expect(epoch()).toEqual([0, 1, 2]);
  x.copyFrom(tensor([5, 6, 7]));
  expect(epoch()).toEqual([5, 6, 7]);
});

// Attention with a batch of one.
it('position embeddings train in a batch of one', () => {
  const position = new nn.Parameter(randn([4, 6]));
  const y = randn([1, 4, 6]).add(position).transpose(1, 2);
  y.mul(y).sum().backward();
  expect(position.grad!.toArraySync()).toHaveLength(4);
});
