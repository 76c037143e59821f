import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { data, fit, nn, ones, optim, randn, type Tensor, tensor, zeros } from 'tapegrad';
import { load, loadModel, save, saveModel } from 'tapegrad/io';
import { describe, expect, it } from 'vitest';
import { errorOf } from './helpers.js';

const folder = () => mkdtempSync(join(tmpdir(), 'tapegrad-state-'));
const names = (m: nn.Module) => m.namedParameters().map(([name]) => name);
const message = async (fn: () => unknown) => (await errorOf(fn)).message;

/** A module whose fields are given. */
class Holder extends nn.Module {
  constructor(fields: object) {
    super();
    Object.assign(this, fields);
  }
  forward(x: Tensor): Tensor {
    return x;
  }
}

class Norm extends nn.Module {
  scale = new nn.Parameter(ones([2]));
  mean = new nn.Buffer(zeros([2]));
  seen = new nn.Buffer(zeros([1]), { persistent: false });
  inner = new nn.Linear(2, 1, { bias: false });
  forward(x: Tensor): Tensor {
    return this.inner.forward(x.sub(this.mean).mul(this.scale));
  }
}

describe('what belongs to a module', () => {
  it('is parameters, buffers and leaves made to require a gradient', () => {
    const m = new Norm();
    expect(names(m)).toEqual(['scale', 'inner.weight']);
    expect(m.namedBuffers().map(([name]) => name)).toEqual(['mean', 'seen']);
    expect(Object.keys(m.stateDict())).toEqual(['scale', 'mean', 'inner.weight']);
    expect(names(new Holder({ w: ones([2], { requiresGrad: true }), x: ones([2]) }))).toEqual(['w']);
  });
  it('is not a result that is kept in a field', () => {
    const m = new Holder({ fc: new nn.Linear(2, 1) });
    Object.assign(m, { features: (m as unknown as { fc: nn.Linear }).fc.forward(ones([3, 2])) });
    expect(names(m)).toEqual(['fc.weight', 'fc.bias']);
    expect(Object.keys(m.stateDict())).toEqual(['fc.weight', 'fc.bias']);
  });
  it('is found in arrays, objects and Maps, however they are nested', () => {
    const l = () => new nn.Linear(1, 1, { bias: false });
    const m = new Holder({
      list: [[l()], [ones([1], { requiresGrad: true })]],
      object: { a: { b: l() } },
      map: new Map<unknown, unknown>([
        ['x', l()],
        [3, [l()]],
      ]),
    });
    expect(names(m)).toEqual(['list.1.0', 'list.0.0.weight', 'object.a.b.weight', 'map.x.weight', 'map.3.0.weight']);
    m.eval();
    expect(m.namedModules().every(([, inner]) => !inner.training)).toBe(true);
  });
  it.each<[string, object, string]>([
    ['a Set', { all: new Set([new nn.Linear(1, 1)]) }, "'all' contains a Linear in a Set"],
    ['a Map with objects as keys', { m: new Map([[{}, new nn.Parameter(ones([1]))]]) }, 'a Map under the key'],
    ['the keys of a Map', { m: new Map([[new nn.Linear(1, 1), 1]]) }, 'the keys of a Map'],
    [
      'an array in another object',
      {
        h: new (class Helper {
          all = [new nn.Linear(1, 1)];
        })(),
      },
      "'h' contains a Linear in a field of a Helper",
    ],
    ['an array in a Set', { all: new Set([[new nn.Linear(1, 1)]]) }, "'all' contains a Linear in a Set"],
    [
      'another object',
      {
        h: new (class Helper {
          b = new nn.Buffer(ones([1]));
        })(),
      },
      'a buffer in a field of a Helper',
    ],
  ])('is refused in %s', async (_, fields, text) => {
    for (const ask of [(m: nn.Module) => m.parameters(), (m: nn.Module) => m.stateDict(), (m: nn.Module) => m.eval()])
      expect(await message(() => ask(new Holder(fields)))).toContain(text);
  });
  it('may be known to another object too', () => {
    const fc = new nn.Linear(1, 1);
    const m = new Holder({ fc, optimizer: new optim.SGD(fc.parameters(), { lr: 1 }), list: new Set([fc]) });
    expect(names(m)).toEqual(['fc.weight', 'fc.bias']);
  });
  it('is not lost when a result is assigned in its place', async () => {
    const m = new Norm();
    expect(m.parameters()).toHaveLength(2);
    m.mean = m.mean.mul(0.9) as nn.Buffer;
    expect(await message(() => m.stateDict())).toContain("'mean' was a buffer, and is now a tensor that is not one");
    m.mean = new nn.Buffer(m.mean);
    m.scale = m.scale.mul(2);
    expect(await message(() => m.parameters())).toContain("'scale' was a parameter");
  });
  it('is not looked for again and again in data that is a graph', () => {
    const nodes = Array.from({ length: 30 }, () => ({ links: [] as unknown[] }));
    for (const node of nodes) node.links.push(...nodes);
    expect(names(new Holder({ nodes, w: new nn.Parameter(ones([1])) }))).toEqual(['w']);
  });
  it('has one path: cycles and equal paths are refused, cyclic data is not', async () => {
    const outer = new Holder({});
    Object.assign(outer, { inner: new Holder({ parent: outer }) });
    expect(await message(() => outer.parameters())).toContain("the module at 'inner.parent' contains itself");
    const p = () => new nn.Parameter(ones([1]));
    expect(await message(() => new Holder({ a: { b: p() }, 'a.b': p() }).stateDict())).toContain("the same path 'a.b'");
    const loop: unknown[] = [1];
    loop.push(loop);
    expect(new Holder({ loop, p: p() }).parameters()).toHaveLength(1);
  });
});

