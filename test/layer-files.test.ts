import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { manualSeed, nn, noGrad, summary, type Tensor, tensor } from '../src/index.js';
import { exportOnnx, load, loadModel, loadModelFile, saveModel, toSafetensors } from '../src/io/index.js';
import { errorOf, expectClose, sampleTensor } from './helpers.js';

// Every layer in every kind of file: saveModel, exportOnnx (onnxruntime judges), PyTorch's files.

const folder = () => mkdtempSync(join(tmpdir(), 'tapegrad-'));

/** Layers with other numbers than those that they begin with, and the shape of an input without its batch. */
function changed<T extends nn.Module>(model: T): T {
  manualSeed(5);
  for (const [name, t] of Object.entries(model.stateDict())) {
    const low = name.endsWith('running_var') ? 0.5 : -1;
    if (!name.endsWith('num_batches_tracked')) t.copyFrom(sampleTensor(t.shape, [low, 1.5], 7));
  }
  return model;
}

const many: [string, () => nn.TensorModule, number[]][] = [
  ['Identity', () => new nn.Identity(), [3]],
  ['Flatten()', () => new nn.Flatten(), [2, 3]],
  ['Flatten(-2)', () => new nn.Flatten(-2), [2, 3, 4]],
  ['Flatten(0, 1)', () => new nn.Flatten(0, 1), [2, 3]],
  ['Dropout', () => new nn.Dropout(0.3), [3]],
  ['GELU', () => new nn.GELU(), [5]],
  ['GELU by tanh', () => new nn.GELU({ approximate: 'tanh' }), [5]],
  ['SiLU', () => new nn.SiLU(), [5]],
  ['Mish', () => new nn.Mish(), [5]],
  ['LeakyReLU', () => new nn.LeakyReLU(0.2), [5]],
  ['ELU', () => new nn.ELU(0.7), [5]],
  ['ReLU6', () => new nn.ReLU6(), [5]],
  ['Softplus', () => new nn.Softplus(), [5]],
  ['Softplus with options', () => new nn.Softplus({ beta: 2, threshold: 1 }), [5]],
  ['Softmax', () => new nn.Softmax(-1), [2, 5]],
  ['LogSoftmax', () => new nn.LogSoftmax(1), [2, 5]],
  ['LayerNorm', () => new nn.LayerNorm(5), [5]],
  ['LayerNorm of two dimensions', () => new nn.LayerNorm([2, 3], { eps: 0.1, bias: false }), [4, 2, 3]],
  ['LayerNorm without weights', () => new nn.LayerNorm(5, { elementwiseAffine: false }), [2, 5]],
  ['RMSNorm', () => new nn.RMSNorm(5), [5]],
  ['RMSNorm without weights', () => new nn.RMSNorm([2, 3], { eps: 0.1, elementwiseAffine: false }), [2, 3]],
  ['GroupNorm', () => new nn.GroupNorm(2, 6), [6, 3]],
  ['GroupNorm of images', () => new nn.GroupNorm(3, 6, { eps: 0.1 }), [6, 2, 3]],
  ['GroupNorm without weights', () => new nn.GroupNorm(2, 6, { affine: false }), [6]],
  ['BatchNorm1d', () => new nn.BatchNorm1d(4), [4]],
  ['BatchNorm1d of sequences', () => new nn.BatchNorm1d(4, { affine: false, eps: 0.1 }), [4, 3]],
  ['BatchNorm2d', () => new nn.BatchNorm2d(3, { momentum: null }), [3, 2, 2]],
  [
    'several',
    () =>
      new nn.Sequential(
        new nn.Flatten(),
        new nn.Sequential(new nn.Linear(6, 4), new nn.BatchNorm1d(4), new nn.ReLU()),
        new nn.Dropout(),
        new nn.LayerNorm(4),
        new nn.Linear(4, 2),
      ),
    [2, 3],
  ],
];

async function agrees(model: nn.TensorModule, x: Tensor, shape: readonly number[]): Promise<void> {
  const path = join(folder(), 'model.onnx');
  await exportOnnx(model, shape, path);
  const session = await ort.InferenceSession.create(path);
  const { output } = await session.run({ input: new ort.Tensor('float32', x.dataSync(), x.shape) });
  const y = noGrad(() => model.eval().forward(x));
  expect(output.dims).toEqual([...y.shape]);
  expectClose(output.data as Float32Array, y.dataSync(), 1e-5, 1e-5);
  await session.release();
}

