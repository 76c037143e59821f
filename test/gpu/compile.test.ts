import { afterEach, describe, expect, it } from 'vitest';
import { backendOf } from '../../src/backends/registry.js';
import { compile, manualSeed, memory, nn, noGrad, optim, randn, Tensor, tensor, useDevice } from '../../src/index.js';
import { errorOf } from '../helpers.js';
import { onGpu } from './device.js';

afterEach(() => useDevice('cpu'));

const ruleOf = { lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 0.01 };

function setUp(options: optim.SGDOptions = ruleOf) {
  manualSeed(5);
  const model = new nn.Sequential(new nn.Linear(7, 12), new nn.Tanh(), new nn.Linear(12, 3));
  const optimizer = new optim.SGD(model.parameters(), options);
  const step = (x: Tensor, y: Tensor) => {
    const loss = nn.functional.crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return loss;
  };
  return { model, optimizer, step };
}

const batches = (n: number, rows = 16): [Tensor, Tensor][] =>
  Array.from({ length: n }, () => [randn([rows, 7]), tensor(Array.from({ length: rows }, (_, i) => i % 3))]);

async function losses(step: (x: Tensor, y: Tensor) => Tensor, data: [Tensor, Tensor][]): Promise<number[]> {
  const all = data.map(([x, y]) => step(x, y));
  return Promise.all(all.map((loss) => loss.item()));
}

describe('compile', () => {
  onGpu('replays a training step with the same bits as the step itself', async () => {
    await useDevice('gpu');
    const eager = setUp();
    const data = batches(50);
    const expected = await losses(eager.step, data);
    const { model, step } = setUp();
    const compiled = compile(step);
    expect(await losses(compiled, data)).toEqual(expected);
    expect([compiled.recordings, compiled.replays]).toEqual([1, 48]);
    const parameters = (m: nn.Module) => Promise.all(m.parameters().map(async (p) => [...(await p.data())]));
    expect(await parameters(model)).toEqual(await parameters(eager.model));
  });
  onGpu('goes together with what is done between its calls', async () => {
    await useDevice('gpu');
    const program = async (wrap: (step: (x: Tensor, y: Tensor) => Tensor) => (x: Tensor, y: Tensor) => Tensor) => {
      const { model, optimizer, step } = setUp();
      const wrapped = wrap(step);
      const seen: number[] = [];
      const run = async (n: number, rows = 16) => seen.push(...(await losses(wrapped, batches(n, rows))));
      await run(4);
      const state = model.stateDict();
      const copies = Object.fromEntries(Object.entries(state).map(([name, t]) => [name, t.clone()]));
      await run(3);
      model.loadStateDict(copies); // back to before
      await run(2);
      await run(5, 9); // another batch size
      optimizer.paramGroups[0].lr = 0.2;
      await run(3);
      const w = model.parameters()[0].mul(2); // queued before a replay that changes the parameter
      await run(2);
      seen.push((await w.data())[0]);
      step(...batches(1)[0]); // the step itself, in between
      await run(2);
      return seen;
    };
    const expected = await program((step) => step);
    expect(await program(compile)).toEqual(expected);
  });
  onGpu.each(['lr', 'momentum', 'dampening', 'weightDecay', 'nesterov'] as const)(
    'records anew for another number of an optimizer, here %s',
    async (key) => {
      await useDevice('gpu');
      const { optimizer, step } = setUp({ lr: 0.5, momentum: 0.5 });
      const compiled = compile(step);
      const counts: number[] = [];
      const run = () => {
        for (const [x, y] of batches(3)) compiled(x, y);
        counts.push(compiled.recordings);
      };
      run();
      const numbers = optimizer.options;
      const before = numbers[key];
      Object.assign(numbers, { [key]: key === 'nesterov' ? true : 0.25 });
      run();
      Object.assign(numbers, { [key]: before });
      run();
      expect(counts).toEqual([1, 2, 3]);
    },
  );
  onGpu('lets a replay that fails change nothing', async () => {
    await useDevice('gpu');
    const data = batches(8);
    const expected = await losses(setUp().step, data);
    const compiled = compile(setUp().step);
    const first = await losses(compiled, data.slice(0, 4));
    const broken = backendOf('gpu').unary({ name: 'broken', f: Math.sin, gpu: 'nonsense(x)' }, data[0][0].storage);
    const failed = compiled(new Tensor(data[0][0].layout, broken), data[0][1]);
    const rest = losses(compiled, data.slice(4));
    expect((await errorOf(() => failed.data())).op).toBe('broken');
    expect([...first, ...(await rest)]).toEqual(expected);
  });
  onGpu('does inference, several results, and the same tensor twice', async () => {
    await useDevice('gpu');
    const { model } = setUp();
    const infer = compile((a, b) => noGrad(() => [model.forward(a).softmax(1), a.sub(b).sum()]));
    for (let i = 0; i < 4; i++) {
      const x = randn([5, 7]);
      const [p, zero] = infer(x, x);
      expect([...(await p.data())]).toEqual([...(await noGrad(() => model.forward(x).softmax(1)).data())]);
      expect(await zero.item()).toBe(0);
    }
    expect(infer.replays).toBe(2);
  });
  onGpu('keeps the number of live buffers', async () => {
    await useDevice('gpu');
    const { step } = setUp();
    const compiled = compile(step);
    await losses(compiled, batches(5));
    const count = async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return memory('gpu').blocks;
    };
    const [x, y] = batches(1)[0];
    await x.data();
    await y.data();
    for (let i = 0; i < 10; i++) await compiled(x, y).item();
    const before = await count();
    for (let i = 0; i < 200; i++) await compiled(x, y).item();
    // The losses wait for a collection of garbage.
    expect(await count()).toBeLessThan(before + 250);
  });
  onGpu('refuses what it cannot record, and changes nothing', async () => {
    await useDevice('gpu');
    const { model, step, optimizer } = setUp({ lr: 0.1 });
    const [x, y] = batches(1)[0];
    const refused = async (fn: (x: Tensor, y: Tensor) => Tensor, text: string) => {
      const compiled = compile(fn);
      compiled(x, y);
      optimizer.zeroGrad();
      const before = await model.parameters()[0].data();
      const error = await errorOf(() => compiled(x, y));
      expect(error.op).toBe('compile');
      expect(error.message).toContain(text);
      optimizer.zeroGrad();
      expect(await model.parameters()[0].data()).toEqual(before);
    };
    await refused((a, b) => step(a.add(tensor([1])), b), 'makes a tensor from numbers of the host');
    await refused((a, b) => {
      void step(a, b)
        .data()
        .catch(() => {});
      return a;
    }, 'reads a tensor');
    expect((await errorOf(() => compile((async (a: Tensor) => a) as never)(x))).message).toContain(
      'returned a promise',
    );
    expect((await errorOf(() => compile((a) => a)(tensor([1], { requiresGrad: true })))).message).toContain(
      'x.detach()',
    );
    expect((await errorOf(() => compile((a) => a)(x, y.to('gpu'), tensor([1], { device: 'cpu' })))).message).toContain(
      "'gpu' and 'cpu'",
    );
  });
  it('calls the step as it is on the cpu', async () => {
    const { step } = setUp();
    const data = batches(4);
    const expected = await losses(step, data);
    const compiled = compile(setUp().step);
    expect(await losses(compiled, data)).toEqual(expected);
    expect([compiled.recordings, compiled.replays]).toEqual([0, 0]);
  });
});