describe('freezing', () => {
  it('changes gradients and nothing else', async () => {
    const m = new nn.Sequential(new nn.Linear(3, 2), new nn.ReLU(), new nn.Linear(2, 1));
    const full = new nn.Sequential(new nn.Linear(3, 2), new nn.ReLU(), new nn.Linear(2, 1)).stateDict();
    for (const p of (m.modules[0] as nn.Linear).parameters()) p.requiresGrad = false;
    expect(names(m)).toEqual(['0.weight', '0.bias', '2.weight', '2.bias']);
    expect(m.parameters().map((p) => p.requiresGrad)).toEqual([false, false, true, true]);
    const path = join(folder(), 'm.safetensors');
    await save(m, path);
    expect(Object.keys(await load(path))).toEqual(names(m));
    m.loadStateDict(full, { strict: false });
    expect((m.modules[0] as nn.Linear).weight.toArraySync()).toEqual(full['0.weight'].toArraySync());
    m.to('reference');
    expect(m.parameters().every((p) => p.device === 'reference')).toBe(true);
    m.to('cpu');
    m.forward(ones([1, 3]))
      .sum()
      .backward();
    expect(m.parameters().map((p) => p.grad !== null)).toEqual([false, false, true, true]);
  });
  it('survives saveModel', async () => {
    const path = join(folder(), 'm.safetensors');
    const m = new nn.Sequential(new nn.Linear(3, 2), new nn.Linear(2, 1));
    m.parameters()[1].requiresGrad = false;
    await saveModel(m, path);
    const again = await loadModel(path);
    expect(again.parameters().map((p) => p.requiresGrad)).toEqual([true, false, true, true]);
    expect(again.forward(ones([1, 3])).itemSync()).toBe(m.forward(ones([1, 3])).itemSync());
  });
});

describe('what cannot be kept', () => {
  it('is refused by saveModel before anything is written', async () => {
    const path = join(folder(), 'm.safetensors');
    const m = Object.assign(new nn.Sequential(new nn.Linear(1, 1)), { mean: new nn.Buffer(ones([1])) });
    expect(await message(() => saveModel(m, path))).toContain('[saveModel] the model has mean');
    expect(existsSync(path)).toBe(false);
  });
  it('is refused by save: what is not an object of tensors', async () => {
    const path = join(folder(), 's.safetensors');
    for (const state of [new Map([['w', ones([1])]]), [ones([1])], 5, undefined, load('x').catch(() => {})])
      expect(await message(() => save(state as never, path))).toMatch(/^\[save\] the state is /);
    expect(existsSync(path)).toBe(false);
  });
  it('is not torn by a step beside a save', async () => {
    const path = join(folder(), 's.safetensors');
    const m = new nn.Sequential(...Array.from({ length: 4 }, () => new nn.Linear(1, 1, { bias: false })));
    for (const p of m.parameters()) nn.init.zeros(p);
    const saved = save(m, path);
    for (const p of m.parameters()) {
      nn.init.ones(p);
      await null;
    }
    await saved;
    expect(Object.values(await load(path)).map((t) => t.itemSync())).toEqual([0, 0, 0, 0]);
  });
});

