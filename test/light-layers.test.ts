import { describe, expect, it } from 'vitest';
import {
  getNumThreads,
  gradcheck,
  manualSeed,
  nn,
  noGrad,
  ones,
  optim,
  randn,
  setNumThreads,
  type Tensor,
  tensor,
  zeros,
} from '../src/index.js';
import { errorOf, expectClose, sampleTensor, startLateDevice } from './helpers.js';

// Layers, losses and containers beyond the golden values: errors, no elements, second derivatives, random choices, state.

const any = (value: unknown) => value as never;
const F = nn.functional;
const message = async (run: () => unknown) => (await errorOf(run)).message;

describe('second derivatives', () => {
  const x = (shape: number[], seed = 1) => sampleTensor(shape, [-2, 2], seed, 'cpu', true);
  const labels = () => tensor([0, 2, 1]);
  // biome-ignore format: one line a case
  it.each<[string, (...t: Tensor[]) => Tensor, number[][]]>([
    ['layerNorm', (t, weight, bias) => F.layerNorm(t, [2, 3], { weight, bias }), [[2, 2, 3], [2, 3], [2, 3]]],
    ['layerNorm with a bias alone', (t, bias) => F.layerNorm(t, 3, { bias }), [[2, 3], [3]]],
    ['rmsNorm', (t, weight) => F.rmsNorm(t, 3, { weight, eps: 0.1 }), [[4, 3], [3]]],
    ['groupNorm', (t, weight, bias) => F.groupNorm(t, 2, { weight, bias }), [[2, 4, 3], [4], [4]]],
    ['batchNorm', (t, weight, bias) => F.batchNorm(t, null, null, { training: true, weight, bias }), [[3, 2], [2], [2]]],
    ['batchNorm of sequences', (t) => F.batchNorm(t, null, null, { training: true }), [[2, 2, 3]]],
    ['batchNorm in evaluation', (t, weight) => F.batchNorm(t, zeros([2]), ones([2]), { weight }), [[3, 2], [2]]],
    ['embedding', (w) => F.embedding(tensor([2, 0, 2]), w).tanh(), [[3, 2]]],
    ['crossEntropy with a weight', (t) => F.crossEntropy(t, labels(), { weight: tensor([1, 2, 0.5]), labelSmoothing: 0.1 }), [[3, 3]]],
    ['crossEntropy that ignores', (t) => F.crossEntropy(t, labels(), { ignoreIndex: 2 }), [[3, 3]]],
    ['crossEntropy of probabilities', (t, p) => F.crossEntropy(t, p.softmax(1), { reduction: 'sum' }), [[2, 3], [2, 3]]],
    ['nllLoss', (t) => F.nllLoss(t.logSoftmax(1), labels(), { reduction: 'none' }), [[3, 3]]],
    ['klDiv', (t, p) => F.klDiv(t.logSoftmax(1), p.softmax(1), { reduction: 'batchmean' }), [[2, 3], [2, 3]]],
    ['klDiv of logarithms', (t, p) => F.klDiv(t, p, { logTarget: true }), [[2, 3], [2, 3]]],
    ['smoothL1Loss', (t, u) => F.smoothL1Loss(t, u, { beta: 0.8 }), [[2, 3], [2, 3]]],
    ['huberLoss', (t, u) => F.huberLoss(t, u, { delta: 0.8, reduction: 'none' }), [[2, 3], [2, 3]]],
    ['bceWithLogitsLoss', (t, w) => F.bceWithLogitsLoss(t, tensor([0, 1, 0.5]), { posWeight: w }), [[3], [3]]],
    ['cosineSimilarity', (t, u) => F.cosineSimilarity(t, u), [[2, 3], [2, 3]]],
  ])('%s', (_, f, shapes) => {
    gradcheck(f, shapes.map((s, i) => x(s, i + 1)), { secondOrder: true }); // biome-ignore format: one line
  });
});

