import { describe, expect, it, vi } from 'vitest';
import { type FitOptions, fit, manualSeed, nn, ones, optim, randn, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf, expectClose } from './helpers.js';

// Where the batches of fit come from, its steps, and validation.

type Batch = [Tensor, Tensor];

function setting() {
  manualSeed(6);
  const batch = (): Batch => {
    const x = randn([4, 3]);
    return [x, x.sum(1, true)];
  };
  const batches = [batch(), batch(), batch()];
  const model = new nn.Sequential(new nn.Linear(3, 2), new nn.Tanh(), new nn.Linear(2, 1));
  const options: FitOptions = {
    train: batches,
    loss: new nn.MSELoss(),
    optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }),
    epochs: 1,
    progress: false,
  };
  return { model, options, batches };
}
const weights = (model: nn.Module) => model.parameters().flatMap((p) => [...p.dataSync()]);

/** An asynchronous source of batches with a `return` that may be watched. */
function source(batches: readonly Batch[], end?: () => Promise<IteratorResult<Batch>>) {
  const iterator = () => {
    const values = batches.values();
    return { next: async () => values.next(), ...(end && { return: end }) } as AsyncIterator<Batch>;
  };
  return { [Symbol.asyncIterator]: iterator };
}

describe('a source of batches', () => {
  it('may give promises', async () => {
    const [plain, promised] = [setting(), setting()];
    await fit(plain.model, plain.options);
    const train = promised.batches.map((batch) => Promise.resolve(batch)) as never;
    await fit(promised.model, { ...promised.options, train });
    expect(weights(promised.model)).toEqual(weights(plain.model));
  });
  it.each<[string, (() => Promise<IteratorResult<Batch>>) | undefined]>([
    ['with return', async () => ({ done: true, value: undefined })],
    [
      'with a return that fails',
      async () => {
        throw new Error('of the source');
      },
    ],
    ['without return', undefined],
  ])('is closed after an error, which is thrown: %s', async (_, end) => {
    const { model, options, batches } = setting();
    const closed = end && vi.fn(end);
    const onBatch = () => {
      throw new Error('mine');
    };
    await expect(fit(model, { ...options, train: source(batches, closed), onBatch })).rejects.toThrow('mine');
    if (closed) expect(closed).toHaveBeenCalledTimes(1);
  });
  it('is left alone by a signal that comes after the last batch', async () => {
    const { model, options, batches } = setting();
    const stop = new AbortController();
    const added = vi.spyOn(stop.signal, 'addEventListener');
    const removed = vi.spyOn(stop.signal, 'removeEventListener');
    const closed = vi.fn(async () => ({ done: true, value: undefined }) as IteratorResult<Batch>);
    await fit(model, { ...options, train: source(batches, closed), signal: stop.signal });
    expect(added).toHaveBeenCalledTimes(4);
    expect(removed).toHaveBeenCalledTimes(4);
    stop.abort();
    expect(closed).not.toHaveBeenCalled();
  });
});

describe('a step', () => {
  it('leaves no gradients of earlier steps in parameters that the optimizer does not have', async () => {
    const { model, options, batches } = setting();
    const [head, rest] = [model.parameters().slice(-2), model.parameters().slice(0, 2)];
    const optimizer = new optim.SGD(head, { lr: 0 });
    await fit(model, { ...options, optimizer });
    const seen = rest.map((p) => [...p.grad!.dataSync()]);
    model.zeroGrad();
    const [x, y] = batches[2];
    options.loss.forward(model.forward(x), y).backward();
    expect(seen).toEqual(rest.map((p) => [...p.grad!.dataSync()]));
  });
  it('passes over parameters without a gradient, also when gradients are corrected', async () => {
    const { model, options, batches } = setting();
    const parts = Object.assign(model, { unused: new nn.Linear(1, 1) });
    const before = [...parts.unused.weight.dataSync()];
    const optimizer = new optim.SGD([...parts.unused.parameters(), ...model.parameters().slice(0, 4)], { lr: 0.1 });
    await fit(parts, { ...options, optimizer, accumulate: 2 });
    expect([...parts.unused.weight.dataSync()]).toEqual(before);
    expect(parts.unused.weight.grad).toBeNull();
    // Only unused parameters to train: there is no gradient to check.
    const idle = new optim.SGD(parts.unused.parameters(), { lr: 0.1 });
    const { epochs } = await fit(parts, { ...options, optimizer: idle, train: batches.slice(0, 1) });
    expect(epochs[0].loss).toBeGreaterThan(0);
  });
  it('names the parameter whose gradient is not finite, behind others with and without one', async () => {
    const { model, options } = setting();
    const parts = Object.assign(model, { unused: new nn.Linear(1, 1) });
    const bias = (model.modules[2] as nn.Linear).bias!;
    const optimizer = new optim.SGD([...parts.unused.parameters(), ...model.parameters().slice(0, 4)], { lr: 0.1 });
    const loss: FitOptions['loss'] = {
      forward: (p, y) => p.sub(y).pow(2).mean().add(bias.sub(bias.detach()).sqrt().sum()),
    };
    const error = await errorOf(() => fit(parts, { ...options, optimizer, loss }));
    expect(error.message).toContain("the gradient of '2.bias' is not finite in batch 0 of epoch 1");
  });
  it('works with parameters on several devices', async () => {
    const { model, options } = setting();
    const head = (model.modules[2] as nn.Linear).to('reference');
    const bias = head.bias!;
    const split = Object.assign(model, {
      forward: (x: Tensor) => {
        const h = (model.modules[1] as nn.Tanh).forward((model.modules[0] as nn.Linear).forward(x));
        return head.forward(h.to('reference')).to('cpu');
      },
    });
    const before = weights(model);
    await fit(split, options);
    expect(weights(model).every((w, i) => w !== before[i])).toBe(true);
    const loss: FitOptions['loss'] = {
      forward: (p, y) => p.sub(y).pow(2).mean().add(bias.sub(bias.detach()).sqrt().sum().to('cpu')),
    };
    expect((await errorOf(() => fit(split, { ...options, loss }))).message).toContain("the gradient of '2.bias'");
  });
  it('does not blame a parameter for a loss that is NaN because of the data', async () => {
    const { model, options, batches } = setting();
    const train: Batch[] = [[batches[0][0], batches[0][1].mul(Number.NaN)]];
    expect((await errorOf(() => fit(model, { ...options, train }))).message).toContain(
      'the loss is NaN in batch 0 of epoch 1; use a smaller learning rate, and check the data for NaN',
    );
  });
  it('is checked in large parameters, too', async () => {
    const train: Batch[] = [[ones([1, 100]), ones([1, 1])]];
    const run = (lr: number, scale: number) => {
      const model = new nn.Linear(100, 1, { bias: false });
      nn.init.zeros(model.weight);
      const optimizer = new optim.SGD(model.parameters(), { lr });
      const loss: FitOptions['loss'] = { forward: (p, y) => p.sub(y).pow(2).mean().mul(scale) };
      return fit(model, { train, loss, optimizer, epochs: 1, progress: false });
    };
    expect((await run(0.001, 1)).epochs).toHaveLength(1);
    // Finite weights whose sum overflows are finite.
    expect((await run(3e37, 1)).epochs).toHaveLength(1);
    expect((await errorOf(() => run(3e38, 10))).message).toContain("the parameter 'weight' is no longer finite");
  });
});

