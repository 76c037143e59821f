import { beforeAll, describe, expect, it } from 'vitest';
import { type FitOptions, fit, manualSeed, nn, ones, optim, randn, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf, expectClose, startLateDevice } from './helpers.js';

// Training and clipping on a device whose values the host cannot read at once. test/gpu has such tests on real GPUs.

beforeAll(startLateDevice);

const device = 'gpu';
const late = (values: unknown, requiresGrad = false) => tensor(values as number[], { device, requiresGrad });

function setting(where: 'cpu' | 'gpu') {
  manualSeed(3);
  const batch = (rows: number) => {
    const x = randn([rows, 3]);
    return [x, x.sum(1, true)].map((t) => t.to(where)) as [Tensor, Tensor];
  };
  const train = [4, 4, 2].map(batch);
  const model = new nn.Sequential(new nn.Linear(3, 30), new nn.Tanh(), new nn.Linear(30, 1)).to(where);
  const options: FitOptions = {
    train,
    loss: new nn.MSELoss(),
    optimizer: new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9 }),
    epochs: 2,
    progress: false,
  };
  return { model, options };
}
const weights = async (model: nn.Module) =>
  (await Promise.all(model.parameters().map(async (p) => [...(await p.data())]))).flat();

/** A loss that is 0, with an infinite gradient for the model's weight. */
function steep() {
  const model = Object.assign(new nn.Linear(1, 1, { bias: false }), { unused: new nn.Linear(1, 1) }).to(device);
  const loss: FitOptions['loss'] = { forward: (p) => p.sub(p.detach()).sqrt().sum() };
  const train = [[late([[1]]), late([[1]])]] as [Tensor, Tensor][];
  const optimizer = new optim.SGD([...model.unused.parameters(), model.weight], { lr: 0.1 });
  return { model, options: { train, loss, optimizer, epochs: 1, progress: false } };
}

describe('fit on a device that is read later', () => {
  it.each<[string, Partial<FitOptions>]>([
    ['plain steps', {}],
    ['accumulated steps, the last with fewer batches', { accumulate: 2 }],
    ['one step for all batches', { accumulate: 4 }],
    ['clipped steps', { clipGradNorm: 0.1 }],
  ])('gives the losses and weights of the CPU: %s', async (_, more) => {
    const run = async (where: 'cpu' | 'gpu') => {
      const { model, options } = setting(where);
      const losses: number[] = [];
      const history = await fit(model, { ...options, ...more, onBatch: ({ loss }) => losses.push(loss) });
      return [...losses, ...history.epochs.map(({ loss }) => loss), ...(await weights(model))];
    };
    const [onCpu, onDevice] = [await run('cpu'), await run('gpu')];
    expect(onDevice.every(Number.isFinite)).toBe(true);
    expectClose(onDevice, onCpu, 1e-4);
  });
  it.each([1, 2])('names the batch of a loss that is not finite, with accumulate %i', async (accumulate) => {
    const { model, options } = setting(device);
    const train = options.train as [Tensor, Tensor][];
    train[1] = [train[1][0], train[1][1].mul(late(Number.NaN))];
    const before = await weights(model);
    const error = await errorOf(() => fit(model, { ...options, accumulate, train }));
    expect(error.message).toContain('the loss is NaN in batch 1 of epoch 1; use a smaller learning rate, and check');
    expect((await weights(model)).every(Number.isFinite)).toBe(true);
    if (accumulate === 2) expect(await weights(model)).toEqual(before);
  });
  it('names the batch of the loss that is not finite within a step', async () => {
    const { model, options } = setting(device);
    const train = options.train as [Tensor, Tensor][];
    train[0] = [train[0][0], train[0][1].mul(late(Infinity))];
    const error = await errorOf(() => fit(model, { ...options, accumulate: 3, train }));
    expect(error.message).toContain('the loss is Infinity in batch 0 of epoch 1');
  });
  it('names the parameter of a gradient that is not finite, or with clipping none', async () => {
    for (const [clipGradNorm, text] of [
      [undefined, "the gradient of 'weight' is not finite in batch 0 of epoch 1"],
      [1, 'a gradient is not finite in batch 0 of epoch 1'],
    ] as const) {
      const { model, options } = steep();
      const before = await weights(model);
      const error = await errorOf(() => fit(model, { ...options, clipGradNorm }));
      expect(error.message).toContain(text);
      expect(await weights(model)).toEqual(before);
    }
  });
  it('names the parameter of a bad gradient after good ones', async () => {
    const { model, options } = setting(device);
    const last = model.modules[2] as nn.Linear;
    const loss: FitOptions['loss'] = {
      forward: (p, y) => p.sub(y).pow(2).mean().add(last.bias!.sub(last.bias!).sqrt().sum()),
    };
    const error = await errorOf(() => fit(model, { ...options, loss }));
    expect(error.message).toContain("the gradient of '2.bias' is not finite in batch 0 of epoch 1");
  });
  it('sees in the last step of an epoch, too, that a gradient is not finite', async () => {
    const { model, options } = steep();
    const before = await weights(model);
    const error = await errorOf(() => fit(model, { ...options, accumulate: 2 }));
    expect(error.message).toContain("the gradient of 'weight' is not finite in batch 0 of epoch 1");
    expect(await weights(model)).toEqual(before);
  });
  it('says which parameter a step made infinite', async () => {
    const { model, options } = setting(device);
    options.optimizer.paramGroups[0].lr = 3e38;
    const train = (options.train as [Tensor, Tensor][]).slice(0, 1);
    const loss: FitOptions['loss'] = { forward: (p, y) => p.sub(y).pow(2).mean().mul(1e6) };
    const error = await errorOf(() => fit(model, { ...options, train, loss }));
    expect(error.message).toMatch(/the parameter '0\.weight' is no longer finite after epoch 1/);
  });
});

