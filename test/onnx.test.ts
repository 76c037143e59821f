import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { data, manualSeed, nn, noGrad, type Tensor } from '../src/index.js';
import { exportOnnx, fromSafetensors, loadModelFile, saveModel, toSafetensors } from '../src/io/index.js';
import { errorOf, expectClose, sampleTensor } from './helpers.js';

// onnxruntime judges what exportOnnx writes.

const folder = () => mkdtempSync(join(tmpdir(), 'tapegrad-'));

async function agrees(model: nn.TensorModule, x: Tensor, exported = x.shape): Promise<void> {
  const path = join(folder(), 'model.onnx');
  await exportOnnx(model, exported, path);
  const session = await ort.InferenceSession.create(path);
  const { output } = await session.run({ input: new ort.Tensor('float32', x.dataSync(), x.shape) });
  const y = noGrad(() => model.forward(x));
  expect(output.dims).toEqual([...y.shape]);
  expectClose(output.data as Float32Array, y.dataSync(), 1e-5, 1e-5);
  await session.release();
}

describe('exportOnnx', () => {
  it.each<[string, nn.TensorModule]>([
    ['Linear', new nn.Linear(5, 3)],
    ['Linear without bias', new nn.Linear(5, 3, { bias: false })],
    ['ReLU', new nn.ReLU()],
    ['Sigmoid', new nn.Sigmoid()],
    ['Tanh', new nn.Tanh()],
    [
      'Sequential',
      new nn.Sequential(new nn.Sequential(new nn.Linear(5, 8), new nn.ReLU()), new nn.Tanh(), new nn.Linear(8, 2)),
    ],
    ['an empty Sequential', new nn.Sequential()],
  ])('%s computes the same in onnxruntime, for matrices, more dimensions and other batches', async (_, model) => {
    await agrees(model, sampleTensor([4, 5], [-3, 3]));
    await agrees(model, sampleTensor([2, 3, 5], [-3, 3]));
    await agrees(model, sampleTensor([7, 5], [-3, 3]), [1, 5]);
  });
  it('refuses what it cannot write, before it writes', async () => {
    class Own extends nn.Module {
      forward(x: Tensor) {
        return x;
      }
    }
    const dir = folder();
    const path = join(dir, 'm.onnx');
    const refused = async (model: unknown, shape: unknown) =>
      (await errorOf(() => exportOnnx(model as nn.Module, shape as number[], path))).message;
    expect(await refused(new nn.Sequential(new Own()), [1, 5])).toMatch(/^\[exportOnnx\] module 0 is .*Own/);
    expect(await refused(new nn.Linear(5, 3), [1, 4])).toContain('takes 5 features, not those of [1, 4]');
    expect(await refused(new nn.Linear(5, 3), [5])).toContain('pass [batch, .., features]');
    expect(await refused({}, [1, 5])).toContain('pass a module');
    expect(existsSync(path)).toBe(false);
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe('what belongs to a model', () => {
  manualSeed(3);
  const x = sampleTensor([50, 4], [0, 9]);
  const scaler = new data.StandardScaler().fit(x);
  const model = new nn.Sequential(new nn.Linear(4, 3), new nn.Tanh());
  const outputs = noGrad(() => model.forward(scaler.transform(x)));
  const baseline = data.computeBaseline(x, outputs, { names: ['a', 'b', 'c', 'd'] });

  it('comes back with it', async () => {
    const path = join(folder(), 'm.safetensors');
    const imputer = new data.Imputer({ strategy: 'constant', value: 2 }).fit(x);
    await saveModel(model, path, { preprocessors: [imputer, scaler], baseline, labels: ['x', 'y', 'z'] });
    const file = await loadModelFile(path);
    expect(file.inputFeatures).toBe(4);
    expect(file.outputFeatures).toBe(3);
    expect(file.labels).toEqual(['x', 'y', 'z']);
    expect(file.baseline).toEqual(baseline);
    const prepared = file.preprocessors.reduce((t, p) => p.transform(t), x);
    expect(prepared.dataSync()).toEqual(scaler.transform(imputer.transform(x)).dataSync());
    expect(file.preprocessors[0]).toBeInstanceOf(data.Imputer);
  });
  it('is read from files of versions 1 and 2, which have other keys', async () => {
    const path = join(folder(), 'm.safetensors');
    await saveModel(model, path, { preprocessors: [scaler], baseline });
    const { tensors, metadata } = fromSafetensors(readFileSync(path));
    const { preprocessors: preparation, baseline: profile, ...rest } = JSON.parse(metadata.tapegrad);
    expect(rest.version).toBe(3);
    for (const version of [1, 2]) {
      const tapegrad = JSON.stringify({ ...rest, version, preparation, profile });
      const file = await loadModelFile(await toSafetensors(tensors, { tapegrad }));
      expect(file.preprocessors[0].toJSON()).toEqual(scaler.toJSON());
      expect(file.baseline).toEqual(baseline);
    }
  });
  it('is nothing where nothing was given', async () => {
    const path = join(folder(), 'm.safetensors');
    await saveModel(model, path);
    expect(await loadModelFile(path)).toMatchObject({ preprocessors: [], baseline: null, labels: [] });
  });
  it.each<[object, string]>([
    [{ preprocessors: [new data.StandardScaler()] }, 'it has not been fitted'],
    [
      { preprocessors: [new data.MinMaxScaler().fit(sampleTensor([5, 3], [0, 1]))] },
      'a MinMaxScaler has 3 features, the model 4',
    ],
    [{ preprocessors: ['scale'] }, "preprocessors[0] is 'scale'"],
    [{ baseline: { rows: 0 } }, 'has 0 rows'],
    [{ baseline: data.computeBaseline(sampleTensor([5, 3], [0, 1])) }, 'the baseline has 3 features, the model 4'],
    [{ baseline: { ...baseline, features: [{ name: 'a', points: [2, 1], missing: 0 }] } }, 'in ascending order'],
    [{ labels: ['only one'] }, 'there are 1 labels for 3 outputs'],
    [{ weights: 1 }, "unknown option 'weights'"],
  ])('is refused where it does not belong: %#', async (extras, text) => {
    const dir = folder();
    expect((await errorOf(() => saveModel(model, join(dir, 'm.safetensors'), extras))).message).toContain(text);
    expect(readdirSync(dir)).toEqual([]);
  });
  it('is checked when it is read', async () => {
    const path = join(folder(), 'm.safetensors');
    await saveModel(model, path, { preprocessors: [scaler] });
    const bytes = readFileSync(path);
    writeFileSync(path, Buffer.from(bytes.toString('latin1').replace('StandardScaler', 'StandardScalex'), 'latin1'));
    expect((await errorOf(() => loadModelFile(path))).message).toContain(
      "a preprocessor is 'StandardScalex'; known are",
    );
  });
});

describe('computeBaseline', () => {
  it('keeps order statistics, missing values and the classes that were chosen', () => {
    const baseline = data.computeBaseline(sampleTensor([3000, 2], [0, 1]), undefined, { points: 101 });
    expect(baseline.features.map((f) => f.points.length)).toEqual([101, 101]);
    expect(baseline.features[0].points[50]).toBeCloseTo(0.5, 1);
    const rows = noGrad(() =>
      sampleTensor([4, 1], [1, 1])
        .log()
        .sub(1)
        .log()
        .matmul(sampleTensor([1, 2], [1, 1])),
    );
    expect(data.computeBaseline(rows).features[0]).toEqual({ name: 'feature_0', points: [], missing: 4 });
    const outputs = sampleTensor([3000, 3], [0, 1]);
    const counts = data.computeBaseline(sampleTensor([3000, 2], [0, 1]), outputs).classes;
    expect(counts.reduce((a, b) => a + b)).toBe(3000);
    expect(counts.every((n) => n > 800)).toBe(true);
  });
  it('refuses names and outputs that do not belong', async () => {
    const x = sampleTensor([4, 2], [0, 1]);
    expect((await errorOf(() => data.computeBaseline(x, undefined, { names: ['a'] }))).message).toContain(
      '1 names for 2',
    );
    expect((await errorOf(() => data.computeBaseline(x, sampleTensor([3, 2], [0, 1])))).message).toContain(
      'the same samples',
    );
  });
});
