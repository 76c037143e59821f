import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { preprocessorToJSON } from '../src/data/preprocessors.js';
import { data, nn, randn, type Tensor, tensor, zeros } from '../src/index.js';
import { fromSafetensors, loadModelFile, type ModelExtras, saveModel, toSafetensors } from '../src/io/index.js';
import { errorOf } from './helpers.js';

const folder = () => mkdtempSync(join(tmpdir(), 'tapegrad-'));
const any = (value: unknown) => value as never;

/** The description in the file of a model. */
async function described(model: nn.Module, extras?: ModelExtras): Promise<Record<string, unknown>> {
  const path = join(folder(), 'm.safetensors');
  await saveModel(model, path, extras);
  return JSON.parse(fromSafetensors(readFileSync(path)).metadata.tapegrad);
}
const file = async (description: unknown, state: Record<string, Tensor> = {}) =>
  toSafetensors(state, { tapegrad: JSON.stringify(description) });

const linear = { type: 'Linear', inFeatures: 2, outFeatures: 3, bias: true };
const weights = () => ({ weight: zeros([3, 2]), bias: zeros([3]) });
const scaler = (features: number) => new data.StandardScaler().fit(randn([5, features]));
const baselineOf = (features: number, outputs?: number) =>
  data.computeBaseline(randn([5, features]), outputs === undefined ? undefined : randn([5, outputs]));

describe('what saveModel writes', () => {
  it('is the architecture and nothing more, where there is nothing more', async () => {
    expect(await described(new nn.Linear(2, 3))).toEqual({ version: 1, architecture: linear });
    expect(await described(new nn.Sequential(new nn.Linear(2, 3, { bias: false }), new nn.Tanh()))).toEqual({
      version: 1,
      architecture: {
        type: 'Sequential',
        modules: [{ ...linear, bias: false }, { type: 'Tanh' }],
      },
    });
    expect(await described(new nn.Linear(2, 3), { labels: [], preprocessors: [] })).toEqual({
      version: 1,
      architecture: linear,
    });
  });
  it('has the lowest version whose readers understand it', async () => {
    const layer = new nn.Linear(2, 2);
    expect(await described(new nn.Sequential(layer, layer))).toMatchObject({
      version: 2,
      shared: { '1.weight': '0.weight', '1.bias': '0.bias' },
    });
    expect(await described(new nn.Sequential(layer, layer), { baseline: baselineOf(2) })).toMatchObject({ version: 3 });
    expect((await described(layer, { preprocessors: [scaler(2)] })).version).toBe(3);
    expect((await described(layer, { baseline: baselineOf(2) })).version).toBe(3);
    expect(await described(layer, { labels: ['a', 'b'] })).toMatchObject({ version: 1, labels: ['a', 'b'] });
  });
  it('names frozen parameters', async () => {
    const model = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 1));
    model.parameters()[2].requiresGrad = false;
    expect((await described(model)).frozen).toEqual(['1.weight']);
  });
  it('may be a model without parameters, which takes any number of features', async () => {
    const path = join(folder(), 'm.safetensors');
    const extras = { preprocessors: [scaler(7)], baseline: baselineOf(3, 4), labels: ['x'] };
    await saveModel(new nn.Sequential(new nn.ReLU(), new nn.Sequential()), path, extras);
    const { inputFeatures, outputFeatures, labels, baseline } = await loadModelFile(path);
    expect([inputFeatures, outputFeatures, labels]).toEqual([null, null, ['x']]);
    expect(baseline).toEqual(extras.baseline);
  });
  it('has the features of its first Linear and the outputs of its last', async () => {
    const path = join(folder(), 'm.safetensors');
    const inner = new nn.Sequential(new nn.Linear(4, 5), new nn.Sigmoid());
    await saveModel(new nn.Sequential(new nn.Tanh(), inner, new nn.Linear(5, 2), new nn.ReLU()), path);
    const { inputFeatures, outputFeatures } = await loadModelFile(path);
    expect([inputFeatures, outputFeatures]).toEqual([4, 2]);
  });
});