describe('no elements', () => {
  it.each([[[0, 3]], [[0, 3, 2]]])('an empty batch %j gives weight and bias of BatchNorm1d the gradient 0', (shape) => {
    const layer = new nn.BatchNorm1d(3);
    layer.forward(zeros(shape)).sum().backward();
    expect([layer.weight, layer.bias].map((p) => p?.grad?.toArraySync())).toEqual([Array(3).fill(0), Array(3).fill(0)]);
  });

  // biome-ignore format: one line a case
  it.each<[string, (x: Tensor) => Tensor, number[], number[]]>([
    ['layerNorm of no rows', (x) => new nn.LayerNorm(3).forward(x), [0, 3], [0, 3]],
    ['layerNorm of no columns', (x) => new nn.LayerNorm(0).forward(x), [2, 0], [2, 0]],
    ['rmsNorm', (x) => new nn.RMSNorm(3).forward(x), [0, 3], [0, 3]],
    ['groupNorm', (x) => new nn.GroupNorm(2, 4).forward(x), [0, 4, 3], [0, 4, 3]],
    ['batchNorm', (x) => new nn.BatchNorm1d(3).forward(x), [0, 3], [0, 3]],
    ['batchNorm in evaluation', (x) => new nn.BatchNorm1d(3).eval().forward(x), [0, 3], [0, 3]],
    ['dropout', (x) => new nn.Dropout().forward(x), [0, 3], [0, 3]],
    ['flatten', (x) => new nn.Flatten().forward(x), [0, 3, 2], [0, 6]],
    ['l1Loss none', (x) => F.l1Loss(x, zeros([0, 3]), { reduction: 'none' }), [0, 3], [0, 3]],
    ['crossEntropy none', (x) => F.crossEntropy(x, zeros([0]), { reduction: 'none', labelSmoothing: 0.1 }), [0, 3], [0]],
    ['cosineSimilarity', (x) => F.cosineSimilarity(x, zeros([0, 3])), [0, 3], [0]],
  ])('%s', (_, f, shape, result) => {
    const x = zeros(shape, { requiresGrad: true });
    const y = f(x);
    expect(y.shape).toEqual(result);
    y.sum().backward();
    expect(x.grad!.shape).toEqual(shape);
  });
  it('of indices give no vectors and no gradient', () => {
    const layer = new nn.Embedding(3, 2);
    const y = layer.forward(zeros([0, 4]));
    expect(y.shape).toEqual([0, 4, 2]);
    y.sum().backward();
    expect(layer.weight.grad!.toArraySync()).toEqual([[0, 0], [0, 0], [0, 0]]); // biome-ignore format: one line
  });
  it('have a mean loss that is NaN, and a sum of 0, as in PyTorch', () => {
    for (const loss of [F.l1Loss, F.huberLoss, F.smoothL1Loss, F.klDiv]) {
      expect(loss(zeros([0]), zeros([0])).itemSync()).toBeNaN();
      expect(loss(zeros([0]), zeros([0]), { reduction: 'sum' }).itemSync()).toBe(0);
    }
    const all = tensor([-100, -100]);
    expect(F.crossEntropy(zeros([2, 3]), all).itemSync()).toBeNaN();
    expect(F.crossEntropy(zeros([2, 3]), all, { reduction: 'sum' }).itemSync()).toBe(0);
  });
});

