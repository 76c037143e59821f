import { describe, expect, it } from 'vitest';
import { manualSeed, metrics, nn, noGrad, ones, optim, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf } from './helpers.js';

class Nested extends nn.Module {
  first = new nn.Linear(2, 3);
  blocks = [new nn.Linear(3, 3), new nn.ReLU()];
  scale = tensor([2], { requiresGrad: true });
  constant = tensor([1]);
  forward(x: Tensor) {
    return this.blocks.reduce((h, m) => m.forward(h), this.first.forward(x)).mul(this.scale);
  }
}

describe('modules', () => {
  it('names a shared parameter once, and keeps all of its paths in the state', () => {
    const shared = new nn.Linear(2, 2);
    const model = new nn.Sequential(shared, new nn.ReLU(), shared);
    expect(model.namedParameters().map(([name]) => name)).toEqual(['0.weight', '0.bias']);
    expect(model.parameters()).toEqual([shared.weight, shared.bias]);
    expect(Object.keys(model.stateDict())).toEqual(['0.weight', '0.bias', '2.weight', '2.bias']);
  });
  it('find their parameters under PyTorch names', () => {
    expect(new Nested().namedParameters().map(([name]) => name)).toEqual([
      'scale',
      'first.weight',
      'first.bias',
      'blocks.0.weight',
      'blocks.0.bias',
    ]);
    const s = new nn.Sequential(new nn.Linear(4, 2), new nn.ReLU(), new nn.Linear(2, 1, { bias: false }));
    expect(Object.entries(s.stateDict()).map(([k, t]) => [k, t.shape])).toEqual([
      ['0.weight', [2, 4]],
      ['0.bias', [2]],
      ['2.weight', [1, 2]],
    ]);
  });
  it('switch between training and evaluation all the way down', () => {
    const m = new Nested();
    expect(m.eval()).toBe(m);
    expect([m.training, m.first.training, m.blocks[1].training]).toEqual([false, false, false]);
    expect(m.train().blocks[1].training).toBe(true);
  });
  it('forget gradients', () => {
    const m = new Nested();
    m.forward(ones([1, 2]))
      .sum()
      .backward();
    expect(m.first.weight.grad).not.toBeNull();
    m.zeroGrad();
    expect(m.parameters().every((p) => p.grad === null)).toBe(true);
  });
  it('load a state whole or not at all', async () => {
    const m = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 1));
    const before = m.parameters().map((p) => p.toArraySync());
    const bad = { '0.weight': zeros([2, 2]), '0.bias': zeros([3]), extra: zeros([1]) };
    expect((await errorOf(() => m.loadStateDict(bad))).message).toBe(
      '[loadStateDict] missing keys: 1.weight, 1.bias; unexpected keys: extra; misshapen keys: 0.bias ([3] instead of [2]); load the state of a model of the same architecture, or pass { strict: false } to skip missing and unexpected keys',
    );
    expect((await errorOf(() => m.loadStateDict({ '0.weight': 1 } as never, { strict: false }))).message).toContain(
      '0.weight (1 instead of a tensor)',
    );
    expect(m.parameters().map((p) => p.toArraySync())).toEqual(before);
    expect(m.loadStateDict({ '0.weight': ones([2, 2]), extra: ones([1]) }, { strict: false })).toEqual({
      missingKeys: ['0.bias', '1.weight', '1.bias'],
      unexpectedKeys: ['extra'],
    });
    expect(m.parameters()[0].toArraySync()).toEqual([
      [1, 1],
      [1, 1],
    ]);
    expect((await errorOf(() => m.loadStateDict(null as never))).message).toContain('the state is null');
  });
  it('start from the same weights for the same seed', () => {
    const weights = () => {
      manualSeed(9);
      return new nn.Linear(5, 4).weight.toArraySync();
    };
    expect(weights()).toEqual(weights());
  });
  it.each<[string, () => unknown, string]>([
    ['Linear(0, 1)', () => new nn.Linear(0, 1), '[Linear] inFeatures is 0'],
    ['Linear options', () => new nn.Linear(1, 1, { biass: true } as never), "'biass'"],
    ['Sequential of a function', () => new nn.Sequential((() => 1) as never), 'argument 0 is the function'],
    [
      'input of a wrong width',
      () => new nn.Linear(3, 2).forward(zeros([4, 2])),
      '[linear] input of shape [4, 2] for a weight of shape [2, 3]',
    ],
    ['a weight of one dimension', () => nn.functional.linear(zeros([2]), zeros([2])), 'it must be [out, in]'],
    ['a bias of another size', () => nn.functional.linear(zeros([2]), zeros([3, 2]), zeros([2])), 'it must be [3]'],
    ['fans of a vector', () => nn.init.xavierUniform(zeros([3])), 'no fan in'],
  ])('refuse %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
  it('initialise within the bounds', () => {
    const w = zeros([200, 100]);
    const spread = (t: Tensor) => Math.sqrt(t.mul(t).mean().itemSync());
    expect(nn.init.xavierUniform(w).abs().max().itemSync()).toBeLessThanOrEqual(Math.sqrt(6 / 300));
    expect(spread(nn.init.xavierNormal(w))).toBeCloseTo(Math.sqrt(2 / 300), 2);
    expect(nn.init.kaimingUniform(w).abs().max().itemSync()).toBeLessThanOrEqual(Math.sqrt(6 / 100));
    expect(spread(nn.init.kaimingNormal(w))).toBeCloseTo(Math.sqrt(2 / 100), 2);
    expect(nn.init.ones(w).min().itemSync()).toBe(1);
    expect(nn.init.zeros(w).max().itemSync()).toBe(0);
  });
});