describe('saveModel refuses', () => {
  class Own extends nn.Module {
    forward(x: Tensor) {
      return x;
    }
  }
  const model = () => new nn.Linear(2, 3);
  const extra = (...modules: nn.Module[]) =>
    Object.assign(new nn.Sequential(...any(modules) as never[]), { a: new nn.Buffer(zeros([1])), b: new nn.Parameter(zeros([1])) }); // biome-ignore format: one line
  // biome-ignore format: one line a case
  it.each<[string, () => nn.Module, unknown, string]>([
    ['no module', () => any({}), {}, '[saveModel] the model is a Object; pass a module'],
    ['a module of its own class at the top', () => new Own(), {}, 'module at the top is a Own, which cannot be saved with its architecture; use nn.Sequential of Linear, ReLU, Sigmoid, Tanh, GELU'],
    ['a module of its own class within', () => new nn.Sequential(new nn.ReLU(), new Own()), {}, 'module 1 is a Own'],
    ['tensors beside the layers', () => extra(new nn.ReLU()), {}, 'the model has b, a, which do not belong to its layers; use save(model.stateDict(), path)'],
    ['an unknown option', model, { label: [] }, "unknown option 'label'; known options are preprocessors, baseline, labels"],
    ['what is no preprocessor', model, { preprocessors: [scaler(2), {}] }, 'preprocessors[1] is a Object; pass fitted StandardScaler'],
    ['a preprocessor of other features', model, { preprocessors: [scaler(2), scaler(3)] }, 'a StandardScaler has 3 features, the model 2; pass extras that were made for this model'],
    ['a baseline of other features', model, { baseline: baselineOf(3) }, 'the baseline has 3 features, the model 2'],
    ['a baseline of other outputs', model, { baseline: baselineOf(2, 2) }, 'the baseline has 2 outputs, the model 3'],
    ['labels that are no list', model, { labels: 'abc' }, "the labels are 'abc'"],
    ['labels that are no texts', model, { labels: ['a', 'b', 3] }, "the labels are ['a', 'b', 3]"],
    ['fewer labels than outputs', model, { labels: ['a', 'b'] }, 'there are 2 labels for 3 outputs'],
    ['more labels than outputs', model, { labels: ['a', 'b', 'c', 'd'] }, 'there are 4 labels for 3 outputs'],
  ])('%s', async (_, make, extras, text) => {
    const dir = folder();
    const error = await errorOf(() => saveModel(make(), join(dir, 'm.safetensors'), any(extras)));
    expect(error.op).toBe('saveModel');
    expect(error.message).toContain(text);
    expect(readdirSync(dir)).toEqual([]);
  });
  it('nothing that belongs: a baseline with outputs, one without, and labels', async () => {
    expect(await described(model(), { baseline: baselineOf(2, 3), labels: ['a', 'b', 'c'] })).toHaveProperty(
      'baseline',
    );
    expect(await described(model(), { baseline: baselineOf(2) })).toHaveProperty('baseline');
  });
});

