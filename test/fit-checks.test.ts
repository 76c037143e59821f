import { describe, expect, it } from 'vitest';
import { type FitOptions, fit, manualSeed, nn, ones, optim, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf } from './helpers.js';

// What fit refuses, and with which words, beyond the cases in fit.test.ts and fit-state.test.ts.

function setting() {
  manualSeed(4);
  const model = new nn.Linear(3, 1);
  const options: FitOptions = {
    train: [[ones([4, 3]), ones([4, 1])]],
    loss: new nn.MSELoss(),
    optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }),
    epochs: 1,
    progress: false,
  };
  return { model, options };
}
const validation: FitOptions['validation'] = [[ones([4, 3]), ones([4, 1])]];

describe('fit refuses', () => {
  it.each<[string, Partial<Record<keyof FitOptions, unknown>>, string]>([
    ['null as data', { train: null }, 'train is null'],
    ['data without an iterator', { train: {} }, 'train is a Object'],
    ['a number as validation data', { validation: 5 }, 'validation is 5'],
    ['no loss', { loss: undefined }, 'loss is undefined'],
    ['an unknown reduction', { lossReduction: 'avg', loss: { forward: () => zeros([]) } }, "lossReduction is 'avg'"],
    ['a number as metrics', { metrics: 5 }, 'metrics are 5'],
    ['null as metrics', { metrics: null }, 'metrics are null'],
    ['a list of metrics', { metrics: [() => 1] }, 'metrics are ['],
    ['a metric named loss', { metrics: { loss: () => 1 } }, 'the metric loss is'],
    ['a number as onEpoch', { onEpoch: 1 }, 'onEpoch is 1'],
    ['a number as checkpoint', { checkpoint: 5 }, 'checkpoint is 5'],
    ['an empty path', { checkpoint: '' }, "checkpoint is ''"],
    ['a negative rate to resume with', { checkpoint: 'x', resume: { lr: -1 } }, 'resume.lr is -1'],
    ['a number as signal', { signal: 5 }, 'signal is 5'],
    ['null as signal', { signal: null }, 'signal is null'],
    ['patience 0', { validation, earlyStopping: { patience: 0 } }, 'earlyStopping.patience is 0'],
    [
      'a negative minDelta',
      { validation, earlyStopping: { patience: 1, minDelta: -1 } },
      'earlyStopping.minDelta is -1',
    ],
    ['an unknown key of earlyStopping', { validation, earlyStopping: { patience: 1, delta: 1 } }, "'delta'"],
    ['a loss that is a number', { loss: { forward: () => 3 } }, 'the loss of batch 0 of epoch 1 is 3;'],
    [
      'a loss of several elements',
      { loss: { forward: (p: Tensor) => p } },
      'the loss of batch 0 of epoch 1 is a tensor of shape [4, 1]',
    ],
    ['a number as batch', { train: [5] }, 'batch 0 of epoch 1 is 5'],
    ['null as batch', { train: [null] }, 'batch 0 of epoch 1 is null'],
    ['a number as target', { train: [[ones([4, 3]), 1]] }, 'batch 0 of epoch 1 is [a Tensor, 1]'],
    ['three tensors', { train: [[ones([4, 3]), ones([4, 1]), ones([4])]] }, 'batch 0 of epoch 1 is ['],
    [
      'three tensors to validate',
      { validation: [[ones([4, 3]), ones([4, 1]), ones([4])]] },
      'validation batch 0 of epoch 1 is [',
    ],
  ])('%s', async (_, wrong, text) => {
    const { model, options } = setting();
    expect((await errorOf(() => fit(model, { ...options, ...wrong } as FitOptions))).message).toContain(text);
  });
  it('what is not a module', async () => {
    expect((await errorOf(() => fit({} as never, setting().options))).message).toContain('the model is a Object');
  });
  it('a model that does not return a tensor', async () => {
    const { model, options } = setting();
    const wrong = Object.assign(model, { forward: () => 7 });
    expect((await errorOf(() => fit(wrong as never, options))).message).toContain(
      'the model returned 7 for batch 0 of epoch 1',
    );
  });
  it('a scalar as input, with its shape', async () => {
    const { model, options } = setting();
    const error = await errorOf(() => fit(model, { ...options, train: [[tensor(1), tensor(1)]] }));
    expect(error.message).toContain('the input of batch 0 of epoch 1 is a scalar');
    expect(error.shapes).toEqual([[]]);
  });
  it('a model whose parameters are all frozen', async () => {
    const { model, options } = setting();
    model.setRequiresGrad(false);
    expect((await errorOf(() => fit(model, options))).message).toContain(
      'none of the 2 parameters to train requires a gradient',
    );
  });
  it('a metric of several elements, with its shape', async () => {
    const { model, options } = setting();
    const error = await errorOf(() => fit(model, { ...options, validation, metrics: { a: () => ones([2, 3]) } }));
    expect(error.shapes).toEqual([[2, 3]]);
  });
  it('a parameter that it cannot see, with its shape', async () => {
    const { options } = setting();
    const hidden = new nn.Linear(3, 3);
    class Private extends nn.Module {
      head = new nn.Linear(3, 1);
      forward(x: Tensor) {
        return this.head.forward(hidden.forward(x));
      }
    }
    const model = new Private();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    expect((await errorOf(() => fit(model, { ...options, optimizer }))).shapes).toEqual([[3, 3]]);
  });
});

describe('fit accepts', () => {
  it.each<[string, Partial<FitOptions>]>([
    ['a lossReduction that is that of the loss', { lossReduction: 'mean' }],
    ['the signal of an AbortController', { signal: new AbortController().signal }],
    ['resume: false without a checkpoint', { resume: false }],
  ])('%s', async (_, more) => {
    const { model, options } = setting();
    expect((await fit(model, { ...options, ...more })).epochs).toHaveLength(1);
  });
});