describe('errors name values and remedies', () => {
  const x = zeros([2, 3]);
  // biome-ignore format: one line a case
  it.each<[() => unknown, string]>([
    [() => new nn.LayerNorm(any('a')), "[LayerNorm] the shape is 'a'"],
    [() => new nn.LayerNorm([]), 'the shape is []'],
    [() => new nn.LayerNorm(2, any({ affine: true })), "unknown option 'affine'"],
    [() => new nn.LayerNorm(2, { eps: NaN }), 'eps is NaN'],
    [() => new nn.LayerNorm(4).forward(x), '[layerNorm] the input has shape [2, 3], which does not end in the normalized shape [4]'],
    [() => new nn.LayerNorm([2, 2, 3]).forward(x), 'does not end in the normalized shape [2, 2, 3]'],
    [() => F.layerNorm(x, 3, { weight: ones([2]) }), 'weight has shape [2]; pass a weight of shape [3]'],
    [() => new nn.RMSNorm(2).forward(any([1])), '[rmsNorm] operand 0 is [1]'],
    [() => new nn.GroupNorm(2, 3), '3 channels do not divide into 2 groups'],
    [() => new nn.GroupNorm(3, 3).forward(zeros([2, 6])), '[GroupNorm] the input has shape [2, 6]; pass [n, 3, ..]'],
    [() => F.groupNorm(zeros([1, 2]), 2), 'one value for each channel'],
    [() => F.groupNorm(zeros([3]), 1), 'pass [n, channels, ..]'],
    [() => new nn.BatchNorm1d(0), '[BatchNorm1d] numFeatures is 0'],
    [() => new nn.BatchNorm1d(3).forward(zeros([1, 3])), '[batchNorm] an input of shape [1, 3] has one value for each channel'],
    [() => new nn.BatchNorm1d(3).forward(zeros([2, 4])), '[BatchNorm1d] the input has shape [2, 4]; pass [n, 3] or [n, 3, length]'],
    [() => new nn.BatchNorm1d(3).forward(zeros([3])), 'the input has shape [3]'],
    [() => new nn.BatchNorm2d(3).forward(zeros([2, 3, 4])), '[BatchNorm2d] the input has shape [2, 3, 4]; pass [n, 3, height, width]'],
    [() => F.batchNorm(x), 'there are no running mean and variance'],
    [() => F.batchNorm(x, any({ training: true })), '[batchNorm] operand 1 is'],
    [() => F.batchNorm(x, zeros([3])), 'only one of runningMean and runningVar is given'],
    [() => new nn.Dropout(1.5), '[Dropout] p is 1.5; pass a number from 0 to 1'],
    [() => F.dropout(x, -0.1), '[dropout] p is -0.1'],
    [() => F.dropout(x, any('0.5')), "p is '0.5'"],
    [() => new nn.Embedding(3, 0), '[Embedding] embeddingDim is 0'],
    [() => new nn.Embedding(3, 2, { paddingIdx: 3 }), 'paddingIdx is 3 for 3 rows'],
    [() => new nn.Embedding(3, 2, { paddingIdx: -4 }), 'paddingIdx is -4'],
    [() => new nn.Embedding(3, 2).forward(tensor([0, 3])), '[embedding] index 1 is 3 for 3 rows; indices are integers from 0 to 2'],
    [() => new nn.Embedding(3, 2).forward(tensor([0.5])), 'index 0 is 0.5'],
    [() => F.embedding(tensor([0]), zeros([3])), 'the weight has shape [3]'],
    [() => F.oneHot(tensor([1, 4]), 4), 'index 1 is 4 for 4 classes'],
    [() => F.oneHot(zeros([0])), 'the number of classes cannot be found'],
    [() => new nn.Flatten(3).forward(x), '[Flatten] dim is 3'],
    [() => new nn.Flatten(1, 0).forward(x), 'dimension 1 comes after dimension 0'],
    [() => F.smoothL1Loss(x, x, { beta: -1 }), 'beta is -1'],
    [() => new nn.HuberLoss({ delta: 0 }), '[HuberLoss] delta is 0'],
    [() => F.l1Loss(x, zeros([3])), '[l1Loss] the prediction has shape [2, 3], the target [3]'],
    [() => new nn.L1Loss(any({ beta: 1 })), "[L1Loss] unknown option 'beta'"],
    [() => new nn.KLDivLoss(any({ reduction: 'all' })), "pass one of 'mean', 'sum', 'none', 'batchmean'"],
    [() => F.klDiv(tensor(0), tensor(0), { reduction: 'batchmean' }), 'a scalar has no batch'],
    [() => new nn.CrossEntropyLoss({ labelSmoothing: 2 }), '[CrossEntropyLoss] labelSmoothing is 2'],
    [() => new nn.CrossEntropyLoss({ weight: x }), 'weight has shape [2, 3]'],
    [() => F.crossEntropy(x, zeros([2]), { weight: ones([2]) }), 'weight has 2 factors for 3 classes'],
    [() => F.crossEntropy(x, x, { ignoreIndex: 1 }), 'ignoreIndex is 1 for targets that are probabilities'],
    [() => F.crossEntropy(x, tensor([0, -1])), 'label 1 is -1 for 3 classes'],
    [() => F.crossEntropy(x, tensor([0, 3]), { ignoreIndex: -1 }), 'label 1 is 3'],
    [() => F.crossEntropy(zeros([2, 3, 4]), zeros([2, 3])), 'logits have shape [2, 3, 4] and labels [2, 3]'],
    [() => F.nllLoss(x, x), '[nllLoss] logits have shape [2, 3] and labels [2, 3]'],
    [() => F.bceLoss(x, x, { weight: ones([2]) }), '[bceLoss] shapes [2, 3] and [2] cannot be broadcast'],
    [() => F.bceWithLogitsLoss(x, x, { posWeight: ones([4, 2, 3]) }), 'posWeight has shape [4, 2, 3]'],
    [() => F.cosineSimilarity(x, x, 2), 'dim is 2'],
    [() => F.cosineSimilarity(x, x, 1, { eps: -1 }), 'eps is -1'],
    [() => new nn.ModuleList(any([1])), '[ModuleList] module 0 is 1'],
    [() => new nn.ModuleList(any(new nn.ReLU())), 'the modules are a ReLU'],
    [() => new nn.ModuleList().at(0), '[ModuleList.at] the index is 0 in a list of 0 modules'],
    [() => new nn.ModuleList().forward(), 'a list of modules has no forward'],
    [() => new nn.ModuleDict({ 'a.b': new nn.ReLU() }), "a name is 'a.b'"],
    [() => new nn.ModuleDict(any({ a: 1 })), "module 'a' is 1"],
    [() => new nn.ModuleDict({ a: new nn.ReLU() }).get('b'), "there is no module 'b'; known are a"],
    [() => new nn.ModuleDict().forward(), 'modules by name have no forward'],
  ])('%#', async (run, text) => {
    expect(await message(run)).toContain(text);
  });
});