describe('buffers', () => {
  it('are saved, loaded and moved, and not trained', () => {
    const m = new Norm();
    const state = { ...m.stateDict(), mean: tensor([3, 4]) };
    m.loadStateDict(state);
    expect(m.mean.toArraySync()).toEqual([3, 4]);
    m.to('reference');
    expect([m.mean.device, m.seen.device]).toEqual(['reference', 'reference']);
    m.to('cpu')
      .forward(ones([1, 2]))
      .sum()
      .backward();
    expect(m.mean.grad).toBeNull();
    expect(m.mean.requiresGrad).toBe(false);
  });
  it('refuse a gradient', async () => {
    expect(await message(() => Object.assign(new nn.Buffer(ones([1])), { requiresGrad: true }))).toContain(
      'not trained',
    );
    expect(await message(() => new nn.Parameter([1] as never))).toContain('[Parameter] the argument is [1]');
  });
  it('come with their module, as in PyTorch', () => {
    const m = new Holder({ a: new Norm(), w: new nn.Parameter(ones([1])) });
    expect(Object.keys(m.stateDict())).toEqual(['w', 'a.scale', 'a.mean', 'a.inner.weight']);
  });
});

describe('a parameter', () => {
  it('has no part in the history of what it was made from', () => {
    const x = ones([2], { requiresGrad: true });
    const p = new nn.Parameter(x.mul(2));
    expect(p.isLeaf && p.requiresGrad).toBe(true);
    p.sum().backward();
    expect(x.grad).toBeNull();
    expect(p.grad?.toArraySync()).toEqual([1, 1]);
  });
  it('may be assigned to a layer, checked', async () => {
    const l = new nn.Linear(3, 2);
    const set = (value: unknown) => message(() => Object.assign(l, { weight: value }));
    expect(await set(ones([2, 3]))).toContain('[Linear.weight] the value is a tensor that is not a parameter');
    expect(await set(new nn.Parameter(ones([3, 2])))).toContain('shape [3, 2]; assign a parameter of shape [2, 3]');
    expect(await set(l.weight.mul(1))).toContain('the result of an operation');
    expect(await set(null)).toContain('the value is null');
    l.weight = new nn.Parameter(ones([2, 3]));
    l.bias = null;
    expect(l.forward(ones([1, 3])).toArraySync()).toEqual([[3, 3]]);
    expect(names(l)).toEqual(['weight']);
  });
});

describe('shared parameters', () => {
  const tied = () => {
    const [a, b] = [new nn.Linear(3, 3), new nn.Linear(3, 3)];
    b.weight = a.weight;
    return new nn.Sequential(a, new nn.Tanh(), b, a);
  };
  it('stay shared through saveModel', async () => {
    const path = join(folder(), 'm.safetensors');
    const m = tied();
    await saveModel(m, path);
    const again = await loadModel(path);
    expect(names(again)).toEqual(names(m));
    expect(again.parameters()).toHaveLength(3);
    const x = randn([2, 3]);
    expect(again.forward(x).toArraySync()).toEqual(m.forward(x).toArraySync());
    new optim.SGD(again.parameters(), { lr: 1 }); // every one of them is a leaf of its own
    again.forward(x).sum().backward();
    m.forward(x).sum().backward();
    expect(again.parameters()[0].grad?.toArraySync()).toEqual(m.parameters()[0].grad?.toArraySync());
  });
  it('stay shared through save, load and to', async () => {
    const path = join(folder(), 'm.safetensors');
    const m = tied();
    await save(m, path);
    const again = tied();
    again.loadStateDict(await load(path));
    again.to('reference').to('cpu');
    expect(again.parameters()).toHaveLength(3);
    expect((again.modules[2] as nn.Linear).weight).toBe((again.modules[0] as nn.Linear).weight);
    expect(again.parameters()[0].toArraySync()).toEqual(m.parameters()[0].toArraySync());
  });
  it('are there if one of their paths is, and refuse two values', async () => {
    const m = tied();
    const { '2.weight': _, '3.weight': __, '3.bias': ___, ...less } = m.stateDict();
    expect(m.loadStateDict(less).missingKeys).toEqual([]);
    const bad = { ...m.stateDict(), '2.weight': zeros([3, 3]) };
    const before = m.parameters()[0].toArraySync();
    expect(await message(() => m.loadStateDict(bad))).toContain("'0.weight' and '2.weight' are one shared parameter");
    expect(m.parameters()[0].toArraySync()).toEqual(before);
  });
  it('stay shared in a resumed run', async () => {
    const checkpoint = join(folder(), 'c');
    const [x, y] = [randn([8, 3]), randn([8, 3])];
    const loader = () => new data.DataLoader(new data.TensorDataset(x, y), { batchSize: 4 });
    const run = async (m: nn.Sequential, epochs: number) => {
      const optimizer = new optim.SGD(m.parameters(), { lr: 0.1, momentum: 0.9 });
      await fit(m, {
        train: loader(),
        loss: new nn.MSELoss(),
        optimizer,
        epochs,
        checkpoint,
        resume: true,
        progress: false,
      });
      return m;
    };
    await run(tied(), 1);
    const m = await run(tied(), 2);
    expect((m.modules[2] as nn.Linear).weight).toBe((m.modules[0] as nn.Linear).weight);
  });
});