describe('loadModelFile', () => {
  it('takes a name or bytes', async () => {
    const bytes = await file({ version: 1, architecture: linear }, weights());
    expect((await loadModelFile(bytes)).model).toBeInstanceOf(nn.Linear);
    const path = join(folder(), 'm.safetensors');
    writeFileSync(path, bytes);
    expect((await loadModelFile(path)).model).toBeInstanceOf(nn.Linear);
  });
  it('says which file has no architecture', async () => {
    const bytes = await toSafetensors({ a: tensor([1]) }, { other: 'x' });
    expect((await errorOf(() => loadModelFile(bytes))).message).toContain('[loadModel] the file does not describe');
    const path = join(folder(), 'm.safetensors');
    writeFileSync(path, bytes);
    expect((await errorOf(() => loadModelFile(path))).message).toContain(`${path} does not describe an architecture`);
  });
  it('reads layers nested as deeply as 64, and no deeper', async () => {
    const nested = (depth: number) => {
      let d: unknown = { type: 'ReLU' };
      for (let i = 0; i < depth; i++) d = { type: 'Sequential', modules: [d] };
      return file({ version: 1, architecture: d });
    };
    expect((await loadModelFile(await nested(63))).model).toBeInstanceOf(nn.Sequential);
    expect((await errorOf(async () => loadModelFile(await nested(64)))).message).toContain(
      'its layers are nested deeper than 64',
    );
  });
  it('freezes what the file names, and shares it', async () => {
    const architecture = {
      type: 'Sequential',
      modules: [
        { ...linear, outFeatures: 2 },
        { ...linear, outFeatures: 2 },
      ],
    };
    const state = { '0.weight': zeros([2, 2]), '0.bias': zeros([2]), '1.weight': zeros([2, 2]), '1.bias': zeros([2]) };
    const description = { version: 2, architecture, shared: { '1.bias': '0.bias' }, frozen: ['0.bias'] };
    const { model } = await loadModelFile(await file(description, state));
    const [first, second] = (model as nn.Sequential).modules as unknown as nn.Linear[];
    expect(second.bias).toBe(first.bias);
    expect(model.parameters().map((p) => p.requiresGrad)).toEqual([true, false, true]);
  });
  // biome-ignore format: one line a case
  it.each<[string, object, string]>([
    ['text for the size', { architecture: { ...linear, inFeatures: '2' } }, "the model is a Linear with inFeatures '2', outFeatures 3, bias true"],
    ['no features', { architecture: { ...linear, inFeatures: 0 } }, 'inFeatures 0'],
    ['half a feature', { architecture: { ...linear, outFeatures: 1.5 } }, 'outFeatures 1.5'],
    ['a bias that is no boolean', { architecture: { ...linear, bias: 1 } }, 'bias 1'],
    ['a wrong layer within', { architecture: { type: 'Sequential', modules: [{ type: 'ReLU' }, { ...linear, bias: null }] } }, '1. is a Linear with'],
    ['a wrong layer far within', { architecture: { type: 'Sequential', modules: [{ type: 'Sequential', modules: ['x'] }] } }, "0.0. is 'x'; known are Linear, ReLU, Sigmoid, Tanh, GELU"],
    ['null for a layer', { architecture: null }, 'the model is null'],
    ['a number for the type', { architecture: { type: 3 } }, 'the model is 3'],
    ['no modules', { architecture: { type: 'Sequential', modules: [{ type: 'Sequential' }] } }, '0. is a Sequential of undefined'],
    ['a list for what is shared', { architecture: linear, shared: null }, 'shared is null and frozen []'],
    ['an object for what is frozen', { architecture: linear, frozen: {} }, 'and frozen'],
    ['sharing of an unknown parameter', { architecture: linear, shared: { x: 'bias' } }, "'x' and 'bias' cannot be one parameter"],
    ['frozen numbers', { architecture: linear, frozen: [3] }, 'the frozen parameter 3 does not exist'],
    ['an object for preprocessors', { architecture: linear, preprocessors: {} }, 'the preprocessors are'],
    ['a baseline that is none', { architecture: linear, baseline: 3 }, 'the baseline has undefined rows'],
    ['labels for other outputs', { architecture: linear, labels: ['a'] }, 'there are 1 labels for 3 outputs; the file is damaged'],
    ['a preprocessor of other features', { architecture: linear, preprocessors: [preprocessorToJSON(scaler(4))] }, 'has 4 features, the model 2; the file is damaged'],
  ])('refuses %s', async (_, description, text) => {
    const error = await errorOf(async () => loadModelFile(await file({ version: 3, ...description }, weights())));
    expect(error.op).toBe('loadModel');
    expect(error.message).toContain(text);
  });
  it('refuses tensors of other names and shapes', async () => {
    const load = async (state: Record<string, Tensor>) =>
      (await errorOf(async () => loadModelFile(await file({ version: 1, architecture: linear }, state)))).message;
    expect(await load({ weight: zeros([3, 2]) })).toContain("'bias' is missing where the architecture has [3]");
    expect(await load({ weight: zeros([3, 2]), bias: zeros([2]) })).toContain("'bias' is [2] where the architecture");
    expect(await load({ ...weights(), x: zeros([1]), y: zeros([1]) })).toContain('the architecture has no x, y');
  });
  it('reads the versions 1 to 3', async () => {
    for (const version of [1, 2, 3])
      expect((await loadModelFile(await file({ version, architecture: linear }, weights()))).inputFeatures).toBe(2);
    for (const version of [0, 4, '1', undefined])
      expect(
        (await errorOf(async () => loadModelFile(await file({ version, architecture: linear }, weights())))).message,
      ).toContain('this release reads 1, 2, 3; update tapegrad');
  });
});