describe('Dropout', () => {
  it('keeps about the right share, scales it, and drops the gradient at the same places', () => {
    manualSeed(1);
    const x = ones([100, 100], { requiresGrad: true });
    const y = new nn.Dropout(0.2).forward(x);
    const values = y.dataSync();
    const kept = values.filter((v) => v !== 0);
    expect(Math.abs(kept.length / 10000 - 0.8)).toBeLessThan(0.02);
    expect(new Set(kept)).toEqual(new Set([Math.fround(1 / 0.8)]));
    y.sum().backward();
    expect(x.grad!.dataSync()).toEqual(values);
  });
  it('gives the same masks for the same seed on every device and number of threads, and others in the next call', () => {
    const run = (device: 'cpu' | 'reference') => {
      manualSeed(7);
      const x = ones([200, 100], { device });
      return [0, 1].map(() => F.dropout(x, 0.3).dataSync());
    };
    const [first, second] = run('cpu');
    expect(first).not.toEqual(second);
    expect(run('reference')).toEqual([first, second]);
    const threads = getNumThreads();
    setNumThreads(threads === 1 ? 2 : 1);
    expect(run('cpu')).toEqual([first, second]);
    setNumThreads(threads);
  });
  it('returns its input in evaluation mode and for p = 0, and zeros for p = 1', () => {
    const x = randn([5]);
    expect(new nn.Dropout().eval().forward(x)).toBe(x);
    expect(new nn.Dropout(0).forward(x)).toBe(x);
    expect([...F.dropout(x, 1).dataSync()].every((v) => v === 0)).toBe(true);
  });
});

describe('Embedding', () => {
  it('begins with normal numbers, and zeros for the padding, which training leaves as they are', () => {
    manualSeed(3);
    const layer = new nn.Embedding(1000, 10, { paddingIdx: -1 });
    expect(layer.paddingIdx).toBe(999);
    expect([...layer.weight.select(0, 999).dataSync()]).toEqual(new Array(10).fill(0));
    const { weight } = layer;
    const std = Math.sqrt(weight.mul(weight).mean().itemSync());
    expect(Math.abs(std - 1)).toBeLessThan(0.05);
    const optimizer = new optim.SGD(layer.parameters(), { lr: 1 });
    layer
      .forward(tensor([999, 3]))
      .sum()
      .backward();
    optimizer.step();
    expect([...layer.weight.select(0, 999).dataSync()]).toEqual(new Array(10).fill(0));
    expect(layer.weight.grad!.select(0, 3).sum().itemSync()).toBe(10);
  });
  it('shares its weight with a linear layer', () => {
    const layer = new nn.Embedding(5, 3);
    const head = new nn.Linear(3, 5, { bias: false });
    head.weight = layer.weight;
    head
      .forward(layer.forward(tensor([1])))
      .sum()
      .backward();
    expect(head.weight.grad).toBe(layer.weight.grad);
  });
});

