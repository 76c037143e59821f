import { afterEach, describe, expect, it } from 'vitest';
import { memory, nn, randn, tensor, useDevice, warmUp } from '../src/index.js';
import { onGpu } from './gpu/device.js';
import { errorOf } from './helpers.js';

afterEach(() => useDevice('cpu'));

describe('warmUp', () => {
  const make = () => new nn.Sequential(new nn.Linear(6, 5), new nn.Sigmoid(), new nn.Linear(5, 4));
  it('changes nothing', async () => {
    const model = make();
    const inner = [...model.namedModules()][1][1];
    inner.training = false;
    model
      .forward(randn([2, 6]))
      .sum()
      .backward();
    const [first, second] = model.parameters();
    second.grad = null;
    const [before, gradient] = [first.toArraySync(), first.grad];
    await warmUp(model, [
      [3, 6],
      [1, 6],
    ]);
    expect(first.toArraySync()).toEqual(before);
    expect(first.grad).toBe(gradient);
    expect(second.grad).toBe(null);
    expect([model.training, inner.training]).toEqual([true, false]);
  });
  it('puts everything back when the model fails', async () => {
    const model = make();
    model
      .forward(randn([2, 6]))
      .sum()
      .backward();
    const gradient = model.parameters()[0].grad;
    expect((await errorOf(() => warmUp(model, [[3, 7]]))).message).toContain('[3, 7]');
    expect(model.parameters()[0].grad).toBe(gradient);
    expect(model.training).toBe(true);
  });
  it('wants a module and shapes', async () => {
    expect((await errorOf(() => warmUp({} as never, []))).message).toContain('[warmUp] the model is');
    expect((await errorOf(() => warmUp(make(), [3, 6] as never))).message).toContain('pass a list of shapes');
  });
  onGpu('leaves nothing to compile', async () => {
    await useDevice('gpu');
    const model = make();
    await warmUp(model, [[3, 6]]);
    const before = memory('gpu').compilations!;
    expect(before).toBeGreaterThan(5);
    model
      .forward(tensor(new Float32Array(18), { shape: [3, 6] }))
      .sum()
      .backward();
    await model.parameters()[0].grad!.data();
    expect(memory('gpu').compilations).toBe(before);
  });
});