describe('validation', () => {
  const pass: FitOptions['validation'] = [
    [ones([2, 3]), zeros([2, 1])],
    [ones([1, 3]).mul(2), ones([1, 1])],
  ];
  /** A model that gives the first column of its input. */
  function first() {
    const model = new nn.Linear(3, 1, { bias: false });
    model.loadStateDict({ weight: tensor([[1, 0, 0]]) });
    const { options } = setting();
    return { model, options: { ...options, optimizer: new optim.SGD(model.parameters(), { lr: 0 }) } };
  }
  it('has the mean loss, and metrics of batches weighted by their samples', async () => {
    const { model, options } = first();
    const metrics = { output: async (p: Tensor) => p.mean(), rows: (_: Tensor, t: Tensor) => t.shape[0] };
    const { epochs } = await fit(model, { ...options, validation: pass, metrics });
    expect(epochs[0].validation!.loss).toBeCloseTo(1, 6); // (1 + 1 + 1) / 3
    expect(epochs[0].validation!.output).toBeCloseTo(4 / 3, 6);
    expect(epochs[0].validation!.rows).toBeCloseTo(5 / 3, 6);
  });
  it('gives metrics of the whole set all outputs and targets in order', async () => {
    const { model, options } = first();
    const seen: unknown[] = [];
    const whole = (p: Tensor, t: Tensor) => seen.push(p.toArraySync(), t.toArraySync());
    await fit(model, { ...options, validation: pass, metrics: { whole: Object.assign(whole, { wholeSet: true }) } });
    expect(seen).toEqual([
      [[1], [1], [2]],
      [[0], [0], [1]],
    ]);
  });
  it('needs equal shapes for metrics of the whole set only', async () => {
    const { model, options } = first();
    const validation: FitOptions['validation'] = [
      [ones([2, 3]), zeros([2, 1])],
      [ones([2, 2, 3]), zeros([2, 2, 1])],
    ];
    const metric = () => 1;
    await fit(model, { ...options, validation, metrics: { metric } });
    const error = await errorOf(() =>
      fit(model, { ...options, validation, metrics: { metric: Object.assign(() => 1, { wholeSet: true }) } }),
    );
    expect(error.message).toContain('the outputs of validation batch 1 of epoch 1 have shape [2, 2, 1]');
    expect(error.shapes).toEqual([[2, 2, 1]]);
  });
  it('refuses a scalar output for metrics of the whole set', async () => {
    const { model, options } = first();
    const own = model.forward.bind(model);
    const scalar = Object.assign(model, { forward: (x: Tensor) => own(x).mean() });
    const loss: FitOptions['loss'] = { forward: (p, y) => p.sub(y.mean()).pow(2) };
    const validation = pass;
    const metrics = { metric: Object.assign(() => 1, { wholeSet: true }) };
    expect((await errorOf(() => fit(scalar, { ...options, loss, validation, metrics }))).message).toContain(
      'the outputs of validation batch 0 of epoch 1 have shape []',
    );
  });
});

describe('losses of other sizes of batches', () => {
  it('are weighted by their samples', async () => {
    const { model, options, batches } = setting();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0 });
    const big = batches[0];
    const small = [ones([1, 3]), zeros([1, 1])] as Batch;
    const losses: number[] = [];
    const { epochs } = await fit(model, {
      ...options,
      optimizer,
      train: [big, small],
      onBatch: ({ loss }) => losses.push(loss),
    });
    expectClose([epochs[0].loss], [(4 * losses[0] + losses[1]) / 5]);
  });
});
