import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nn, noGrad, randn, type Tensor, tensor, zeros } from '../src/index.js';
import { load, loadModel, save, saveModel, toSafetensors } from '../src/io/index.js';
import { errorOf } from './helpers.js';

const folder = () => mkdtempSync(join(tmpdir(), 'tapegrad-'));
const net = () =>
  new nn.Sequential(
    new nn.Linear(4, 6),
    new nn.ReLU(),
    new nn.Sequential(new nn.Linear(6, 5, { bias: false }), new nn.Tanh()),
    new nn.Sigmoid(),
    new nn.Linear(5, 2),
  );

describe('saveModel and loadModel', () => {
  it('give back the same model', async () => {
    const path = join(folder(), 'model.safetensors');
    const model = net();
    await saveModel(model, path);
    const again = await loadModel(path);
    expect(Object.keys(again.stateDict())).toEqual(Object.keys(model.stateDict()));
    const x = randn([3, 4]);
    expect(noGrad(() => again.forward(x)).dataSync()).toEqual(noGrad(() => model.forward(x)).dataSync());
    expect(again.parameters().every((p) => p.requiresGrad)).toBe(true);
    expect(readdirSync(join(path, '..'))).toEqual(['model.safetensors']);
  });
  it('take one layer, and leave the weights readable for others', async () => {
    const path = join(folder(), 'model.safetensors');
    await saveModel(new nn.Linear(2, 3), path);
    expect((await loadModel(path)) instanceof nn.Linear).toBe(true);
    expect(Object.keys(await load(path))).toEqual(['weight', 'bias']);
  });
  it('refuse modules that cannot be written down, before anything is written', async () => {
    class Own extends nn.Module {
      forward(x: Tensor) {
        return x;
      }
    }
    class Faster extends nn.Linear {}
    const dir = folder();
    for (const model of [
      new nn.Sequential(new nn.ReLU(), new Own()),
      new nn.Sequential(new nn.ReLU(), new Faster(1, 1)),
    ]) {
      const error = await errorOf(() => saveModel(model, join(dir, 'm.safetensors')));
      expect(error.op).toBe('saveModel');
      expect(error.message).toContain('module 1');
      expect(error.message).toContain('Linear, ReLU');
    }
    expect(readdirSync(dir)).toEqual([]);
    expect((await errorOf(() => saveModel({} as never, 'x'))).message).toContain('pass a module');
  });
});

describe('a model file that lies', () => {
  const file = async (description: unknown, state: Record<string, Tensor> = {}) => {
    const path = join(folder(), 'model.safetensors');
    const text = typeof description === 'string' ? description : JSON.stringify(description);
    writeFileSync(path, await toSafetensors(state, { tapegrad: text }));
    return path;
  };
  const weights = () => ({ weight: zeros([3, 2]), bias: zeros([3]) });
  const linear = { type: 'Linear', inFeatures: 2, outFeatures: 3, bias: true };
  let deep: unknown = { type: 'ReLU' };
  for (let i = 0; i < 500; i++) deep = { type: 'Sequential', modules: [deep] };

  it('is refused only where it lies', async () => {
    expect((await loadModel(await file({ version: 1, architecture: linear }, weights()))) instanceof nn.Linear).toBe(
      true,
    );
  });
  it.each<[string, unknown, Record<string, Tensor>, string]>([
    ['no JSON', '{', {}, 'not JSON'],
    ['no object', 'null', {}, 'version undefined'],
    ['a newer version', { version: 4, architecture: linear }, weights(), 'update tapegrad'],
    [
      'sharing of nothing',
      { version: 2, architecture: linear, shared: { weight: 'x' } },
      weights(),
      "'weight' and 'x'",
    ],
    [
      'sharing of other shapes',
      { version: 2, architecture: linear, shared: { weight: 'bias' } },
      weights(),
      'cannot be one parameter',
    ],
    ['no sharing', { version: 2, architecture: linear, shared: 3 }, weights(), 'shared is 3'],
    ['a frozen nothing', { version: 1, architecture: linear, frozen: ['x'] }, weights(), "frozen parameter 'x'"],
    ['an unknown layer', { version: 1, architecture: { type: 'Conv2d' } }, {}, "'Conv2d'; known are Linear"],
    ['a name of Object', { version: 1, architecture: { type: 'constructor' } }, {}, "'constructor'"],
    ['no layer', { version: 1, architecture: 3 }, {}, 'the model is 3'],
    [
      'modules that are none',
      { version: 1, architecture: { type: 'Sequential', modules: 'x' } },
      {},
      "Sequential of 'x'",
    ],
    [
      'huge sizes',
      { version: 1, architecture: { ...linear, inFeatures: 1e12 } },
      weights(),
      "'weight' is [3, 2] where the architecture has [3, 1000000000000]",
    ],
    ['sizes that are none', { version: 1, architecture: { ...linear, outFeatures: -1 } }, weights(), 'outFeatures -1'],
    ['a missing tensor', { version: 1, architecture: linear }, { weight: zeros([3, 2]) }, "'bias' is missing"],
    ['a tensor too many', { version: 1, architecture: linear }, { ...weights(), extra: tensor([1]) }, 'no extra'],
    ['bottomless nesting', { version: 1, architecture: deep }, {}, 'nested deeper'],
  ])('with %s is refused', async (_, description, state, text) => {
    const error = await errorOf(async () => loadModel(await file(description, state)));
    expect(error.op).toBe('loadModel');
    expect(error.message).toContain(text);
  });
  it('is told from one without an architecture', async () => {
    const path = join(folder(), 'model.safetensors');
    await save(net(), path);
    expect((await errorOf(() => loadModel(path))).message).toContain('load(path) returns its tensors');
    expect(readFileSync(path).length).toBeGreaterThan(100);
  });
});