describe('clipGradNorm on a device that is read later', () => {
  const params = (where: 'cpu' | 'gpu') =>
    [[3, -4], [0.5], [12, 1, -2]].map((g) => {
      const p = tensor(g, { device: where, requiresGrad: true });
      p.grad = tensor(g, { device: where });
      return p;
    });
  it.each([1, 2, 3, 0.5, Infinity])('gives the norm and gradients of the CPU, for order %d', async (normType) => {
    for (const maxNorm of [2, 1000]) {
      const [onCpu, onDevice] = [params('cpu'), params(device)];
      const norm = nn.utils.clipGradNorm(onDevice, maxNorm, { normType });
      expect([norm.device, norm.shape]).toEqual([device, []]);
      expectClose([await norm.item()], [nn.utils.clipGradNorm(onCpu, maxNorm, { normType }).itemSync()]);
      for (const [i, p] of onDevice.entries()) expectClose(await p.grad!.data(), onCpu[i].grad!.dataSync());
    }
  });
  it('refuses what it cannot do', async () => {
    const strict = () => nn.utils.clipGradNorm(params(device), 1, { errorIfNonfinite: true });
    expect((await errorOf(strict)).message).toContain("errorIfNonfinite on the device 'gpu'");
    const mixed = await errorOf(() => nn.utils.clipGradNorm([...params(device), ...params('cpu')], 1));
    expect(mixed.message).toContain("there are gradients on 'gpu' and 'cpu'; clip");
  });
});

describe('checks of values that are read later', () => {
  it('are left out', async () => {
    const logits = late([[1, 2]]);
    expect(nn.functional.crossEntropy(logits, late([1])).device).toBe(device);
    expect(await nn.functional.bceLoss(late([0.5]), late([1])).item()).toBeCloseTo(Math.LN2, 6);
  });
  it('do not stop a shared parameter from being loaded', async () => {
    const [a, b] = [new nn.Linear(2, 2, { bias: false }).to(device), new nn.Linear(2, 2, { bias: false })];
    b.weight = a.weight;
    const model = new nn.Sequential(a, b);
    const state = { '0.weight': ones([2, 2], { device }), '1.weight': zeros([2, 2], { device }) };
    model.loadStateDict(state);
    expect([...(await a.weight.data())]).toEqual([1, 1, 1, 1]);
    model.loadStateDict({ '0.weight': zeros([2, 2]), '1.weight': zeros([2, 2], { device }) });
    expect([...(await a.weight.data())]).toEqual([0, 0, 0, 0]);
  });
});