describe('class losses', () => {
  it('give nothing for NaN in ignored samples', () => {
    const x = tensor([[1, 2], [NaN, Infinity]], { requiresGrad: true }); // biome-ignore format: one line
    const loss = F.crossEntropy(x, tensor([0, -100]));
    expect(loss.itemSync()).toBeCloseTo(1.3133, 4);
    loss.backward();
    expect((x.grad!.toArraySync() as number[][])[0]).toEqual([expect.closeTo(-0.731, 3), expect.closeTo(0.731, 3)]);
  });
  it('search labels that only a device has where ignoreIndex is given', async () => {
    startLateDevice();
    const options = { device: 'gpu' } as const;
    const labels = tensor([0, 1, 2], options).mul(1);
    const x = tensor([[1, 2, 0], [0, 1, 0], [5, 0, 1]], options); // biome-ignore format: one line
    const loss = F.crossEntropy(x, labels, { ignoreIndex: 2 });
    const expected = F.crossEntropy(tensor([[1, 2, 0], [0, 1, 0]]), tensor([0, 1])); // biome-ignore format: one line
    expectClose(await loss.data(), expected.dataSync());
  });
  it('keep factors as buffers, which move and are saved', () => {
    const criterion = new nn.BCEWithLogitsLoss({ posWeight: tensor([2, 3]), weight: tensor([1]) });
    expect(Object.keys(criterion.stateDict())).toEqual(['weight', 'pos_weight']);
    expect(Object.keys(new nn.CrossEntropyLoss({ weight: ones([3]) }).stateDict())).toEqual(['weight']);
    expect(criterion.to('reference').posWeight!.device).toBe('reference');
  });
});

describe('BatchNorm', () => {
  it('changes nothing on an error, nor without training', async () => {
    const layer = new nn.BatchNorm1d(2);
    await errorOf(() => layer.forward(zeros([1, 2])));
    layer.eval().forward(randn([4, 2]));
    expect(layer.numBatchesTracked!.itemSync()).toBe(0);
    expect(layer.runningVar!.toArraySync()).toEqual([1, 1]);
  });
  it('moves with its buffers, resets them, and computes in noGrad', () => {
    const layer = new nn.BatchNorm1d(2).to('reference');
    noGrad(() => layer.forward(randn([4, 2], { device: 'reference' })));
    expect(layer.numBatchesTracked!.itemSync()).toBe(1);
    expect(layer.runningMean!.toArraySync()).not.toEqual([0, 0]);
    layer.resetRunningStats();
    expect(layer.runningMean!.toArraySync()).toEqual([0, 0]);
    expect(layer.runningVar!.toArraySync()).toEqual([1, 1]);
    expect(layer.numBatchesTracked!.itemSync()).toBe(0);
  });
  it('reads a state dict of PyTorch, and refuses one without its buffers', async () => {
    const layer = new nn.BatchNorm1d(2);
    const error = await message(() => layer.loadStateDict({ weight: ones([2]), bias: ones([2]) }));
    expect(error).toContain('missing keys: running_mean, running_var, num_batches_tracked');
  });
});