describe('losses', () => {
  const logits = tensor([
    [1, 2, 3],
    [1, 0, 0],
  ]);
  it('agree with their definitions', () => {
    expect(new nn.MSELoss().forward(tensor([1, 2]), tensor([0, 4])).itemSync()).toBe(2.5);
    expect(new nn.MSELoss({ reduction: 'none' }).forward(tensor([1, 2]), tensor([0, 4])).toArraySync()).toEqual([1, 4]);
    const bce = new nn.BCELoss().forward(tensor([0.8, 0.4]), tensor([1, 0])).itemSync();
    expect(bce).toBeCloseTo(-(Math.log(0.8) + Math.log(0.6)) / 2, 6);
    const withLogits = new nn.BCEWithLogitsLoss().forward(tensor([0.3, -2]), tensor([1, 0]));
    const viaSigmoid = new nn.BCELoss().forward(tensor([0.3, -2]).sigmoid(), tensor([1, 0]));
    expect(withLogits.itemSync()).toBeCloseTo(viaSigmoid.itemSync(), 6);
    const ce = new nn.CrossEntropyLoss({ reduction: 'none' }).forward(logits, tensor([2, 0])).toArraySync() as number[];
    expect(ce[0]).toBeCloseTo(Math.log(1 + Math.exp(-1) + Math.exp(-2)), 6);
  });
  it.each<[string, () => unknown, string]>([
    [
      'a label out of range',
      () => nn.functional.crossEntropy(logits, tensor([0, 3])),
      '[crossEntropy] label 1 is 3 for 3 classes; labels are integers from 0 to 2',
    ],
    ['a NaN label', () => nn.functional.crossEntropy(logits, tensor([0, Number.NaN])), 'label 1 is NaN'],
    ['a fractional label', () => nn.functional.crossEntropy(logits, tensor([0.5, 1])), 'label 0 is 0.5'],
    ['a negative label', () => nn.functional.crossEntropy(logits, tensor([-1, 1])), 'label 0 is -1'],
    ['labels of another length', () => nn.functional.crossEntropy(logits, tensor([0])), 'labels [1]'],
    [
      'different shapes',
      () => nn.functional.mseLoss(zeros([2]), zeros([2, 1])),
      'the prediction has shape [2], the target [2, 1]',
    ],
    ['a probability above 1', () => nn.functional.bceLoss(tensor([1.5]), tensor([1])), 'apply sigmoid first'],
    ['a NaN probability', () => nn.functional.bceLoss(tensor([Number.NaN]), tensor([1])), 'from NaN to NaN'],
    [
      'a target outside 0..1',
      () => nn.functional.bceWithLogitsLoss(tensor([1]), tensor([-1])),
      'the target has values from -1 to -1',
    ],
    [
      'an unknown reduction',
      () => new nn.MSELoss({ reduction: 'avg' as never }),
      "reduction is 'avg'; pass one of 'mean', 'sum', 'none'",
    ],
  ])('refuse %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
});

describe('SGD', () => {
  const p = () => tensor([1, 2], { requiresGrad: true });
  it.each<[string, () => unknown, string]>([
    ['no parameters', () => new optim.SGD([], { lr: 1 }), 'there are no parameters'],
    ['a result', () => new optim.SGD([p().mul(2)], { lr: 1 }), 'a result, not a leaf'],
    ['a NaN rate', () => new optim.SGD([p()], { lr: Number.NaN }), '[SGD] lr is NaN'],
    ['an infinite rate', () => new optim.SGD([p()], { lr: Infinity }), 'lr is Infinity'],
    ['a negative rate', () => new optim.SGD([p()], { lr: -1 }), 'at least 0'],
    ['no rate', () => new optim.SGD([p()], {} as never), 'lr is undefined'],
    ['nesterov without momentum', () => new optim.SGD([p()], { lr: 1, nesterov: true }), 'nesterov needs a momentum'],
    ['an unknown option', () => new optim.SGD([p()], { lr: 1, weight_decay: 1 } as never), "'weight_decay'"],
    [
      'a rate spoilt later',
      () => {
        const o = new optim.SGD([p()], { lr: 1 });
        o.paramGroups[0].lr = Number.NaN;
        o.step();
      },
      'lr is NaN',
    ],
  ])('refuses %s', async (_, run, text) => {
    expect((await errorOf(run)).message).toContain(text);
  });
  it('skips parameters without a gradient, and continues from its state', async () => {
    const [a, b] = [p(), p()];
    const run = (o: optim.SGD, x: Tensor) => {
      o.zeroGrad();
      x.mul(x).sum().backward();
      o.step();
    };
    const options = { lr: 0.1, momentum: 0.9 };
    const one = new optim.SGD([a, b], options);
    run(one, a);
    expect(b.toArraySync()).toEqual([1, 2]);
    const state = one.stateDict();
    const c = tensor(a.dataSync(), { requiresGrad: true });
    const two = new optim.SGD([c, p()], { lr: 5 });
    two.loadStateDict(state);
    run(one, a);
    run(two, c);
    expect(c.toArraySync()).toEqual(a.toArraySync());
    expect((await errorOf(() => new optim.SGD([p()], options).loadStateDict(state))).message).toContain(
      'groups of [2] parameters, the optimizer has groups of [1]',
    );
    expect(
      (await errorOf(() => new optim.SGD([zeros([3], { requiresGrad: true }), p()], options).loadStateDict(state)))
        .message,
    ).toContain('velocity.0 is [2] for a parameter of shape [3]');
  });
});

describe('metrics', () => {
  const logits = tensor([
    [1, 2],
    [3, 1],
    [0, 5],
    [2, 1],
  ]);
  it('count', async () => {
    expect(await metrics.accuracy(logits, tensor([1, 0, 0, 0]))).toBe(0.75);
    expect(await metrics.confusionMatrix(logits, tensor([1, 0, 0, 0]), 2)).toEqual([
      [2, 1],
      [0, 1],
    ]);
    expect(await metrics.r2Score(tensor([1, 2, 3]), tensor([1, 2, 3]))).toBe(1);
    expect(await metrics.r2Score(tensor([2, 2, 2]), tensor([1, 2, 3]))).toBe(0);
  });
  it('refuse what does not fit', async () => {
    expect((await errorOf(() => metrics.accuracy(logits, tensor([0, 1])))).message).toContain('labels [2]');
    expect((await errorOf(() => metrics.accuracy(logits, tensor([0, 1, 2, 0])))).message).toContain(
      'label 2 is 2 for 2 classes',
    );
    expect((await errorOf(() => metrics.confusionMatrix(logits, tensor([0, 1, 1, 0]), 1))).message).toContain(
      'for 1 classes',
    );
    expect((await errorOf(() => metrics.r2Score(tensor([1]), tensor([1, 2])))).message).toContain('[1]');
  });
  it('leave no graph behind', () => {
    expect(noGrad(() => logits.argmax(1)).requiresGrad).toBe(false);
  });
});