describe('exportOnnx', () => {
  it.each(many)('%s computes the same in onnxruntime, for other batches, too', async (_, make, shape) => {
    const model = changed(make());
    await agrees(model, sampleTensor([4, ...shape], [-2, 3]), [1, ...shape]);
    await agrees(model, sampleTensor([1, ...shape], [-2, 3], 3), [4, ...shape]);
  });
  it('Embedding looks up what it looks up here', async () => {
    const model = changed(new nn.Sequential(new nn.Embedding(7, 4), new nn.LayerNorm(4), new nn.Flatten()));
    await agrees(model, tensor([[1, 6, 0], [3, 3, 2]]), [1, 3]); // biome-ignore format: one line
  });
  it.each<[string, nn.TensorModule, number[], string]>([
    ['other last dimensions', new nn.LayerNorm(4), [1, 5], "layer '' takes inputs that end in [4]"],
    ['a normalized batch', new nn.LayerNorm([1, 5]), [1, 5], 'takes inputs that end in [1, 5]'],
    ['other channels', new nn.GroupNorm(2, 4), [1, 5], 'takes 4 channels'],
    ['other channels of batches', new nn.BatchNorm1d(4), [1, 5, 4], 'takes 4 channels'],
    ['other dimensions', new nn.BatchNorm2d(4), [1, 4, 4], 'takes 4 channels'],
    ['dimensions that do not exist', new nn.Flatten(2), [1, 4], 'takes dimensions 2 to -1'],
    ['a dimension of softmax that does not exist', new nn.Softmax(2), [1, 4], 'inputs with a dimension 2'],
    ['no running mean', new nn.BatchNorm1d(4, { trackRunningStats: false }), [1, 4], 'no running mean and variance'],
  ])('refuses %s', async (_, model, shape, text) => {
    const error = await errorOf(() => exportOnnx(model, shape, join(folder(), 'm.onnx')));
    expect(error.op).toBe('exportOnnx');
    expect(error.message).toContain(text);
  });
});

describe('saveModel', () => {
  it.each<[string, () => nn.TensorModule]>([
    ...many.map(([name, make]): [string, () => nn.TensorModule] => [name, make]),
    ['Embedding', () => new nn.Embedding(5, 3)],
    ['Embedding with padding', () => new nn.Embedding(5, 3, { paddingIdx: 2 })],
    ['BatchNorm1d without buffers', () => new nn.BatchNorm1d(4, { trackRunningStats: false, momentum: 0.2 })],
  ])('%s comes back', async (_, make) => {
    const path = join(folder(), 'm.safetensors');
    const model = changed(make());
    await saveModel(model, path);
    const back = await loadModel(path);
    expect(String(back)).toBe(String(model));
    const [own, other] = [model.stateDict(), back.stateDict()];
    expect(Object.keys(other)).toEqual(Object.keys(own));
    for (const key of Object.keys(own)) expect([...other[key].dataSync()]).toEqual([...own[key].dataSync()]);
  });
  it('of a model that begins with an embedding takes any number of features', async () => {
    const path = join(folder(), 'm.safetensors');
    await saveModel(new nn.Sequential(new nn.Embedding(5, 3), new nn.Flatten(), new nn.Linear(6, 2)), path);
    const { inputFeatures, outputFeatures } = await loadModelFile(path);
    expect([inputFeatures, outputFeatures]).toEqual([null, 2]);
  });
  it.each<[object, string]>([
    [{ type: 'Dropout', p: 2 }, 'the model is a Dropout with p 2'],
    [
      { type: 'GroupNorm', numGroups: 2, numChannels: 3, eps: 1, affine: true },
      'a GroupNorm with numGroups 2, numChannels 3',
    ],
    [{ type: 'Embedding', numEmbeddings: 2, embeddingDim: 3, paddingIdx: 2 }, 'paddingIdx 2'],
    [{ type: 'LayerNorm', normalizedShape: [], eps: 1, elementwiseAffine: true, bias: true }, 'normalizedShape []'],
    [
      { type: 'BatchNorm1d', numFeatures: 3, eps: null, momentum: null, affine: true, trackRunningStats: true },
      'eps null',
    ],
    [{ type: 'Flatten', startDim: 1.5, endDim: -1 }, 'startDim 1.5'],
  ])('refuses to load %j', async (architecture, text) => {
    const bytes = await toSafetensors({ a: tensor([1]) }, { tapegrad: JSON.stringify({ version: 1, architecture }) });
    const error = await errorOf(() => loadModelFile(bytes));
    expect(error.message).toContain(text);
    expect(error.message).toContain('the file is damaged');
  });
});

describe('a checkpoint of PyTorch', () => {
  it('with batch and layer normalization and an embedding loads and computes the same', async () => {
    const state = await load(new URL('golden/pth/layers.pth', import.meta.url).pathname);
    const model = new nn.Sequential(
      new nn.Embedding(6, 4, { paddingIdx: 0 }),
      new nn.Flatten(),
      new nn.BatchNorm1d(8),
      new nn.LayerNorm(8),
      new nn.Linear(8, 2),
    );
    const { input, output, ...own } = state;
    expect(Object.keys(model.stateDict())).toEqual(Object.keys(own));
    model.loadStateDict(own);
    model.eval();
    expectClose(noGrad(() => model.forward(input)).dataSync(), output.dataSync(), 1e-5, 1e-5);
    expect(model.stateDict()['2.num_batches_tracked'].itemSync()).toBe(3);
  });
});

describe('summary', () => {
  it('knows shapes and parameters of all layers', () => {
    const model = new nn.Sequential(new nn.Flatten(), new nn.BatchNorm1d(6), new nn.Dropout(), new nn.LayerNorm(6));
    const { rows, parameters } = summary(model, [4, 2, 3]);
    expect(rows.map((r) => [r.type, r.outputShape, r.parameters])).toEqual([
      ['Sequential', [4, 6], 0],
      ['Flatten', [4, 6], 0],
      ['BatchNorm1d', [4, 6], 12],
      ['Dropout', [4, 6], 0],
      ['LayerNorm', [4, 6], 12],
    ]);
    expect(parameters).toBe(24);
    expect(model.stateDict()['1.num_batches_tracked'].itemSync()).toBe(0);
  });
});