describe('layers with weights', () => {
  it('take only parameters of their shape', async () => {
    const layer = new nn.LayerNorm(3);
    expect(await message(() => Object.assign(layer, { weight: ones([3]) }))).toContain('[LayerNorm.weight]');
    const set = () => Object.assign(layer, { bias: new nn.Parameter(ones([2])) });
    expect(await message(set)).toContain('assign a parameter of shape [3]');
    layer.bias = null;
    expect(String(layer)).toBe('LayerNorm([3], eps=0.00001, elementwiseAffine=true, bias=false)');
  });
  it('have the same sums for every number of threads', () => {
    const [x, g] = [sampleTensor([1000, 70], [-1, 1]), sampleTensor([1000, 70], [-1, 1], 2)];
    const layer = new nn.LayerNorm(70);
    const run = () => {
      layer.zeroGrad();
      const leaf = x.clone();
      leaf.requiresGrad = true;
      layer.forward(leaf).backward(g);
      return [leaf.grad!, layer.weight!.grad!, layer.bias!.grad!].map((t) => t.dataSync());
    };
    const threads = getNumThreads();
    setNumThreads(1);
    const one = run();
    setNumThreads(2);
    expect(run()).toEqual(one);
    setNumThreads(threads);
  });
  it('get the same gradients with and without createGraph', () => {
    const x = sampleTensor([50, 7], [-1, 1], 1, 'cpu', true);
    const layer = new nn.LayerNorm(7);
    const run = (createGraph: boolean) => {
      layer.zeroGrad();
      x.grad = null;
      layer.forward(x).pow(2).sum().backward(undefined, { createGraph });
      return [x, layer.weight!, layer.bias!].map((t) => t.grad!.dataSync());
    };
    const expected = run(true);
    for (const [i, values] of run(false).entries()) expectClose(values, expected[i], 1e-5, 1e-5);
  });
  it('take inputs in any order of memory', () => {
    const [x, g] = [sampleTensor([7, 50], [-1, 1]), sampleTensor([7, 50], [-1, 1], 2)];
    const layer = new nn.LayerNorm(7);
    const run = (leaf: Tensor, slope: Tensor, createGraph: boolean) => {
      layer.zeroGrad();
      layer.forward(leaf.detach()).backward(slope, { createGraph });
      return [...layer.weight!.grad!.dataSync(), ...layer.bias!.grad!.dataSync()];
    };
    const expected = run(x.t().contiguous(), g.t().contiguous(), false);
    for (const createGraph of [false, true]) expectClose(run(x.t(), g.t(), createGraph), expected);
  });
});

describe('containers', () => {
  it('ModuleList is a list whose elements are members', () => {
    const [a, b, c] = [new nn.Linear(2, 2), new nn.ReLU(), new nn.Linear(2, 1)];
    const list = new nn.ModuleList<nn.Module>([a]);
    expect(list.push(b)).toBe(2);
    list.insert(0, c).append(a);
    expect([...list]).toEqual([c, a, b, a]);
    expect([list.length, list.at(-2), list.at(0)]).toEqual([4, b, c]);
    expect(Object.keys(list.stateDict())).toEqual(['0.weight', '0.bias', '1.weight', '1.bias', '3.weight', '3.bias']);
    list.set(0, b);
    expect(list.parameters().length).toBe(2);
    expect(list.eval().at(1).training).toBe(false);
    expect(String(new nn.ModuleList([b]))).toBe('ModuleList(\n  (0): ReLU()\n)');
  });
  it('ModuleDict is a Map whose values are members', () => {
    const dict = new nn.ModuleDict<nn.Module>([['a', new nn.Linear(2, 1)]]);
    dict.set('b', new nn.ReLU());
    expect([...dict.keys()]).toEqual(['a', 'b']);
    expect([...dict].map(([name]) => name)).toEqual([...dict.entries()].map(([name]) => name));
    expect([dict.size, dict.has('b'), dict.delete('b'), dict.size, [...dict.values()].length]).toEqual([
      2,
      true,
      true,
      1,
      1,
    ]);
    expect(dict.get('a')).toBeInstanceOf(nn.Linear);
    expect(Object.keys(dict.stateDict())).toEqual(['a.weight', 'a.bias']);
  });
});

describe('functions', () => {
  it('oneHot finds the number of classes', () => {
    expect(F.oneHot(tensor([[1], [0]])).toArraySync()).toEqual([[[0, 1]], [[1, 0]]]); // biome-ignore format: one line
  });
  it('cosineSimilarity of zeros is 0, and has a gradient', () => {
    const x = zeros([1, 3], { requiresGrad: true });
    const y = F.cosineSimilarity(x, ones([1, 3]));
    expect(y.toArraySync()).toEqual([0]);
    y.sum().backward();
    expect([...x.grad!.dataSync()].every(Number.isFinite)).toBe(true);
  });
  it('klDiv takes targets that are 0', () => {
    const target = tensor([[1, 0]], { requiresGrad: true });
    F.klDiv(tensor([[-1, -2]]), target, { reduction: 'sum' }).backward();
    expect([...target.grad!.dataSync()].every(Number.isFinite)).toBe(true);
  });
});
